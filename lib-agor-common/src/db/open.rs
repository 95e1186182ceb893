//! Opening a database.

use std::ffi::CStr;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use super::files::{self, Sharing};
use super::{DbError, Schema, busy, is_busy, migrate, queue};
use crate::{output, paths};

/// The oldest SQLite without the WAL-reset bug.
const SAFE_SQLITE: i32 = 3_051_003;

/// Bytes in the WAL from which on a writer moves it into the main file and empties it.
///
/// The first to open a database of which nobody else has the WAL's index reads the whole WAL, and what was moved
/// by whom is forgotten with the index: a WAL that only one-shot programs write to would grow for ever under
/// SQLite's own PASSIVE checkpoints, and each of them would move all of it again. 1 MiB costs its reader about
/// 0.3 ms on average, and one writer in about thirty two fsyncs.
const FOLD: u64 = 1 << 20;

/// What may be done with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write; a missing file (and its private directory) is created.
    Create,
    /// Read and write; a missing file is [`DbError::Missing`].
    Write,
    /// Read only: never creates, never migrates. A schema older than this program's is accepted, so the
    /// reader must cope with columns that are not there yet: see [`Db::is_current`].
    Read,
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: `synchronous = FULL`, an fsync for every commit.
    PowerLoss,
    /// A crash of any process, but perhaps not of the machine: `synchronous = NORMAL`.
    Crash,
}

/// How to open.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What may be done with the file.
    pub access: Access,
    /// What a commit survives.
    pub durability: Durability,
}

impl Options {
    /// Read and write, create, survive a loss of power.
    pub const fn create() -> Options {
        Options { access: Access::Create, durability: Durability::PowerLoss }
    }

    /// Read only.
    pub const fn read() -> Options {
        Options { access: Access::Read, durability: Durability::Crash }
    }

    /// The same with another durability.
    pub const fn durability(self, durability: Durability) -> Options {
        Options { durability, ..self }
    }
}

/// An open database of ours.
#[derive(Debug)]
pub struct Db {
    conn: Connection,
    path: PathBuf,
    /// Where SQLite has its log; of a connection that writes.
    wal: Option<PathBuf>,
    /// Which file that was when the database was opened.
    wal_identity: Option<(u64, u64)>,
    current: bool,
}

impl Db {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the schema is this program's own version; only ever false with [`Access::Read`].
    pub fn is_current(&self) -> bool {
        self.current
    }

    /// The connection, for reading.
    pub fn conn(&self) -> &Connection {
        &self.conn
    }

    /// An SQLite error about this file.
    pub fn error(&self, error: rusqlite::Error) -> DbError {
        DbError::from_sqlite(&self.path, error)
    }

    /// Runs `work` in one IMMEDIATE transaction and commits it; rolls back when `work` fails.
    pub fn write<T, E: From<DbError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = self.wal.as_deref().map(|wal| busy::counting(|| queue::wait(wal, busy::deadline() / 2)));
        let path = &self.path;
        let sqlite = |error| E::from(DbError::from_sqlite(path, error));
        let begun = self.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        busy::counted();
        let tx = begun.map_err(sqlite)?;
        let value = work(&tx)?;
        tx.commit().map_err(sqlite)?;
        self.fold();
        Ok(value)
    }

    /// An error where the log of a database that this process has open was deleted: its programs do not see each
    /// other's changes any more.
    pub fn check_log(&self) -> Result<(), DbError> {
        // Only the last to close the database unlinks it, and while this one is open there is no last one.
        match &self.wal {
            Some(wal) if identity(wal) != self.wal_identity => {
                Err(DbError::LogDeleted { path: self.path.clone() })
            }
            _ => Ok(()),
        }
    }

    /// For a process that ends now: the kernel closes files and drops locks at a fraction of what it costs to free
    /// page cache and statements one by one. What was committed is committed.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Empties the WAL where it has grown. Waits for nobody, and what fails is left to the next writer: the commit
    /// is done.
    fn fold(&mut self) {
        let bytes =
            self.wal.as_deref().and_then(|wal| std::fs::metadata(wal).ok()).map_or(0, |meta| meta.len());
        if bytes < FOLD || self.conn.busy_handler(None::<fn(i32) -> bool>).is_err() {
            return;
        }
        let _ = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let _ = self.conn.busy_handler(Some(busy::handler));
    }

    /// [`Db::write`] for work that fails with nothing but SQLite's own errors.
    pub fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        let path = self.path.clone();
        self.write(|tx| work(tx).map_err(|error| DbError::from_sqlite(&path, error)))
    }
}

/// Refuses an SQLite that can corrupt a database: `version` as in `sqlite3_libversion_number()`.
pub fn check_sqlite_version(version: i32) -> Result<(), DbError> {
    if version >= SAFE_SQLITE {
        return Ok(());
    }
    let found = format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000);
    Err(DbError::Vulnerable { found })
}

/// Refuses the SQLite that this program runs on if it can corrupt a database. In a build with debug assertions,
/// `AGOR_TEST_SQLITE_VERSION` (such as 3045001) makes it look older; it cannot make it look newer.
pub fn check_sqlite() -> Result<(), DbError> {
    let real = rusqlite::version_number();
    if !cfg!(debug_assertions) {
        return check_sqlite_version(real);
    }
    let said = std::env::var("AGOR_TEST_SQLITE_VERSION").ok().and_then(|text| text.parse().ok());
    check_sqlite_version(said.map_or(real, |said: i32| said.min(real)))
}

/// Opens `path` as a database of `schema`.
///
/// # Errors
/// Every [`DbError`]; a busy file after the deadline ([`super::set_deadline`], 5 s).
pub fn open(path: &Path, schema: &Schema, options: Options) -> Result<Db, DbError> {
    check_sqlite()?;
    prepare_file(path, options.access)?;
    warn_of_place(path);
    let mut conn = connect(path, options.access, None)?;
    if options.access == Access::Read {
        let current = migrate::check(&conn, path, schema)?;
        return Ok(Db { conn, path: path.into(), wal: None, wal_identity: None, current });
    }
    // Before anything is written: a foreign, newer or broken file is refused as it is.
    let current = migrate::check(&conn, path, schema)?;
    ensure_wal(&conn, path)?;
    let sqlite = |error| DbError::from_sqlite(path, error);
    let synchronous = match options.durability {
        Durability::PowerLoss => "FULL",
        Durability::Crash => "NORMAL",
    };
    conn.pragma_update(None, "synchronous", synchronous).map_err(sqlite)?;
    if !current {
        migrate::migrate(&mut conn, path, schema)?;
    }
    // SQLite has resolved symbolic links.
    let wal = conn.path().map(|real| PathBuf::from(format!("{real}-wal")));
    let wal_identity = wal.as_deref().and_then(identity);
    Ok(Db { conn, path: path.into(), wal, wal_identity, current: true })
}

/// Device and inode.
fn identity(file: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(file).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Says once for each process that a WAL on a network file system works on one machine only, and one of a file with
/// several names by one of them only.
fn warn_of_place(path: &Path) {
    static SAID: Once = Once::new();
    let warning = match files::sharing(path) {
        Some(Sharing::Network(kind)) => Some(format!(
            "{} is on {kind}: use it from one machine only, since others do not see its locks",
            path.display()
        )),
        _ => files::names(path),
    };
    if let Some(warning) = warning
        && std::env::var_os("AGOR_ANY_FILESYSTEM").is_none_or(|value| value.is_empty())
    {
        SAID.call_once(|| {
            output::warning("agor", &format!("{warning} (AGOR_ANY_FILESYSTEM=1 silences this)"));
        });
    }
}

/// Opens `path` without a schema, for tools that look after files whatever is in them. Never creates,
/// never changes the journal mode, and leaves the busy timeout at zero.
pub fn open_bare(path: &Path, access: Access) -> Result<Connection, DbError> {
    open_bare_through(path, access, None)
}

/// [`open_bare`] through a VFS that the caller has registered.
pub fn open_bare_through(path: &Path, access: Access, vfs: Option<&CStr>) -> Result<Connection, DbError> {
    check_sqlite()?;
    prepare_file(path, if access == Access::Create { Access::Write } else { access })?;
    let mut conn = connect(path, access, vfs)?;
    conn.busy_handler(None::<fn(i32) -> bool>).map_err(|error| DbError::from_sqlite(path, error))?;
    Ok(conn)
}

/// Makes sure that there is a file, with the right mode, before SQLite sees the path.
fn prepare_file(path: &Path, access: Access) -> Result<(), DbError> {
    let open = |source| DbError::Open { path: path.into(), source };
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(open(io::Error::from(io::ErrorKind::IsADirectory))),
        // To open a pipe is to wait for somebody at its other end.
        Ok(meta) if !meta.is_file() => Err(DbError::Foreign {
            path: path.into(),
            what: "an SQLite database",
            why: "it is no regular file".into(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && access == Access::Create => {
            if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                paths::ensure_private_dir(dir)
                    .map_err(|error| open(io::Error::other(crate::error::one_line(&error))))?;
            }
            // SQLite gives the -wal and -shm files the mode of this one.
            match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Ok(_) => Ok(()),
                // By another process just now; or it is a link to nothing.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match std::fs::metadata(path) {
                    Ok(_) => Ok(()),
                    Err(_) => {
                        Err(open(io::Error::other("it is a symbolic link to a file that is not there")))
                    }
                },
                Err(error) => Err(open(error)),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DbError::Missing { path: path.into() }),
        Err(error) => Err(open(error)),
    }
}

fn connect(path: &Path, access: Access, vfs: Option<&CStr>) -> Result<Connection, DbError> {
    let sqlite = |error| DbError::from_sqlite(path, error);
    let mode = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Create | Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    // No URI flag, so '?' and '%' in a file name are just characters; and absolute, because SQLite has
    // its own ideas about `:memory:` and, where it is built with SQLITE_USE_URI, about `file:…`.
    let absolute = std::path::absolute(path).map_err(|source| DbError::Open { path: path.into(), source })?;
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(absolute, flags, vfs),
        None => Connection::open_with_flags(absolute, flags),
    }
    .map_err(sqlite)?;
    // SQLite falls back to reading when it may not write.
    if access != Access::Read && conn.is_readonly(MAIN_DB).map_err(sqlite)? {
        return Err(DbError::ReadOnly { path: path.into() });
    }
    conn.busy_handler(Some(busy::handler)).map_err(sqlite)?;
    // The last close would checkpoint and unlink the WAL, the largest cost of a one-shot command.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(sqlite)?;
    // A schema of somebody else's making must not run functions with side effects.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(sqlite)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true).map_err(sqlite)?;
    Ok(conn)
}

/// WAL mode, retried: switching a new file ignores the busy handler.
fn ensure_wal(conn: &Connection, path: &Path) -> Result<(), DbError> {
    let start = Instant::now();
    let mode = loop {
        let mode =
            conn.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).and_then(|mode| {
                if mode.eq_ignore_ascii_case("wal") {
                    return Ok(mode);
                }
                conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
            });
        match mode {
            Err(error) if is_busy(&error) && start.elapsed() < busy::deadline() => busy::pause(),
            mode => break mode.map_err(|error| DbError::from_sqlite(path, error))?,
        }
    };
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let source = io::Error::other(format!("its journal mode is {mode} and cannot become WAL"));
    Err(DbError::Open { path: path.into(), source })
}
