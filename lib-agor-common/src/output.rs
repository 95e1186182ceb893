//! The one way to write: data to stdout, everything else to stderr.
//!
//! `println!` panics on a closed pipe; [`Out`] turns it into [`OutError::Closed`], which a tool ends with exit 0.

use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

use serde::Serialize;

use crate::exit::Exit;

/// Why writing to stdout ended.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// The reader went away: a quiet end with exit 0.
    #[error("stdout was closed by its reader")]
    Closed,
    /// Anything else, a full disk for one.
    #[error("write to stdout")]
    Io(#[source] io::Error),
}

impl crate::Failure for OutError {
    fn exit(&self) -> Exit {
        match self {
            OutError::Closed => Exit::OK,
            OutError::Io(_) => Exit::IO,
        }
    }
}

impl From<io::Error> for OutError {
    fn from(error: io::Error) -> OutError {
        if error.kind() == io::ErrorKind::BrokenPipe { OutError::Closed } else { OutError::Io(error) }
    }
}

/// Buffered standard output. Lines go out with [`Out::flush`] or on drop; JSON objects at once.
pub struct Out {
    inner: io::BufWriter<io::Stdout>,
    terminal: bool,
}

impl Out {
    /// Standard output of this process.
    pub fn stdout() -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Out { inner: io::BufWriter::new(stdout), terminal }
    }

    /// Whether stdout is a terminal: other agents' text must then go through [`crate::text`].
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether colour may be used: a terminal, `NO_COLOR` unset or empty, `TERM` not `dumb`.
    pub fn colour(&self) -> bool {
        self.terminal
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_none_or(|v| v != "dumb")
    }

    /// One line of text.
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<(), OutError> {
        self.inner.write_all(line.as_ref().as_bytes())?;
        self.inner.write_all(b"\n")?;
        Ok(())
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), OutError> {
        self.inner.write_all(bytes)?;
        Ok(())
    }

    /// One JSON object on a line of its own, flushed.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), OutError> {
        serde_json::to_writer(&mut self.inner, value).map_err(io::Error::from)?;
        self.inner.write_all(b"\n")?;
        self.flush()
    }

    /// One JSON object on a line of its own, led by `"schema": 1`, flushed.
    pub fn object(&mut self, body: &serde_json::Value) -> Result<(), OutError> {
        self.json(&Document { schema: 1, body })
    }

    /// Sends what is buffered and, on the terminal's side of it, finishes the line.
    pub fn flush(&mut self) -> Result<(), OutError> {
        self.inner.flush()?;
        self.inner.get_mut().flush()?;
        Ok(())
    }
}

/// A `Value` sorts its keys; the schema goes before them.
#[derive(Serialize)]
struct Document<'a> {
    schema: u8,
    #[serde(flatten)]
    body: &'a serde_json::Value,
}

/// Whether stderr is systemd's journal (`JOURNAL_STREAM` names its device and inode, systemd.exec(5)).
fn journal() -> bool {
    static JOURNAL: OnceLock<bool> = OnceLock::new();
    *JOURNAL.get_or_init(|| {
        let Some(value) = std::env::var_os("JOURNAL_STREAM") else { return false };
        let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
        value.to_str().is_some_and(|v| v == format!("{}:{}", stat.st_dev, stat.st_ino))
    })
}

/// Whether lines on stderr should carry `<N>` priorities instead of timestamps.
pub fn journal_prefix(priority: u8) -> String {
    if journal() { format!("<{priority}>") } else { String::new() }
}

/// Whether stderr goes to systemd's journal.
pub fn is_journal() -> bool {
    journal()
}

fn stderr_line(priority: u8, line: &str) {
    // One write, so that lines of several processes do not mix; nobody is left to tell if it fails.
    let _ = io::stderr().write_all(format!("{}{line}\n", journal_prefix(priority)).as_bytes());
}

/// `tool: message` on stderr, then `hint: …`.
pub fn error(tool: &str, message: &str, hint: Option<&str>) {
    stderr_line(3, &format!("{tool}: {}", crate::text::single_line(message)));
    if let Some(hint) = hint {
        stderr_line(3, &format!("hint: {}", crate::text::single_line(hint)));
    }
}

/// `tool: warning: message` on stderr.
pub fn warning(tool: &str, message: &str) {
    stderr_line(4, &format!("{tool}: warning: {}", crate::text::single_line(message)));
}

/// `tool: message` on stderr, for what is worth saying and is neither error nor data.
pub fn notice(tool: &str, message: &str) {
    stderr_line(5, &format!("{tool}: {}", crate::text::single_line(message)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_leads_an_object() {
        let body = serde_json::json!({ "a": 1, "z": { "b": 2 } });
        let text = serde_json::to_string(&Document { schema: 1, body: &body }).unwrap();
        assert_eq!(text, r#"{"schema":1,"a":1,"z":{"b":2}}"#);
    }
}
