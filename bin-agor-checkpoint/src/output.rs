//! Reports as lines: text for people, NDJSON for programs.

use agor_common::db::DbError;
use agor_common::output::{self, Out, OutError};
use agor_common::{Failure as _, error, text, time};
use serde::Serialize;

use crate::report::{Outcome, Report, Row};
use crate::seen::InTheWay;
use crate::size::human;
use crate::{TOOL, config::Config};

/// Prints a report, and what it warns of and fails with on stderr.
pub(crate) fn print(
    out: &mut Out,
    config: &Config,
    report: &Report,
    trigger: &'static str,
) -> Result<(), OutError> {
    for warning in &report.warnings {
        output::warning(TOOL, warning);
    }
    if let Some(failure) = &report.error {
        output::error(TOOL, &error::one_line(failure), failure.hint().as_deref());
    }
    if config.json {
        return out.json(&object(report, trigger));
    }
    if report.error.is_some() || (config.quiet && report.exit() == agor_common::Exit::OK) {
        return Ok(());
    }
    out.line(line(report))?;
    out.flush()
}

fn name(report: &Report) -> String {
    report.database.to_string_lossy().into_owned()
}

fn line(report: &Report) -> String {
    let bytes = format!("{} -> {}", human(report.wal_bytes_before), human(report.wal_bytes_after));
    let took = format!("{:.1} ms", report.duration.as_secs_f64() * 1000.0);
    let frames = |what: &str| {
        format!("{what}: {} of {} frames moved, {bytes}, {took}", report.frames_moved, report.frames)
    };
    let what = match report.outcome {
        Outcome::Truncated => format!("truncated: {} frames, {bytes}, {took}", report.frames),
        Outcome::Nothing => format!("nothing to do: 0 frames, {took}"),
        Outcome::Copied => format!("copied: {} frames, {bytes}, {took}", report.frames),
        Outcome::Partial => frames("partial"),
        Outcome::Blocked => frames("blocked"),
        Outcome::Interrupted => frames("interrupted"),
        Outcome::NotWal => "not a WAL database".to_owned(),
        Outcome::Missing => "missing".to_owned(),
        Outcome::Failed => "failed".to_owned(),
    };
    let who: Vec<String> = report.in_the_way.iter().map(describe).collect();
    let who = if who.is_empty() { String::new() } else { format!("; in the way: {}", who.join(", ")) };
    text::single_line(&format!("{}: {what}{who}", name(report)))
}

/// `pid 12 (sqlite3 x.db) reads up to frame 7, seen for 4.2 s`
pub(crate) fn describe(one: &InTheWay) -> String {
    use agor_common::db::locks::Slot;
    let what = match (one.holder.slot, one.mark) {
        (Slot::Read(0), _) => " reads the main file".to_owned(),
        (Slot::Read(_), Some(mark)) => format!(" reads up to frame {mark}"),
        (Slot::Read(_), None) => " reads".to_owned(),
        (Slot::Write, _) => " writes".to_owned(),
        (Slot::Checkpoint, _) => " checkpoints".to_owned(),
        (Slot::Recover, _) => " rebuilds the index".to_owned(),
        (Slot::File, _) => " locks the file".to_owned(),
    };
    let held = one.held.map(|held| format!(", seen for {}", time::human(held))).unwrap_or_default();
    format!("{}{what}{held}", one.holder)
}

/// A holder as JSON.
#[derive(Serialize)]
pub(crate) struct HolderLine<'a> {
    pid: Option<i32>,
    command: Option<&'a str>,
    lock: String,
    exclusive: bool,
    stopped: bool,
    read_mark: Option<u32>,
    held_s: Option<f64>,
}

impl<'a> HolderLine<'a> {
    pub(crate) fn new(one: &'a InTheWay) -> HolderLine<'a> {
        HolderLine {
            pid: one.holder.pid,
            command: one.holder.command.as_deref(),
            lock: one.holder.slot.to_string(),
            exclusive: one.holder.exclusive,
            stopped: one.holder.stopped,
            read_mark: one.mark,
            held_s: one.held.map(|held| held.as_secs_f64()),
        }
    }
}

/// An error of one database as JSON.
#[derive(Serialize)]
pub(crate) struct ErrorLine {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl ErrorLine {
    pub(crate) fn new(failure: &DbError) -> ErrorLine {
        ErrorLine { code: failure.exit().code(), message: error::one_line(failure), hint: failure.hint() }
    }
}

#[derive(Serialize)]
struct ReportLine<'a> {
    schema: u8,
    time: String,
    database: String,
    outcome: &'static str,
    exit: u8,
    trigger: &'static str,
    mode: &'static str,
    row: Option<Row>,
    frames: u32,
    frames_moved: u32,
    wal_bytes_before: u64,
    wal_bytes_after: u64,
    duration_s: f64,
    passive_s: f64,
    truncate_s: f64,
    lock_wait_s: f64,
    stall_max_s: f64,
    tries: u32,
    in_the_way: Vec<HolderLine<'a>>,
    warnings: &'a [String],
    error: Option<ErrorLine>,
}

fn object<'a>(report: &'a Report, trigger: &'static str) -> ReportLine<'a> {
    ReportLine {
        schema: 1,
        time: time::now_rfc3339(),
        database: name(report),
        outcome: report.outcome.name(),
        exit: report.exit().code(),
        trigger,
        mode: report.mode,
        row: report.row,
        frames: report.frames,
        frames_moved: report.frames_moved,
        wal_bytes_before: report.wal_bytes_before,
        wal_bytes_after: report.wal_bytes_after,
        duration_s: report.duration.as_secs_f64(),
        passive_s: report.passive.as_secs_f64(),
        truncate_s: report.truncate.as_secs_f64(),
        lock_wait_s: report.lock_wait.as_secs_f64(),
        stall_max_s: report.stall.as_secs_f64(),
        tries: report.tries,
        in_the_way: report.in_the_way.iter().map(HolderLine::new).collect(),
        warnings: &report.warnings,
        error: report.error.as_ref().map(ErrorLine::new),
    }
}
