//! How an error reaches the user: one line, a hint where one helps, and an exit code.

use std::fmt::Write as _;

use crate::exit::Exit;
use crate::{output, text};

/// An error that knows its exit code and, where useful, what to do about it.
///
/// Display is lowercase, without a full stop, `what failed: why`; the tool's name is put in front by
/// [`report`].
pub trait Failure: std::error::Error {
    /// The status to end with.
    fn exit(&self) -> Exit;

    /// One line that helps, without the leading `hint: `.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// The error and its causes on one line, each cause only where the line does not say it already.
pub fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !line.contains(&said) {
            let _ = write!(line, ": {said}");
        }
        source = cause.source();
    }
    text::single_line(&line)
}

/// Prints `tool: error` and the hint on stderr and returns the exit code. With `json` also one object on
/// stdout, `{"schema":1,"error":{"code":…,"message":…,"hint":…}}`, so that a script that reads stdout never
/// sees an empty stream. A reader that went away is no error: nothing is printed.
pub fn report<F: Failure>(tool: &str, failure: &F, json: bool) -> Exit {
    let exit = failure.exit();
    if exit != Exit::OK {
        tell(tool, exit, &one_line(failure), failure.hint().as_deref(), json);
    }
    exit
}

/// The object, where it is wanted, and the lines.
pub(crate) fn tell(tool: &str, exit: Exit, message: &str, hint: Option<&str>, json: bool) {
    if json {
        let error = serde_json::json!({ "code": exit.code(), "message": message, "hint": hint });
        // Where stdout is gone too, stderr below is all that is left.
        let _ = output::Out::stdout().object(&serde_json::json!({ "error": error }));
    }
    output::error(tool, message, hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open {path}")]
    struct Outer {
        path: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn causes_are_joined_once_and_stay_on_one_line() {
        let error = Outer { path: "a\nb", source: std::io::Error::other("disk on fire") };
        assert_eq!(one_line(&error), "open a\\nb: disk on fire");
    }
}
