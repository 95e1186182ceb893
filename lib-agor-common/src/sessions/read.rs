//! Queries. All of them cope with a file of the earlier desktop app, where our tables are missing.

use rusqlite::{OptionalExtension as _, Row, params};

use super::types::{Health, Incarnation, Supervised};
use crate::db::{Db, DbError};
use crate::process::Identity;

const COLUMNS: &str = "name, agent_id, run_id, command, cwd, supervisor_pid, supervisor_start, boot_id, \
     health, attempt, max_attempts, next_retry_ms, last_error, reason, status_text, isolation, incarnation, \
     child_pid, child_start, child_since_ms, last_exit, restarts, started_ms, updated_ms, ended_ms";

fn supervised(row: &Row<'_>) -> rusqlite::Result<Supervised> {
    let boot_id: String = row.get("boot_id")?;
    let attempt: u32 = row.get("attempt")?;
    let max_attempts: u32 = row.get("max_attempts")?;
    let error: Option<String> = row.get("last_error")?;
    let health = match row.get::<_, String>("health")?.as_str() {
        "healthy" => Health::Healthy,
        "restarting" => Health::Restarting {
            attempt,
            next_retry_ms: row.get::<_, Option<i64>>("next_retry_ms")?.unwrap_or(0),
            max_attempts,
        },
        "failed" => Health::Failed { attempts: attempt, last_error: error.clone().unwrap_or_default() },
        _ => Health::Stopped,
    };
    let child = match (row.get::<_, Option<i32>>("child_pid")?, row.get::<_, Option<i64>>("child_start")?) {
        (Some(pid), Some(start)) => {
            Some(Identity { pid, start: start.cast_unsigned(), boot_id: boot_id.clone() })
        }
        _ => None,
    };
    let command: String = row.get("command")?;
    Ok(Supervised {
        name: row.get("name")?,
        agent_id: row.get("agent_id")?,
        run_id: row.get("run_id")?,
        command: serde_json::from_str(&command).unwrap_or_else(|_| vec![command]),
        cwd: row.get("cwd")?,
        supervisor: Identity {
            pid: row.get("supervisor_pid")?,
            start: row.get::<_, i64>("supervisor_start")?.cast_unsigned(),
            boot_id,
        },
        health,
        attempt,
        max_attempts,
        error,
        reason: row.get("reason")?,
        status_text: row.get("status_text")?,
        isolation: row.get("isolation")?,
        incarnation: row.get::<_, i64>("incarnation")?.cast_unsigned(),
        child,
        child_since_ms: row.get("child_since_ms")?,
        last_exit: row.get("last_exit")?,
        restarts: row.get::<_, i64>("restarts")?.cast_unsigned(),
        started_ms: row.get("started_ms")?,
        updated_ms: row.get("updated_ms")?,
        ended_ms: row.get("ended_ms")?,
    })
}

/// Whether our tables are there: not in a file of the earlier desktop app that nobody adopted yet.
fn adopted(db: &Db) -> Result<bool, DbError> {
    if db.is_current() {
        return Ok(true);
    }
    db.conn()
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'supervised')",
            [],
            |row| row.get(0),
        )
        .map_err(|error| db.error(error))
}

fn select(db: &Db, tail: &str, parameters: impl rusqlite::Params) -> Result<Vec<Supervised>, DbError> {
    if !adopted(db)? {
        return Ok(Vec::new());
    }
    db.conn()
        .prepare(&format!("SELECT {COLUMNS} FROM supervised {tail}"))
        .and_then(|mut rows| rows.query_map(parameters, supervised)?.collect())
        .map_err(|error| db.error(error))
}

/// Every supervised name, in order of names.
pub fn list(db: &Db) -> Result<Vec<Supervised>, DbError> {
    select(db, "ORDER BY name", [])
}

/// The run of that name.
pub fn by_name(db: &Db, name: &str) -> Result<Option<Supervised>, DbError> {
    Ok(select(db, "WHERE name = ?1", [name])?.pop())
}

/// The newest `limit` incarnations of `name`, newest first.
pub fn history(db: &Db, name: &str, limit: u32) -> Result<Vec<Incarnation>, DbError> {
    if !adopted(db)? {
        return Ok(Vec::new());
    }
    let read = |row: &Row<'_>| {
        Ok(Incarnation {
            id: row.get("id")?,
            name: row.get("name")?,
            run_id: row.get("run_id")?,
            incarnation: row.get::<_, i64>("incarnation")?.cast_unsigned(),
            attempt: row.get("attempt")?,
            pid: row.get("pid")?,
            started_ms: row.get("started_ms")?,
            ended_ms: row.get("ended_ms")?,
            exit_code: row.get("exit_code")?,
            signal: row.get("signal")?,
            core_dumped: row.get("core_dumped")?,
            duration_s: row.get("duration_s")?,
            max_rss_bytes: row.get("max_rss_bytes")?,
            user_cpu_s: row.get("user_cpu_s")?,
            system_cpu_s: row.get("system_cpu_s")?,
            reason: row.get("reason")?,
            last_error: row.get("last_error")?,
        })
    };
    db.conn()
        .prepare(
            "SELECT id, name, run_id, incarnation, attempt, pid, started_ms, ended_ms, exit_code, signal, \
             core_dumped, duration_s, max_rss_bytes, user_cpu_s, system_cpu_s, reason, last_error \
             FROM incarnations WHERE name = ?1 ORDER BY id DESC LIMIT ?2",
        )
        .and_then(|mut rows| rows.query_map(params![name, limit], read)?.collect())
        .map_err(|error| db.error(error))
}

/// The `session_metrics` row of a run.
pub(super) fn metrics_row(conn: &rusqlite::Connection, run_id: &str) -> rusqlite::Result<Option<i64>> {
    conn.query_row(
        "SELECT id FROM session_metrics WHERE session_id = ?1 ORDER BY id DESC LIMIT 1",
        [run_id],
        |row| row.get(0),
    )
    .optional()
}
