//! Traces, logs and metrics over OTLP/HTTP, off unless `AGOR_OTLP_ENDPOINT` is set.
//!
//! [`init`] is called once in a tool's `main`; dropping the guard flushes. When off there is no exporter,
//! no thread and no socket: only the log on stderr. When on, a tool's work never waits for its telemetry: a
//! collector that is down costs next to nothing, one that hangs costs [`PATIENCE`] at the end of the run, and
//! what did not arrive is counted in one warning.
//!
//! Spans come from `tracing` through the OpenTelemetry SDK (sampling, limits, ids). The requests are built
//! and sent here, from the specification's own protobuf types, because the SDK's exporters neither say what
//! they lost nor stay within a deadline.

mod filter;
mod json;
mod logs;
mod metrics;
mod pipeline;
mod redact;
mod settings;
mod stderr;
#[cfg(feature = "telemetry-tls")]
mod tls;
mod unsigned;
mod wire;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, Status, TraceContextExt as _, TraceFlags, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::sys::signals;
use crate::trace_context::{TRACEPARENT, TRACESTATE, TraceParent};
use crate::{Exit, output};
pub use filter::{EXPORT_ONLY, LOG};
use pipeline::{Pipeline, Processor};
pub use settings::{ENDPOINT, FLUSH};
use stderr::Writer;

/// The longest that the end of a run waits for the collector: with the start-up cost below 100 ms. `AGOR_OTLP_FLUSH_MS`
/// says otherwise, for a collector that is far away.
pub const PATIENCE: Duration = Duration::from_millis(90);

static ON: AtomicBool = AtomicBool::new(false);
static PIPELINE: OnceLock<&'static Pipeline> = OnceLock::new();
static WRITER: OnceLock<Writer> = OnceLock::new();

/// How long a tool lives: decides the default log level and how export is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A command that ends by itself: stderr from `warn`, one export at the end (and every few seconds if it
    /// lasts). While exporting, TERM, INT and HUP flush before they end the process, as long as the tool has
    /// no handler of its own.
    OneShot,
    /// A command that ends in `exec`: like [`Kind::OneShot`], but no thread and no signal handler exists
    /// before [`TelemetryGuard::shutdown`], so that namespaces can be entered.
    Exec,
    /// A service or loop that handles its signals itself: stderr from `info`, periodic export.
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

    /// Flushes and shuts down at the end of a run, and says in its root span how it ended: the CLI
    /// conventions' `process.pid` and `process.exit.code`, and for a status other than zero an error status
    /// and, unless the tool has given one, `error.type`.
    pub fn finish(self, exit: Exit) {
        if is_on()
            && let Some(pipeline) = PIPELINE.get()
        {
            pipeline.stamp(exit.code());
        }
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if ON.swap(false, Ordering::Relaxed)
            && let Some(pipeline) = PIPELINE.get().filter(|pipeline| pipeline.is_mine())
        {
            pipeline.close(std::thread::panicking().then_some("panic"));
            signals::unwatch();
        }
    }
}

/// Starts telemetry for `tool`. To be called once; a second call changes nothing.
pub fn init(tool: &'static str, kind: Kind) -> TelemetryGuard {
    let default = if kind == Kind::LongRunning { LevelFilter::INFO } else { LevelFilter::WARN };
    let (filter, complaint) = filter::Filter::from_env(default);
    if let Some(complaint) = complaint {
        output::warning(tool, &complaint);
    }
    let writer = Writer::new(tool, kind, filter);
    let settings = settings::from_env(tool, kind);
    if WRITER.set(writer.clone()).is_err() {
        return TelemetryGuard { _private: () };
    }
    let settings = settings.unwrap_or_else(|complaint| {
        remark(Level::WARN, &complaint);
        None
    });
    match settings {
        Some(settings) => {
            if !settings.complaints.is_empty() {
                remark(Level::WARN, &settings.complaints.join("; "));
            }
            start(tool, writer, kind, &settings);
        }
        None => {
            // Someone else's subscriber (a test's) may stay.
            let _ = tracing::subscriber::set_global_default(stderr::LinesOnly(writer));
        }
    }
    TelemetryGuard { _private: () }
}

/// Names the root span of a command that makes none of its own: `btmsg agents`. Without it the tool's name is
/// what the span is called (the CLI conventions allow both, as long as names are few).
pub fn name_run(name: impl FnOnce() -> String) {
    if is_on()
        && let Some(pipeline) = PIPELINE.get()
    {
        pipeline.name_stand_in(name());
    }
}

/// Exports one finished root span, for a run that ends where [`init`] was never called or its guard is gone:
/// an `exec` that failed, a command that only prints. Nothing at all when off.
pub fn report_run(tool: &'static str, name: &'static str, started: SystemTime, exit: Exit) {
    // Complaints about the settings are `init`'s.
    let Ok(Some(settings)) = settings::from_env(tool, Kind::OneShot) else {
        return;
    };
    if WRITER.get().is_none() {
        let (filter, _) = filter::Filter::from_env(LevelFilter::WARN);
        let _ = WRITER.set(Writer::new(tool, Kind::OneShot, filter));
    }
    let pipeline: &'static Pipeline = Box::leak(Box::new(Pipeline::new(false, &settings)));
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().build())
        .with_span_processor(Processor(pipeline))
        .build();
    let tracer = provider.tracer("agor");
    drop(tracer.span_builder(name).with_start_time(started).start_with_context(&tracer, &outside()));
    pipeline.stamp(exit.code());
    pipeline.close(None);
}

/// A variable's value, with a replacement character for what is not UTF-8.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// What `TRACEPARENT` says, as the parent of a root span.
fn outside() -> opentelemetry::Context {
    let context = opentelemetry::Context::new();
    match TraceParent::from_env() {
        Some(parent) => {
            let state = std::env::var(TRACESTATE).ok();
            context.with_remote_span_context(remote(parent, state.as_deref()))
        }
        None => context,
    }
}

fn start(tool: &'static str, writer: Writer, kind: Kind, settings: &settings::Settings) {
    let pipeline: &'static Pipeline = Box::leak(Box::new(Pipeline::new(kind == Kind::LongRunning, settings)));
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().build())
        .with_span_processor(Processor(pipeline))
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("agor"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false)
        .with_error_events_to_status(false);
    let export = writer.filter.for_export();
    let max = export.max();
    let for_spans = export.clone();
    let subscriber = tracing_subscriber::registry()
        .with(stderr::Lines(writer))
        .with(unsigned::Unsigned)
        .with(spans.with_filter(FilterFn::new(move |meta| for_spans.allows(meta)).with_max_level_hint(max)))
        .with(
            logs::Records(pipeline)
                .with_filter(FilterFn::new(move |meta| export.allows(meta)).with_max_level_hint(max)),
        );
    if tracing::subscriber::set_global_default(subscriber).is_err() || PIPELINE.set(pipeline).is_err() {
        return;
    }
    let tracer = provider.tracer("agor");
    let root = tracer.span_builder(tool).start_with_context(&tracer, &outside());
    pipeline.stand_in(&root);
    // It ends with the run, and the provider must outlive every span: both live as long as the process.
    std::mem::forget((root, provider));
    ON.store(true, Ordering::Relaxed);
    if kind != Kind::Exec {
        pipeline.start();
    }
    if kind == Kind::OneShot {
        watch_signals(pipeline);
    }
    note_panics(pipeline);
}

/// TERM, INT and HUP send what there is and then end the process as if nobody had watched.
fn watch_signals(pipeline: &'static Pipeline) {
    let Some(mut watch) = signals::Watch::start() else { return };
    let thread = std::thread::Builder::new().name("agor-signals".into());
    let started = signals::blocked(|| {
        thread.spawn(move || {
            if let Some(signal) = watch.next() {
                pipeline.close(Some(signal_name(signal)));
                signals::die_by(signal);
            }
        })
    });
    if started.is_err() {
        signals::unwatch();
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGTERM => "SIGTERM",
        libc::SIGINT => "SIGINT",
        libc::SIGHUP => "SIGHUP",
        _ => "signal",
    }
}

/// A panic becomes a record that says where, and not what: its text may hold anything.
fn note_panics(pipeline: &'static Pipeline) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let file = info.location().map(|at| at.file().rsplit('/').next().unwrap_or_default());
        let line = info.location().map_or(0, std::panic::Location::line);
        let attributes = vec![
            wire::key_value("exception.type", "panic"),
            wire::key_value("code.file.path", file.unwrap_or_default()),
            wire::key_value("code.line.number", &line.to_string()),
        ];
        let context = opentelemetry::Context::current();
        pipeline.log(logs::record(Level::ERROR, "panic", attributes, Some(context.span().span_context())));
        before(info);
    }));
}

/// A line about telemetry itself, on stderr and nowhere else.
fn remark(level: Level, line: &str) {
    if let Some(writer) = WRITER.get()
        && writer.filter.allows_level(module_path!(), level)
    {
        writer.line(level, line, "");
    }
}

/// Whether anything is exported. Cheap: guards work that only telemetry needs.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn remote(parent: TraceParent, state: Option<&str>) -> SpanContext {
    SpanContext::new(
        parent.trace_id.into(),
        parent.span_id.into(),
        TraceFlags::new(parent.flags & 1),
        true,
        // An invalid tracestate is dropped; the traceparent still counts (W3C Trace Context, 3.3).
        state.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default(),
    )
}

fn set_remote_parent(span: &tracing::Span, parent: SpanContext) {
    // Fails where the span is off or has started: then it keeps the parent it has.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
}

/// Makes `span` a child of the trace that `TRACEPARENT` names; for a tool's root span, right after it was
/// made (a span that was entered has its parent already).
pub fn parent_from_env(span: &tracing::Span) {
    if is_on() && TraceParent::from_env().is_some() {
        // Fails where the span is off or has started: then it keeps the parent it has.
        let _ = span.set_parent(outside());
    }
}

/// Makes `span` a child of a stored `traceparent`; a malformed one is ignored.
pub fn set_parent(span: &tracing::Span, traceparent: &str) {
    if is_on()
        && let Some(parent) = TraceParent::parse(traceparent)
    {
        set_remote_parent(span, remote(parent, None));
    }
}

/// Links `span` to a stored `traceparent`; a malformed one is ignored.
pub fn add_link(span: &tracing::Span, traceparent: &str) {
    if is_on()
        && let Some(parent) = TraceParent::parse(traceparent)
    {
        span.add_link(remote(parent, None));
    }
}

/// For the span of a message that was received: linked to its sender's span and, where this process was
/// started within no trace of its own, also its child, so that both ends are one trace (the OpenTelemetry
/// messaging conventions, "Consumer spans").
pub fn received_from(span: &tracing::Span, stored_traceparent: Option<&str>) {
    parent_from_env(span);
    if let Some(sender) = stored_traceparent {
        if TraceParent::from_env().is_none() {
            set_parent(span, sender);
        }
        add_link(span, sender);
    }
}

/// Adds an attribute that was not among the span's fields when it was made.
pub fn set_attribute(span: &tracing::Span, key: &'static str, value: impl Into<opentelemetry::Value>) {
    if is_on() {
        span.set_attribute(key, value);
    }
}

/// Marks `span` as failed: `error.type` and an error status.
pub fn set_error(span: &tracing::Span, error_type: &str, message: &str) {
    if is_on() {
        span.set_attribute("error.type", error_type.to_owned());
        span.set_status(Status::error(message.to_owned()));
    }
}

fn span_context(span: &tracing::Span) -> Option<SpanContext> {
    if !is_on() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}

fn to_traceparent(context: &SpanContext) -> TraceParent {
    TraceParent {
        trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(context.span_id().to_bytes()),
        flags: context.trace_flags().to_u8() & 1,
    }
}

/// The `traceparent` of `span` when exporting; else the valid one that came in with the environment.
pub fn traceparent_of(span: &tracing::Span) -> Option<String> {
    match span_context(span) {
        Some(context) => Some(to_traceparent(&context).to_string()),
        None => TraceParent::from_env().map(|parent| parent.to_string()),
    }
}

/// [`traceparent_of`] the current span.
pub fn traceparent() -> Option<String> {
    traceparent_of(&tracing::Span::current())
}

/// The variables that hand the trace of `span` to a child: `TRACEPARENT` and, if any, `TRACESTATE`.
pub fn child_env(span: &tracing::Span) -> Vec<(&'static str, String)> {
    let inherited = std::env::var(TRACESTATE).ok();
    match span_context(span) {
        Some(context) => {
            let state = context.trace_state().header();
            let mut env = vec![(TRACEPARENT, to_traceparent(&context).to_string())];
            // An inherited state that belongs to another trace must not go with this one.
            if !state.is_empty() || inherited.is_some() {
                env.push((TRACESTATE, state));
            }
            env
        }
        None => match TraceParent::from_env() {
            Some(parent) => [(TRACEPARENT, parent.to_string())]
                .into_iter()
                .chain(inherited.map(|state| (TRACESTATE, state)))
                .collect(),
            None => Vec::new(),
        },
    }
}

/// Adds to a monotonic counter. Names are dotted, `agor.supervise.restarts`; nothing happens when off.
pub fn count(name: &'static str, n: u64, attributes: &[(&'static str, &str)]) {
    if is_on()
        && let Some(pipeline) = PIPELINE.get()
    {
        pipeline.with_metrics(|metrics| metrics.add(name, n, attributes));
    }
}

/// Sets a gauge; the unit is UCUM (`s`, `By`, `{agent}`); nothing happens when off.
pub fn gauge(name: &'static str, unit: &'static str, value: f64, attributes: &[(&'static str, &str)]) {
    if is_on()
        && let Some(pipeline) = PIPELINE.get()
    {
        pipeline.with_metrics(|metrics| metrics.set(name, unit, value, attributes));
    }
}

/// Something that happened elsewhere (a shell hook, a web view): `source` names it. It becomes a line on
/// stderr (as far as the filter allows) and, when exporting, a log record and an event of the current span.
pub fn foreign_event(
    source: &str,
    level: Level,
    event: &str,
    attributes: &[(String, String)],
    traceparent: Option<&str>,
) {
    if let Some(writer) = WRITER.get()
        && writer.filter.allows_level("agor_foreign", level)
    {
        let mut fields = stderr::Fields::default();
        fields.push("source", source);
        for (key, value) in attributes {
            fields.push(&crate::text::single_line(key), value);
        }
        writer.line(level, event, &fields.rest);
    }
    let Some(pipeline) = PIPELINE.get().filter(|_| is_on()) else { return };
    let context = opentelemetry::Context::current();
    let span = context.span();
    let own = traceparent.and_then(TraceParent::parse).map(|parent| remote(parent, None));
    let mut pairs: Vec<_> = attributes.iter().map(|(key, value)| wire::key_value(key, value)).collect();
    pairs.push(wire::key_value("source", source));
    let mut record = logs::record(level, event, pairs, Some(own.as_ref().unwrap_or(span.span_context())));
    event.clone_into(&mut record.event_name);
    pipeline.log(record);
    let mut pairs: Vec<_> = attributes
        .iter()
        .map(|(key, value)| opentelemetry::KeyValue::new(key.clone(), value.clone()))
        .collect();
    pairs.push(opentelemetry::KeyValue::new("source", source.to_owned()));
    span.add_event(event.to_owned(), pairs);
}
