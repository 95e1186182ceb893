//! Passes as spans, metrics and log records. Command lines of other processes stay out of them.

use agor_common::{Exit, telemetry};
use tracing::Span;
use tracing::field::Empty;

use crate::report::Report;

/// The root span of one pass over all databases.
pub(crate) fn pass(trigger: &'static str, databases: usize) -> Span {
    let span = tracing::info_span!("checkpoint.pass", trigger, databases, exit = Empty, "error.type" = Empty);
    telemetry::parent_from_env(&span);
    span
}

/// The span of one database within it.
pub(crate) fn database(report: &std::path::Path) -> Span {
    tracing::info_span!(
        "checkpoint.database",
        db.system.name = "sqlite",
        db.namespace = %report.display(),
        outcome = Empty,
        frames = Empty,
        frames_moved = Empty,
        wal_bytes_before = Empty,
        wal_bytes_after = Empty,
        stall_max_s = Empty,
        in_the_way.pid = Empty,
    )
}

/// Records a result in its span, as a log record and as metrics.
pub(crate) fn record(span: &Span, report: &Report, trigger: &'static str) {
    let outcome = report.outcome.name();
    span.record("outcome", outcome);
    span.record("frames", report.frames);
    span.record("frames_moved", report.frames_moved);
    span.record("wal_bytes_before", report.wal_bytes_before);
    span.record("wal_bytes_after", report.wal_bytes_after);
    span.record("stall_max_s", report.stall.as_secs_f64());
    let pid = report.in_the_way.iter().find_map(|one| one.holder.pid);
    if let Some(pid) = pid {
        span.record("in_the_way.pid", pid);
    }
    let database = report.database.display().to_string();
    let _in = span.enter();
    match report.exit() {
        // stdout has said it already; the span and the metrics say it to the collector.
        Exit::OK => {
            tracing::debug!(database, outcome, trigger, wal_bytes = report.wal_bytes_after, "checkpoint");
        }
        _ => {
            let error = report.error.as_ref().map(|error| agor_common::error::one_line(error));
            telemetry::set_error(span, outcome, error.as_deref().unwrap_or(outcome));
            tracing::info!(database, outcome, trigger, pid, error, "checkpoint");
        }
    }
    let attributes = [("database", database.as_str())];
    telemetry::gauge("agor.checkpoint.wal_before", "By", report.wal_bytes_before as f64, &attributes);
    telemetry::gauge("agor.checkpoint.wal_after", "By", report.wal_bytes_after as f64, &attributes);
    telemetry::gauge("agor.checkpoint.stall_max", "s", report.stall.as_secs_f64(), &attributes);
    telemetry::gauge("agor.checkpoint.duration", "s", report.duration.as_secs_f64(), &attributes);
    telemetry::count("agor.checkpoint.passes", 1, &[("database", &database), ("outcome", outcome)]);
    telemetry::count("agor.checkpoint.frames_moved", u64::from(report.frames_moved), &attributes);
}
