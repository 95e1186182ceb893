//! `sessions.db`: supervised runs and their health.
//!
//! The contract between `agor-supervise`, which writes it, and everyone who asks how a run is. Tables of
//! ours (`supervised`, `incarnations`) lie beside those of the earlier desktop app, which are left alone
//! but for one `session_metrics` row per supervised run.

mod read;
mod types;
mod write;

use std::path::Path;

use rusqlite::Transaction;

use crate::db::{self, Db, DbError, Options, Schema};

pub use read::{by_name, history, list};
pub use types::{Health, Incarnation, Supervised, SupervisorState};
pub use write::{IncarnationEnd, close_lost, incarnation_ended, incarnation_started, save};

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

/// Opens `sessions.db` for reading; `None` where there is no such file, which means that nothing was ever
/// supervised.
pub fn open_existing(path: &Path) -> Result<Option<Db>, DbError> {
    match open(path, Options::read()) {
        Ok(db) => Ok(Some(db)),
        Err(DbError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn v1(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS supervised (
             name TEXT PRIMARY KEY NOT NULL,
             agent_id TEXT,
             run_id TEXT NOT NULL,
             command TEXT NOT NULL DEFAULT '[]',
             cwd TEXT NOT NULL DEFAULT '',
             supervisor_pid INTEGER NOT NULL DEFAULT 0,
             supervisor_start INTEGER NOT NULL DEFAULT 0,
             boot_id TEXT NOT NULL DEFAULT '',
             health TEXT NOT NULL DEFAULT 'stopped',
             attempt INTEGER NOT NULL DEFAULT 0,
             max_attempts INTEGER NOT NULL DEFAULT 0,
             next_retry_ms INTEGER,
             last_error TEXT,
             reason TEXT,
             status_text TEXT,
             isolation TEXT NOT NULL DEFAULT '',
             incarnation INTEGER NOT NULL DEFAULT 0,
             child_pid INTEGER,
             child_start INTEGER,
             child_since_ms INTEGER,
             last_exit TEXT,
             restarts INTEGER NOT NULL DEFAULT 0,
             started_ms INTEGER NOT NULL,
             updated_ms INTEGER NOT NULL,
             ended_ms INTEGER
         );
         CREATE INDEX IF NOT EXISTS idx_supervised_agent ON supervised (agent_id);
         CREATE TABLE IF NOT EXISTS incarnations (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             name TEXT NOT NULL,
             run_id TEXT NOT NULL,
             incarnation INTEGER NOT NULL,
             attempt INTEGER NOT NULL DEFAULT 0,
             pid INTEGER,
             started_ms INTEGER NOT NULL,
             ended_ms INTEGER,
             exit_code INTEGER,
             signal INTEGER,
             core_dumped INTEGER NOT NULL DEFAULT 0,
             duration_s REAL,
             max_rss_bytes INTEGER,
             user_cpu_s REAL,
             system_cpu_s REAL,
             reason TEXT,
             last_error TEXT
         );
         CREATE UNIQUE INDEX IF NOT EXISTS idx_incarnations_run ON incarnations (run_id, incarnation);
         CREATE INDEX IF NOT EXISTS idx_incarnations_name ON incarnations (name, id);
         CREATE TABLE IF NOT EXISTS session_metrics (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             project_id TEXT NOT NULL,
             session_id TEXT NOT NULL,
             start_time INTEGER NOT NULL,
             end_time INTEGER NOT NULL,
             peak_tokens INTEGER DEFAULT 0,
             turn_count INTEGER DEFAULT 0,
             tool_call_count INTEGER DEFAULT 0,
             cost_usd REAL DEFAULT 0,
             model TEXT,
             status TEXT NOT NULL,
             error_message TEXT
         );",
    )
}

#[cfg(test)]
mod tests;
