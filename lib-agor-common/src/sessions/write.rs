//! What the supervisor writes. Each function is part of the caller's transaction, and may be repeated: a
//! transaction that failed is tried again as a whole.

use rusqlite::{Transaction, params};

use super::read::metrics_row;
use super::types::{Health, Supervised};

/// Incarnations kept for a name.
const KEPT_INCARNATIONS: i64 = 1000;
/// `session_metrics` rows kept for a project, as the earlier desktop app keeps them.
const KEPT_METRICS: i64 = 100;

/// Runs that have ended and that nobody gave a name: what a timer starts every minute would fill the list.
const KEPT_UNNAMED: i64 = 100;

/// Writes the row of a run, and its `session_metrics` row.
pub fn save(tx: &Transaction<'_>, run: &Supervised) -> rusqlite::Result<()> {
    let (attempt, next_retry_ms, error) = match &run.health {
        Health::Restarting { attempt, next_retry_ms, .. } => (*attempt, Some(*next_retry_ms), &run.error),
        Health::Failed { attempts, .. } => (*attempts, None, &run.error),
        Health::Healthy | Health::Stopped => (run.attempt, None, &run.error),
    };
    let error = match &run.health {
        Health::Failed { last_error, .. } => Some(last_error),
        _ => error.as_ref(),
    };
    let command = serde_json::to_string(&run.command).unwrap_or_default();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO supervised (name, agent_id, run_id, command, cwd, supervisor_pid, \
             supervisor_start, boot_id, health, attempt, max_attempts, next_retry_ms, last_error, reason, \
             status_text, isolation, incarnation, child_pid, child_start, child_since_ms, last_exit, \
             restarts, started_ms, updated_ms, ended_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
             ?21, ?22, ?23, ?24, ?25)",
    )?
    .execute(params![
        run.name,
        run.agent_id,
        run.run_id,
        command,
        run.cwd,
        run.supervisor.pid,
        run.supervisor.start.cast_signed(),
        run.supervisor.boot_id,
        run.health.word(),
        attempt,
        run.max_attempts,
        next_retry_ms,
        error,
        run.reason,
        run.status_text,
        run.isolation,
        run.incarnation.cast_signed(),
        run.child.as_ref().map(|child| child.pid),
        run.child.as_ref().map(|child| child.start.cast_signed()),
        run.child_since_ms,
        run.last_exit,
        run.restarts.cast_signed(),
        run.started_ms,
        run.updated_ms,
        run.ended_ms,
    ])?;
    metrics(tx, run)?;
    if run.ended_ms.is_some() && run.name.ends_with(&format!("-{}", run.supervisor.pid)) {
        forget_unnamed(tx)?;
    }
    Ok(())
}

/// Deletes the oldest of those that are called after their program and their supervisor's number.
fn forget_unnamed(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut ended = tx.prepare_cached(
        "SELECT name, run_id FROM supervised \
         WHERE ended_ms IS NOT NULL AND name LIKE '%-' || supervisor_pid \
         ORDER BY ended_ms DESC, rowid DESC LIMIT -1 OFFSET ?1",
    )?;
    let old: Vec<(String, String)> =
        ended.query_map([KEPT_UNNAMED], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (name, run_id) in old {
        tx.prepare_cached("DELETE FROM incarnations WHERE name = ?1")?.execute([&name])?;
        tx.prepare_cached("DELETE FROM session_metrics WHERE session_id = ?1")?.execute([&run_id])?;
        tx.prepare_cached("DELETE FROM supervised WHERE name = ?1")?.execute([&name])?;
    }
    Ok(())
}

/// One `session_metrics` row per run, in the earlier desktop app's columns and Unix seconds.
fn metrics(tx: &Transaction<'_>, run: &Supervised) -> rusqlite::Result<()> {
    let status = match (&run.health, run.ended_ms) {
        (Health::Failed { .. }, _) => "error",
        (_, None) => "running",
        (Health::Stopped, Some(_)) if run.reason.as_deref() == Some("completed") => "completed",
        (_, Some(_)) => "stopped",
    };
    let (start, end) = (run.started_ms / 1000, run.ended_ms.unwrap_or(run.updated_ms) / 1000);
    let project = run.agent_id.as_deref().unwrap_or(&run.name);
    if let Some(id) = metrics_row(tx, &run.run_id)? {
        tx.execute(
            "UPDATE session_metrics SET end_time = ?2, status = ?3, error_message = ?4 WHERE id = ?1",
            params![id, end, status, run.error],
        )?;
        return Ok(());
    }
    tx.execute(
        "INSERT INTO session_metrics (project_id, session_id, start_time, end_time, status, error_message) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![project, run.run_id, start, end, status, run.error],
    )?;
    tx.execute(
        "DELETE FROM session_metrics WHERE project_id = ?1 AND id NOT IN \
         (SELECT id FROM session_metrics WHERE project_id = ?1 ORDER BY id DESC LIMIT ?2)",
        params![project, KEPT_METRICS],
    )?;
    Ok(())
}

/// Closes what earlier runs of `name` left open because their supervisor was lost; returns how many
/// incarnations that were.
pub fn close_lost(tx: &Transaction<'_>, name: &str, run_id: &str, now_ms: i64) -> rusqlite::Result<usize> {
    let closed = tx.execute(
        "UPDATE incarnations SET ended_ms = ?3, reason = 'supervisor lost', \
             duration_s = MAX(0, ?3 - started_ms) / 1000.0 \
         WHERE name = ?1 AND run_id <> ?2 AND ended_ms IS NULL",
        params![name, run_id, now_ms],
    )?;
    tx.execute(
        "UPDATE session_metrics SET status = 'error', error_message = 'supervisor lost' \
         WHERE status = 'running' AND session_id IN \
             (SELECT run_id FROM supervised WHERE name = ?1 AND run_id <> ?2)",
        params![name, run_id],
    )?;
    Ok(closed)
}

/// An incarnation that starts: number, attempt, process (none when it could not be started) and time.
pub fn incarnation_started(
    tx: &Transaction<'_>,
    (name, run_id): (&str, &str),
    incarnation: u64,
    attempt: u32,
    pid: Option<i32>,
    started_ms: i64,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO incarnations (name, run_id, incarnation, attempt, pid, started_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![name, run_id, incarnation.cast_signed(), attempt, pid, started_ms])?;
    Ok(())
}

/// How an incarnation ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IncarnationEnd {
    /// When, milliseconds since the epoch.
    pub ended_ms: i64,
    /// How long it ran, by the monotonic clock.
    pub duration_s: f64,
    /// Exit status.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it left a core file.
    pub core_dumped: bool,
    /// Maximum resident set size.
    pub max_rss_bytes: i64,
    /// CPU time in user mode.
    pub user_cpu_s: f64,
    /// CPU time in the kernel.
    pub system_cpu_s: f64,
    /// Why it ended.
    pub reason: String,
    /// What went wrong, where something did.
    pub last_error: Option<String>,
}

/// Completes the row of an incarnation.
pub fn incarnation_ended(
    tx: &Transaction<'_>,
    (name, run_id): (&str, &str),
    incarnation: u64,
    end: &IncarnationEnd,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE incarnations SET ended_ms = ?3, exit_code = ?4, signal = ?5, core_dumped = ?6, \
             duration_s = ?7, max_rss_bytes = ?8, user_cpu_s = ?9, system_cpu_s = ?10, reason = ?11, \
             last_error = ?12 \
         WHERE run_id = ?1 AND incarnation = ?2",
    )?
    .execute(params![
        run_id,
        incarnation.cast_signed(),
        end.ended_ms,
        end.exit_code,
        end.signal,
        end.core_dumped,
        end.duration_s,
        end.max_rss_bytes,
        end.user_cpu_s,
        end.system_cpu_s,
        end.reason,
        end.last_error,
    ])?;
    tx.prepare_cached(
        "DELETE FROM incarnations WHERE name = ?1 AND id <= \
         (SELECT id FROM incarnations WHERE name = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![name, KEPT_INCARNATIONS])?;
    Ok(())
}
