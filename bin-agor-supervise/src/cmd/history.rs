//! `history`

use std::time::Duration;

use agor_common::output::Out;
use agor_common::sessions::{self, Incarnation, SupervisorState};
use agor_common::{Exit, paths, text, time};
use serde::Serialize;

use super::find;
use crate::cli::HistoryArgs;
use crate::error::SuperviseError;
use crate::names::signal_name;

/// The incarnations of a name, newest first.
pub(super) fn run(args: &HistoryArgs) -> Result<Exit, SuperviseError> {
    let unknown = || SuperviseError::Unknown(args.name.clone());
    let Some(db) = sessions::open_existing(&paths::sessions_db()?)? else { return Err(unknown()) };
    let mut rows = sessions::history(&db, &args.name, args.limit)?;
    if rows.is_empty() {
        find::run(&args.name)?;
    }
    if rows.iter().any(|row| row.reason.is_none())
        && let Ok(run) = find::run(&args.name)
        && run.supervisor_state() == SupervisorState::Lost
    {
        // As its successor will record it: nobody saw the end, and it does not run.
        for row in rows.iter_mut().filter(|row| row.reason.is_none() && row.run_id == run.run_id) {
            row.reason = Some("supervisor lost".into());
        }
    }
    let mut out = Out::stdout();
    for row in &rows {
        if args.json {
            out.json(&object(row))?;
        } else {
            out.line(line(row))?;
        }
    }
    out.flush()?;
    Ok(Exit::OK)
}

fn exit(row: &Incarnation) -> Option<String> {
    match (row.exit_code, row.signal) {
        (Some(code), _) => Some(format!("exit {code}")),
        (_, Some(signal)) => Some(format!("signal {signal} ({})", signal_name(signal))),
        _ => None,
    }
}

fn line(row: &Incarnation) -> String {
    let reason = row.reason.as_deref().unwrap_or("running");
    let mut line = format!("{:>4}  {}  {reason}", row.incarnation, time::rfc3339_ms(row.started_ms));
    if let Some(seconds) = row.duration_s {
        line += &format!(" after {}", time::human(Duration::from_secs_f64(seconds.max(0.0))));
    }
    if let Some(exit) = exit(row) {
        line += &format!(": {exit}");
    }
    if let (Some(rss), Some(user), Some(system)) = (row.max_rss_bytes, row.user_cpu_s, row.system_cpu_s) {
        line += &format!("; {} KiB, {:.2} s CPU", rss / 1024, user + system);
    }
    text::single_line(&line)
}

/// A row as one JSON object, led by `schema`.
#[derive(Serialize)]
struct Row<'a> {
    schema: u32,
    name: &'a str,
    incarnation: u64,
    attempt: u32,
    pid: Option<i32>,
    started: String,
    ended: Option<String>,
    duration_s: Option<f64>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    core_dumped: bool,
    max_rss_bytes: Option<i64>,
    user_cpu_s: Option<f64>,
    system_cpu_s: Option<f64>,
    reason: Option<&'a str>,
    last_error: Option<&'a str>,
    run_id: &'a str,
}

fn object(row: &Incarnation) -> Row<'_> {
    Row {
        schema: 1,
        name: &row.name,
        incarnation: row.incarnation,
        attempt: row.attempt,
        pid: row.pid,
        started: time::rfc3339_ms(row.started_ms),
        ended: row.ended_ms.map(time::rfc3339_ms),
        duration_s: row.duration_s,
        exit_code: row.exit_code,
        signal: row.signal,
        core_dumped: row.core_dumped,
        max_rss_bytes: row.max_rss_bytes,
        user_cpu_s: row.user_cpu_s,
        system_cpu_s: row.system_cpu_s,
        reason: row.reason.as_deref(),
        last_error: row.last_error.as_deref(),
        run_id: &row.run_id,
    }
}
