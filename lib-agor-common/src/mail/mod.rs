//! `btmsg.db`: agents, messages, heartbeats, dead letters and the audit trail.
//!
//! The contract between `btmsg`, the supervisor (which marks agents crashed or stopped) and the relay.

use std::path::Path;

use rusqlite::Transaction;

use crate::db::{self, Db, DbError, Options, Schema};

/// The schema of `btmsg.db`.
pub const SCHEMA: Schema = Schema {
    what: "a btmsg database",
    application_id: 0x6274_6d73, // "btms"
    migrations: &[v1],
    legacy_tables: &["agents", "messages", "contacts", "channels"],
};

/// Opens `btmsg.db` at `path`.
pub fn open(path: &Path, options: Options) -> Result<Db, DbError> {
    db::open(path, &SCHEMA, options)
}

fn v1(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY)")
}
