//! What can go wrong, its exit code and its hint.

use agor_common::config::ConfigError;
use agor_common::db::{DbError, rusqlite};
use agor_common::output::OutError;
use agor_common::paths::PathError;
use agor_common::{Exit, Failure};

/// An error of `btmsg`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// SQLite, before the file's name is put to it: see [`crate::app::App::name_file`].
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// A directory.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Standard output.
    #[error(transparent)]
    Out(#[from] OutError),
    /// Arguments that do not fit together.
    #[error("{0}")]
    Usage(String),
    /// Nobody said who is speaking.
    #[error("say who is speaking: neither --as nor BTMSG_AGENT_ID is set")]
    NoIdentity,
    /// Nobody is registered under that id.
    #[error("find agent '{typed}': nobody is registered under that id")]
    NoAgent {
        /// What was typed.
        typed: String,
        /// Ids that look like it.
        near: Vec<String>,
    },
    /// The beginning of several ids, or the name of several channels.
    #[error("find {what} '{typed}': it may be any of {}", ids.join(", "))]
    Ambiguous {
        /// agent, message, channel
        what: &'static str,
        /// What was typed.
        typed: String,
        /// The candidates.
        ids: Vec<String>,
    },
    /// No such message, channel or letter.
    #[error("find {what} '{typed}': there is none")]
    NotFound {
        /// message, channel, dead letter
        what: &'static str,
        /// What was typed.
        typed: String,
    },
    /// A negative answer.
    #[error("{0}")]
    Negative(String),
    /// A deadline passed.
    #[error("{0}")]
    Deadline(String),
    /// Not permitted.
    #[error("{what}: {why}")]
    Denied {
        /// What was asked for.
        what: String,
        /// Why not.
        why: String,
        /// Who asked.
        agent: String,
        /// What would help.
        hint: Option<String>,
    },
    /// The input is wrong.
    #[error("{0}")]
    Data(String),
    /// The recipient is not there and was required to be.
    #[error("{0}")]
    Unavailable(String),
    /// Reading stdin, or another call of the system.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Part of it was done; what was not has been said already.
    #[error("{message}")]
    Partial {
        /// A summary.
        message: String,
        /// The status to end with.
        exit: Exit,
    },
}

impl Failure for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Db(error) => error.exit(),
            Error::Sql(_) => Exit::INTERNAL,
            Error::Path(error) => error.exit(),
            Error::Config(error) => error.exit(),
            Error::Out(error) => error.exit(),
            Error::Usage(_) | Error::NoIdentity => Exit::USAGE,
            Error::NoAgent { .. } => Exit::NO_AGENT,
            Error::Ambiguous { what: "agent", .. } => Exit::NO_AGENT,
            Error::Ambiguous { .. } | Error::NotFound { .. } | Error::Negative(_) => Exit::NEGATIVE,
            Error::Deadline(_) => Exit::DEADLINE,
            Error::Denied { .. } => Exit::PERMISSION,
            Error::Data(_) => Exit::DATA,
            Error::Unavailable(_) => Exit::UNAVAILABLE,
            Error::Io { .. } => Exit::IO,
            Error::Partial { exit, .. } => *exit,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Db(DbError::Missing { .. }) => Some("btmsg register ID creates it".into()),
            Error::Db(error) => error.hint(),
            Error::Path(error) => error.hint(),
            Error::Config(error) => error.hint(),
            Error::NoIdentity => Some("btmsg --as ID …, or export BTMSG_AGENT_ID=ID".into()),
            Error::NoAgent { near, typed } if near.is_empty() => Some(format!("btmsg register {typed}")),
            Error::NoAgent { near, .. } => Some(format!("did you mean {}?", near.join(" or "))),
            Error::Ambiguous { .. } => Some("type more of it".into()),
            Error::Denied { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}
