//! `btmsg.db`: agents, messages, heartbeats, dead letters and the audit trail.
//!
//! The contract between `btmsg`, the supervisor (which marks agents crashed or stopped, see [`presence`])
//! and the relay. The earlier system's clients keep working on the same file: their plain `INSERT INTO
//! messages` is a queued message, their `UPDATE messages SET read = 1` is an acknowledgement.
//!
//! Every function that changes something takes a transaction, so that a caller's whole command, audit row
//! included, is committed or not.

pub mod agents;
pub mod audit;
pub mod dead;
pub mod messages;
pub mod presence;
mod schema;
#[cfg(test)]
mod tests;
pub mod value;

use std::path::Path;

use crate::db::{self, Db, DbError, Options};

pub use schema::{CARRIED, SCHEMA};
pub use value::text;

/// Opens `btmsg.db` at `path`.
pub fn open(path: &Path, options: Options) -> Result<Db, DbError> {
    db::open(path, &SCHEMA, options)
}
