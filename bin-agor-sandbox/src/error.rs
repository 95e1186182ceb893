//! What can go wrong before COMMAND runs, and the status that says so.

use std::io;
use std::path::PathBuf;

use agor_common::{Exit, Failure};

/// Why COMMAND was not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option's value is wrong.
    #[error("{option} {value}: {why}")]
    Usage {
        /// The option, with its dashes.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The configuration file was refused.
    #[error(transparent)]
    Config(#[from] agor_common::config::ConfigError),
    /// The configuration's profiles make no sense.
    #[error("profile {name}: {why}")]
    Profile {
        /// The profile.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A granted path cannot be used.
    #[error("{option} {}: {source}", path.display())]
    Path {
        /// The option or the profile that names it.
        option: String,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Two grants contradict each other and the host cannot enforce the narrower one.
    #[error("{narrow} lies below {wide} and cannot be kept from it: {why}")]
    Overlap {
        /// The narrower grant.
        narrow: String,
        /// The wider one.
        wide: String,
        /// Why the host cannot.
        why: String,
    },
    /// `--require` was given and a layer does not hold in full.
    #[error("--require: {layer}: {why}")]
    Required {
        /// The layer.
        layer: &'static str,
        /// Why it does not hold.
        why: String,
    },
    /// A layer failed half-way: going on would be neither the old nor the new world.
    #[error("{what}")]
    Apply {
        /// The operation and its object.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Landlock is there and cannot be had by this process.
    #[error("restrict files and network with Landlock: {source}")]
    Refused {
        /// The cause.
        source: io::Error,
    },
    /// Too many Landlock layers.
    #[error("this is the 17th sandbox inside another; Landlock allows 16")]
    TooDeep,
    /// The status cannot be written.
    #[error("write the status to {to}")]
    Status {
        /// The descriptor or file.
        to: String,
        /// The cause.
        source: io::Error,
    },
    /// COMMAND was found and cannot be executed.
    #[error("run {}: {why}", command.display())]
    NotExecutable {
        /// The program.
        command: PathBuf,
        /// The cause.
        why: String,
        /// What helps.
        hint: Option<String>,
    },
    /// There is no such command.
    #[error("run {}: {source}", command.display())]
    NotFound {
        /// The program.
        command: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Writing to stdout failed (`explain`, `doctor`).
    #[error(transparent)]
    Out(#[from] agor_common::output::OutError),
}

impl Error {
    pub(crate) fn apply(what: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::Apply { what: what.into(), source: source.into() }
    }
}

impl Failure for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::NotExecutable { .. } => Exit::NOT_EXECUTABLE,
            Error::NotFound { .. } => Exit::NOT_FOUND,
            Error::Out(error) if error.exit() == Exit::OK => Exit::OK,
            _ => Exit::WRAPPER,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Usage { .. } => Some("agor-sandbox --help lists the options".into()),
            Error::NotExecutable { hint, .. } => hint.clone(),
            Error::TooDeep => Some("remove an agor-sandbox, or another Landlock user, from the chain".into()),
            Error::Required { .. } => {
                Some("agor-sandbox doctor says what this host can enforce and how to get the rest".into())
            }
            Error::Overlap { .. } => Some("grant the directories beside it one by one instead".into()),
            _ => None,
        }
    }
}
