//! Why the tool itself could not do its work; what is wrong with one database is part of its report.

use agor_common::config::ConfigError;
use agor_common::db::DbError;
use agor_common::output::OutError;
use agor_common::paths::PathError;
use agor_common::{Exit, Failure};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{name}: {why}")]
    Variable { name: &'static str, why: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Out(#[from] OutError),
    #[error("{what}")]
    System { what: &'static str, source: std::io::Error },
}

impl Error {
    /// For `map_err`: a system call that the tool cannot do without.
    pub(crate) fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
        move |source| Error::System { what, source: source.into() }
    }
}

impl Failure for Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Usage(_) => Exit::USAGE,
            Error::Variable { .. } => Exit::CONFIG,
            Error::Config(error) => error.exit(),
            Error::Path(error) => error.exit(),
            Error::Db(error) => error.exit(),
            Error::Out(error) => error.exit(),
            Error::System { .. } => Exit::INTERNAL,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Usage(_) => Some("agor-checkpoint --help lists the options".into()),
            Error::Config(error) => error.hint(),
            Error::Path(error) => error.hint(),
            Error::Db(error) => error.hint(),
            _ => None,
        }
    }
}
