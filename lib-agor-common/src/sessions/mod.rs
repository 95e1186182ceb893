//! `sessions.db`: supervised runs and their health.
//!
//! The contract between `agor-supervise`, which writes it, and everyone who asks how a run is.

use std::path::Path;

use rusqlite::Transaction;

use crate::db::{self, Db, DbError, Options, Schema};

/// The schema of `sessions.db`.
pub const SCHEMA: Schema = Schema {
    what: "an agor sessions database",
    application_id: 0x6167_7273, // "agrs"
    migrations: &[v1],
    legacy_tables: &[
        "sessions",
        "layout_state",
        "settings",
        "ssh_sessions",
        "agent_messages",
        "project_agent_state",
        "session_anchors",
        "session_metrics",
    ],
};

/// Opens `sessions.db` at `path`.
pub fn open(path: &Path, options: Options) -> Result<Db, DbError> {
    db::open(path, &SCHEMA, options)
}

fn v1(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("CREATE TABLE IF NOT EXISTS supervised (name TEXT PRIMARY KEY)")
}
