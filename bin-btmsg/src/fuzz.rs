//! What the fuzz targets call; not part of the library's surface.

use crate::cli;
use crate::cmd::send::parse;
use crate::send::Draft;

/// A line of an NDJSON batch: it is refused in one line, or becomes a message that may be stored.
pub fn batch_line(line: &[u8]) {
    const LIMIT: u64 = 64;
    match parse(line, &Draft::default(), LIMIT, &|_, _| Ok(())) {
        Ok(draft) => {
            assert!(!draft.body.is_empty() && !draft.body.contains('\0'));
            let most = if draft.encoding.is_some() { LIMIT.div_ceil(3) * 4 } else { LIMIT };
            assert!(draft.body.len() as u64 <= most, "{} bytes", draft.body.len());
            assert!((-1..=2).contains(&draft.priority));
            assert!(draft.ttl_ms.is_none_or(|ms| ms >= 0) && draft.delay_ms.is_none_or(|ms| ms >= 0));
            assert!(
                draft.max_deliveries.is_none_or(|n| (1..=1000).contains(&n)),
                "{:?} deliveries",
                draft.max_deliveries
            );
        }
        Err(error) => {
            let said = agor_common::error::one_line(&error);
            assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
        }
    }
}

/// Values of options: durations, sizes, moments.
pub fn values(text: &str) {
    assert!(cli::duration(text).map_or(true, |duration| duration <= cli::LONGEST));
    let _ = cli::since(text);
    if let Ok(size) = cli::size(text) {
        assert_eq!(cli::size(&size.to_string()), Ok(size));
    }
}
