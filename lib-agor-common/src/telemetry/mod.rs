//! Traces, logs and metrics over OTLP/HTTP, off unless `AGOR_OTLP_ENDPOINT` is set.
//!
//! [`init`] is called once in a tool's `main`; dropping the guard flushes. When off there is no exporter,
//! no thread and no socket: only the log on stderr.

use crate::trace_context::{TRACEPARENT, TRACESTATE, TraceParent};

/// How long a tool lives: decides the default log level and how export is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A command that ends by itself: stderr from `warn`, one export at the end.
    OneShot,
    /// A service or loop: stderr from `info`, periodic export.
    LongRunning,
}

/// Flushes and shuts down when it is dropped.
#[derive(Debug)]
#[must_use = "dropping the guard ends telemetry"]
pub struct TelemetryGuard {
    _private: (),
}

impl TelemetryGuard {
    /// Flushes and shuts down now, for a process that is about to `exec`. Bounded: 100 ms at most for a
    /// collector that hangs.
    pub fn shutdown(self) {}
}

/// Starts telemetry for `tool`.
pub fn init(_tool: &'static str, _kind: Kind) -> TelemetryGuard {
    TelemetryGuard { _private: () }
}

/// Whether anything is exported. Cheap: guards work that only telemetry needs.
pub fn is_on() -> bool {
    false
}

/// Makes `span` a child of the trace that `TRACEPARENT` names; for a tool's root span.
pub fn parent_from_env(_span: &tracing::Span) {}

/// Makes `span` a child of a stored `traceparent`; a malformed one is ignored.
pub fn set_parent(_span: &tracing::Span, _traceparent: &str) {}

/// Links `span` to a stored `traceparent`; a malformed one is ignored.
pub fn add_link(_span: &tracing::Span, _traceparent: &str) {}

/// Marks `span` as failed: `error.type` and an error status.
pub fn set_error(_span: &tracing::Span, _error_type: &str, _message: &str) {}

/// The `traceparent` of `span` when exporting; else the valid one that came in with the environment.
pub fn traceparent_of(_span: &tracing::Span) -> Option<String> {
    TraceParent::from_env().map(|parent| parent.to_string())
}

/// [`traceparent_of`] the current span.
pub fn traceparent() -> Option<String> {
    traceparent_of(&tracing::Span::current())
}

/// The variables that hand the trace of `span` to a child: `TRACEPARENT` and, if any, `TRACESTATE`.
pub fn child_env(span: &tracing::Span) -> Vec<(&'static str, String)> {
    let mut env = Vec::new();
    if let Some(parent) = traceparent_of(span) {
        env.push((TRACEPARENT, parent));
        if let Ok(state) = std::env::var(TRACESTATE) {
            env.push((TRACESTATE, state));
        }
    }
    env
}

/// Adds to a monotonic counter. Names are dotted, `agor.supervise.restarts`; nothing happens when off.
pub fn count(_name: &'static str, _n: u64, _attributes: &[(&'static str, &str)]) {}

/// Sets a gauge; the unit is UCUM (`s`, `By`, `{agent}`); nothing happens when off.
pub fn gauge(_name: &'static str, _unit: &'static str, _value: f64, _attributes: &[(&'static str, &str)]) {}

/// A log record of something that happened elsewhere (a shell hook, a web view): `source` names it.
pub fn foreign_event(
    _source: &str,
    _level: tracing::Level,
    _event: &str,
    _attributes: &[(String, String)],
    _traceparent: Option<&str>,
) {
}
