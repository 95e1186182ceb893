//! What the fuzz targets call; not part of the library's surface.

use crate::lines::{CHUNK, Chunker};
use crate::protocol::{self, Command, Data, Event};
use crate::{config, token};

/// A message in either direction: a command as the server reads it, an event as the client does.
pub fn message(text: &str) {
    match Command::parse(text) {
        Ok(command) => {
            let answer = protocol::result(command.id, &serde_json::Value::Null);
            assert!(is_event(&answer, "result"), "{answer}");
            if let Ok(data) = command.payload::<Data<'_>>()
                && let Ok(bytes) = data.bytes()
            {
                let sent = protocol::output(command.session_name(), 1, "stdout", &bytes, false);
                let event: Event<'_> = serde_json::from_str(&sent).expect("what is written can be read");
                assert_eq!(event.bytes().as_deref(), Some(bytes.as_ref()), "{sent}");
                assert_eq!(event.session.as_deref(), Some(command.session_name()));
            }
        }
        Err((id, refusal)) => {
            let answer = protocol::error(id, &refusal);
            assert!(is_event(&answer, "error"), "{answer}");
        }
    }
    if let Ok(event) = serde_json::from_str::<Event<'_>>(text) {
        let _ = event.bytes();
    }
}

fn is_event(text: &str, kind: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|event| event["type"] == kind)
}

/// A session's output, cut into events: all of it, in order, and no character cut in two.
pub fn lines(data: &[u8]) {
    let Some((head, bytes)) = data.split_first() else { return };
    let step = usize::from(*head).max(1);
    for unlined in [false, true] {
        let (mut chunker, mut out) = (Chunker::new(unlined), Vec::new());
        let mut take = |chunk: &[u8], partial: bool| {
            assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
            assert_eq!(partial, chunk.last() != Some(&b'\n'));
            out.extend_from_slice(chunk);
        };
        for part in bytes.chunks(step) {
            chunker.feed(part, &mut take);
        }
        chunker.finish(&mut take);
        assert_eq!(out, bytes);
    }
}

/// Names, durations, sizes and hashes from the configuration and the command line.
pub fn values(text: &str) {
    let _ = config::duration(text);
    if let Ok(size) = config::size(text) {
        assert_eq!(config::size(&size.to_string()), Ok(size));
    }
    if config::is_name(text) {
        assert!(!text.is_empty() && !text.contains(['/', '\0', '"', '\n']), "{text:?}");
    }
    if let Some(hash) = token::Hash::parse(text) {
        assert_eq!(hash.to_string(), text.to_ascii_lowercase());
    }
}
