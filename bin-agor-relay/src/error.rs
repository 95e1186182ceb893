//! What can go wrong, and the exit code and hint that each failure carries.

use std::io;
use std::path::{Path, PathBuf};

use agor_common::config::ConfigError;
use agor_common::output::OutError;
use agor_common::paths::PathError;
use agor_common::{Exit, Failure};
use tokio_tungstenite::tungstenite::Error as WsError;

/// `EX_PROTOCOL`: the other side proved to be somebody else (a pin, a name or a signature does not match).
pub(crate) const EXIT_IDENTITY: Exit = Exit::child(76);

/// Why the tool ends without having done what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Arguments that do not go together.
    #[error("{what}")]
    Usage { what: String, hint: Option<String> },
    /// A setting, a file or a combination that must not be served with.
    #[error("{what}")]
    Setup { what: String, hint: Option<String> },
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A directory.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file that cannot be read.
    #[error("read {what} {}", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    /// A file that cannot be written.
    #[error("write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A file that is there and is not replaced.
    #[error("{} exists", path.display())]
    Exists { path: PathBuf, hint: &'static str },
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen { address: String, source: io::Error },
    /// The other side is not there.
    #[error("{what}")]
    Unreachable { what: String, hint: Option<String> },
    /// The other side is not who it should be.
    #[error("{what}")]
    Identity { what: String, hint: Option<String> },
    /// The other side refused the token, or the token lacks the scope.
    #[error("{what}")]
    Denied { what: String, hint: Option<String> },
    /// Try again later: throttled, or another writer has the session.
    #[error("{what}")]
    Busy { what: String, hint: Option<String> },
    /// The session is gone for good.
    #[error("{what}")]
    Gone { what: String, hint: Option<String> },
    /// A deadline passed.
    #[error("{what}")]
    Deadline { what: String },
    /// The other side said something that the protocol does not allow.
    #[error("{what}")]
    Data { what: String },
    /// Writing to stdout.
    #[error(transparent)]
    Out(#[from] OutError),
    /// A system call.
    #[error("{what}")]
    Io { what: &'static str, source: io::Error },
}

impl Error {
    pub(crate) fn usage(what: impl Into<String>, hint: &str) -> Error {
        Error::Usage { what: what.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn setup(what: impl Into<String>, hint: &str) -> Error {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Error::Setup { what: what.into(), hint }
    }

    pub(crate) fn read(what: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Read { what, path: path.into(), source }
    }
}

/// Said of a peer that went away without closing.
pub(crate) const GONE: &str = "ended without a goodbye";

/// A connection's failure in words; of one that just ended rustls says where its manual explains that.
pub(crate) fn plainly(error: &WsError) -> String {
    match error {
        WsError::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => GONE.into(),
            // Which of the two it is hangs on whether the peer had bytes unread as it went (tcp(7), RFC 2525 2.17).
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                format!("{GONE} (connection reset)")
            }
            _ => error.to_string(),
        },
        other => other.to_string(),
    }
}

fn of_io(source: &io::Error) -> Exit {
    match source.kind() {
        io::ErrorKind::NotFound => Exit::NO_INPUT,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::PERMISSION,
        _ => Exit::IO,
    }
}

impl Failure for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Usage { .. } => Exit::USAGE,
            Error::Setup { .. } => Exit::CONFIG,
            Error::Config(error) => error.exit(),
            Error::Path(error) => error.exit(),
            Error::Out(error) => error.exit(),
            Error::Read { source, .. } => of_io(source),
            Error::Write { source, .. } => match of_io(source) {
                Exit::NO_INPUT => Exit::CANT_CREATE,
                exit => exit,
            },
            Error::Exists { .. } => Exit::CANT_CREATE,
            Error::Listen { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Exit::PERMISSION,
                _ => Exit::UNAVAILABLE,
            },
            Error::Unreachable { .. } | Error::Gone { .. } => Exit::UNAVAILABLE,
            Error::Identity { .. } => EXIT_IDENTITY,
            Error::Denied { .. } => Exit::PERMISSION,
            Error::Busy { .. } => Exit::TRY_AGAIN,
            Error::Deadline { .. } => Exit::DEADLINE,
            Error::Data { .. } => Exit::DATA,
            Error::Io { .. } => Exit::IO,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Usage { hint, .. }
            | Error::Setup { hint, .. }
            | Error::Unreachable { hint, .. }
            | Error::Identity { hint, .. }
            | Error::Denied { hint, .. }
            | Error::Busy { hint, .. }
            | Error::Gone { hint, .. } => hint.clone(),
            Error::Path(error) => error.hint(),
            Error::Exists { hint, .. } => Some((*hint).into()),
            Error::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => Some(
                "another process has this port; choose one with --port, or --port 0 for a free one".into(),
            ),
            _ => None,
        }
    }
}
