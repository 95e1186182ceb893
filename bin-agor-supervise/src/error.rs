//! What can go wrong, and what it means to the caller.

use std::io;
use std::path::PathBuf;

use agor_common::config::ConfigError;
use agor_common::db::DbError;
use agor_common::output::OutError;
use agor_common::paths::PathError;
use agor_common::{Exit, Failure};

/// An error of `agor-supervise`. Its own failures are 125, since every smaller number may be the child's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuperviseError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Another supervisor has the name.
    #[error("supervise {name}: already supervised{}", by(*pid))]
    Taken {
        /// The name.
        name: String,
        /// Its supervisor, 0 where that is not known.
        pid: i32,
    },
    /// A file in the runtime directory cannot be used.
    #[error("use {}", path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A system call that supervision cannot do without failed.
    #[error("{what}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The isolation that was asked for is not to be had.
    #[error("isolate by {what}")]
    Isolation {
        /// `cgroup` or `pid`.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Nobody of that name.
    #[error("no supervised command is named {0}")]
    Unknown(String),
    /// There is a record, and no supervisor.
    #[error("{name} is not running: {why}")]
    NotRunning {
        /// The name.
        name: String,
        /// What is known of it.
        why: String,
    },
    /// The supervisor said no.
    #[error("{what} {name}: {why}")]
    Refused {
        /// The command.
        what: &'static str,
        /// The name.
        name: String,
        /// Its reason.
        why: String,
    },
    /// Too late.
    #[error("wait for {name} to be {wanted}: not within {limit}")]
    Deadline {
        /// The name.
        name: String,
        /// What was waited for.
        wanted: String,
        /// The limit.
        limit: String,
    },
    /// It will not come.
    #[error("{name} is {found}, and not {wanted}")]
    Never {
        /// The name.
        name: String,
        /// What was waited for.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// Directories.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A database, where it is all that could answer.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Stdout.
    #[error(transparent)]
    Out(#[from] OutError),
}

fn by(pid: i32) -> String {
    if pid == 0 { String::new() } else { format!(" by pid {pid}") }
}

impl Failure for SuperviseError {
    fn exit(&self) -> Exit {
        match self {
            SuperviseError::Usage(_) | SuperviseError::System { .. } | SuperviseError::Isolation { .. } => {
                Exit::WRAPPER
            }
            SuperviseError::Taken { .. } => Exit::TRY_AGAIN,
            SuperviseError::Place { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::PERMISSION,
                _ => Exit::CANT_CREATE,
            },
            SuperviseError::Unknown(_)
            | SuperviseError::NotRunning { .. }
            | SuperviseError::Refused { .. }
            | SuperviseError::Never { .. } => Exit::NEGATIVE,
            SuperviseError::Deadline { .. } => Exit::DEADLINE,
            SuperviseError::Path(error) => error.exit(),
            SuperviseError::Config(error) => error.exit(),
            SuperviseError::Db(error) => error.exit(),
            SuperviseError::Out(error) => error.exit(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SuperviseError::Taken { name, .. } => {
                Some(format!("agor-supervise status {name} shows it; choose another --name"))
            }
            SuperviseError::Unknown(_) => Some("agor-supervise list shows the names".into()),
            SuperviseError::Isolation { what: "pid", .. } => {
                Some("it needs root or unprivileged user namespaces; --isolate keeper needs neither".into())
            }
            SuperviseError::Isolation { .. } => {
                Some("it needs a writable cgroup v2 directory (systemd: Delegate=yes)".into())
            }
            SuperviseError::Db(error) => error.hint(),
            SuperviseError::Path(error) => error.hint(),
            _ => None,
        }
    }
}
