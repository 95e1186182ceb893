//! `list`

use agor_common::output::Out;
use agor_common::{Exit, text};
use unicode_width::UnicodeWidthStr as _;

use super::{find, view};
use crate::cli::ListArgs;
use crate::error::SuperviseError;

/// Every supervised name.
pub(super) fn run(args: &ListArgs) -> Result<Exit, SuperviseError> {
    let runs = find::all()?;
    let mut out = Out::stdout();
    if args.json {
        for run in &runs {
            out.json(&view::json(run, find::heartbeat_age_s(run)))?;
        }
        return Ok(Exit::OK);
    }
    let names: Vec<String> = runs.iter().map(|run| text::preview(&run.name, 40)).collect();
    let widest = names.iter().map(|name| name.width()).max().unwrap_or(0);
    for (run, name) in runs.iter().zip(&names) {
        let pad = widest - name.width();
        out.line(format!("{name}{:pad$}  {}", "", text::preview(&super::words(run), 100)))?;
    }
    out.flush()?;
    Ok(Exit::OK)
}
