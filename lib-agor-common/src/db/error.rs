//! What can be wrong with a database, and what it means to the user.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::{files, locks};
use crate::{Exit, Failure};

/// An error of a database, with the file it is about.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The file does not exist and was not to be created.
    #[error("open {}: no such file", path.display())]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// It could not be opened or created.
    #[error("open {}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process held a lock for the whole deadline.
    #[error("{}: database is busy{}", path.display(), holder(who.as_deref()))]
    Busy {
        /// The database.
        path: PathBuf,
        /// Who holds the lock, where that is known: `pid 12 (sqlite3 x.db)`.
        who: Option<String>,
    },
    /// No room.
    #[error("{}: disk full", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The file or its directory cannot be written.
    #[error("{}: read-only", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// Not an SQLite file.
    #[error("{}: not an SQLite database", path.display())]
    NotADatabase {
        /// The database.
        path: PathBuf,
    },
    /// Damaged.
    #[error("{}: database is corrupt: {why}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        why: String,
    },
    /// Somebody deleted its log while programs had it open.
    #[error("{}: the log was deleted while the database was in use", locks::beside(path, "-wal").display())]
    LogDeleted {
        /// The database.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error("{}: schema version {found} is newer than this program's {known}", path.display())]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A database of something else.
    #[error("{}: not {what}: {why}", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// What was found.
        why: String,
    },
    /// It lies where SQLite's WAL must not be used.
    #[error("{}: {why}", path.display())]
    Unsuitable {
        /// The database.
        path: PathBuf,
        /// What is wrong with the place.
        why: String,
    },
    /// The SQLite that this program runs on has the WAL-reset bug.
    #[error("SQLite {found} can corrupt a database when its WAL is reset; 3.51.3 or newer is needed")]
    Vulnerable {
        /// Its version.
        found: String,
    },
    /// Anything else that SQLite reports.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

fn holder(who: Option<&str>) -> String {
    who.map(|who| format!(", held by {who}")).unwrap_or_default()
}

/// Whether an SQLite error means that another process has a lock.
pub fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed)
    )
}

/// Whether the file system of `path` has no room left for one more page of an index (32 KiB).
fn no_space(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < 32 * 1024)
}

/// Whether the log holds less than its index, which those who have the database open keep, says.
fn log_is_short(path: &Path) -> bool {
    // A frame is a header of 24 bytes and a page of 512 bytes or more (sqlite.org/fileformat2.html#walformat).
    files::Index::read(path).is_some_and(|index| {
        files::wal_bytes(path) < u64::from(index.frames.saturating_sub(index.moved)) * 536
    })
}

/// Whether files can be made in the directory of `path` (beside the target of a symbolic link).
fn may_write_beside(path: &Path) -> bool {
    let wal = locks::beside(path, "-wal");
    let dir = wal.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// The log or index that may not be written where the database itself may: SQLite gives an empty log the mode
/// that the database has at that moment, and nobody gives it back.
fn odd_one_out(path: &Path) -> Option<PathBuf> {
    let may_write = |file: &Path| rustix::fs::access(file, rustix::fs::Access::WRITE_OK).is_ok();
    let besides = ["-wal", "-shm"].map(|suffix| locks::beside(path, suffix));
    besides.into_iter().find(|file| may_write(path) && file.exists() && !may_write(file))
}

impl DbError {
    /// From an SQLite error about `path`. For a busy one it looks up who is in the way: that costs a read
    /// of `/proc/locks`, so a loop that retries should ask [`is_busy`] first.
    pub fn from_sqlite(path: &Path, source: rusqlite::Error) -> DbError {
        let path = path.to_path_buf();
        let Some(code) = source.sqlite_error_code() else { return DbError::Sqlite { path, source } };
        match code {
            _ if is_busy(&source) => {
                DbError::Busy { who: locks::writer(&path).map(|who| who.to_string()), path }
            }
            ErrorCode::DiskFull => DbError::Full { path },
            // An index or log file that cannot grow is an I/O error to SQLite.
            ErrorCode::SystemIoFailure if no_space(&path) => DbError::Full { path },
            ErrorCode::SystemIoFailure if log_is_short(&path) => DbError::LogDeleted { path },
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => DbError::ReadOnly { path },
            // A WAL database cannot even be read where its index file can be neither found nor made.
            ErrorCode::CannotOpen if !may_write_beside(&path) => DbError::ReadOnly { path },
            ErrorCode::NotADatabase => DbError::NotADatabase { path },
            ErrorCode::DatabaseCorrupt => DbError::Corrupt { path, why: source.to_string() },
            _ => DbError::Sqlite { path, source },
        }
    }

    /// Whether trying again later may help.
    pub fn is_busy(&self) -> bool {
        matches!(self, DbError::Busy { .. })
    }
}

impl Failure for DbError {
    fn exit(&self) -> Exit {
        match self {
            DbError::Missing { .. } => Exit::NO_INPUT,
            DbError::Open { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::ReadOnlyFilesystem
                | std::io::ErrorKind::IsADirectory => Exit::PERMISSION,
                _ => Exit::IO,
            },
            DbError::Busy { .. } => Exit::TRY_AGAIN,
            DbError::Full { .. } | DbError::LogDeleted { .. } => Exit::IO,
            DbError::ReadOnly { .. } => Exit::PERMISSION,
            DbError::NotADatabase { .. } | DbError::Corrupt { .. } | DbError::Foreign { .. } => Exit::DATA,
            DbError::TooNew { .. } | DbError::Unsuitable { .. } | DbError::Vulnerable { .. } => Exit::CONFIG,
            DbError::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Exit::IO,
                _ => Exit::INTERNAL,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            DbError::Full { .. } => Some("free some space; nothing was written and nothing is lost".into()),
            DbError::Busy { .. } => Some("try again, or end the process that holds it".into()),
            DbError::ReadOnly { path } => Some(match odd_one_out(path) {
                Some(file) => format!("{} may not be written, though the database may", file.display()),
                None => "a WAL database needs a writable directory, or the -wal and -shm files of a running writer"
                    .into(),
            }),
            DbError::LogDeleted { path } => Some(format!(
                "end the programs that have it open (fuser -v '{}'); what was only in the log is lost",
                path.display()
            )),
            DbError::TooNew { .. } => Some("install the agor that wrote it".into()),
            DbError::Corrupt { path, .. } => {
                Some(format!("keep a copy, then try: sqlite3 '{}' .recover", path.display()))
            }
            _ => None,
        }
    }
}
