//! SQLite, everywhere the same: the one place where a connection is opened.
//!
//! Every connection is WAL, has foreign keys on, retries a busy lock with jitter inside a deadline, and
//! belongs to a [`Schema`] that is brought up to date in one IMMEDIATE transaction. A file that is not
//! ours, newer than this program, or broken is refused and never written.
//!
//! The SQLite must be at least 3.51.3: older ones can corrupt a database when another process resets the
//! WAL during a checkpoint.

mod busy;
mod error;
pub mod files;
pub mod locks;
mod migrate;
mod open;
mod queue;

pub use busy::{DEFAULT_DEADLINE, set_deadline};
pub use error::{DbError, is_busy};
pub use migrate::{Migration, Schema, add_column};
pub use open::{
    Access, Db, Durability, Options, check_sqlite, check_sqlite_version, open, open_bare, open_bare_through,
};

pub use rusqlite;
