//! One queue and one thread for all three signals.
//!
//! The SDK's own batch processors would be three threads with a timeout each, and would not say what they
//! lost. Here one worker sends what has gathered, a flush waits for it no longer than it was told, and what
//! did not arrive is counted. All its threads have every signal blocked.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanId, Status};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tracing::Level;

use super::metrics::{Metrics, points};
use super::settings::{Settings, Signal};
use super::wire::{SendError, Sender};
use crate::sys::signals;

/// Queue limit for spans and for logs; beyond it new ones are dropped and counted.
const QUEUE: usize = 4096;
/// From this many on, the worker does not wait for its interval.
const BATCH: usize = 512;
/// Spans that are open at once, beyond which an unfinished one is not remembered.
const OPEN: usize = 1024;

/// What was not delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) spans: u64,
    pub(super) logs: u64,
    pub(super) points: u64,
    pub(super) why: Option<String>,
}

impl Lost {
    pub(super) fn is_none(&self) -> bool {
        self.spans + self.logs + self.points == 0
    }

    fn add(&mut self, spans: usize, logs: usize, points: u64, why: &str) {
        self.spans += spans as u64;
        self.logs += logs as u64;
        self.points += points;
        if spans > 0 || logs > 0 || points > 0 {
            self.why.get_or_insert_with(|| why.to_owned());
        }
    }

    /// `3 spans, 1 log record and 2 metric points`.
    pub(super) fn counts(&self) -> String {
        let part = |n: u64, one: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {one}s")),
        };
        let parts: Vec<String> =
            [part(self.spans, "span"), part(self.logs, "log record"), part(self.points, "metric point")]
                .into_iter()
                .flatten()
                .collect();
        match parts.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            Some((last, _)) => last.clone(),
            None => "nothing".to_owned(),
        }
    }
}

#[derive(Debug)]
struct State {
    spans: Vec<SpanData>,
    open: HashMap<SpanId, SpanData>,
    /// The root span of a run that has made none of its own yet; it is among `open`.
    stand_in: Option<SpanId>,
    logs: Vec<LogRecord>,
    metrics: Metrics,
    /// Taken by the worker and not yet answered: spans, logs, points.
    in_flight: (usize, usize, u64),
    lost: Lost,
    /// Flushes asked for, and the last one that is done.
    asked: u64,
    done: u64,
    /// A warning about losses was given.
    warned: bool,
    /// The pipeline takes nothing in any more.
    closed: bool,
    worker: bool,
}

/// The pipeline; lives until the process ends.
#[derive(Debug)]
pub(super) struct Pipeline {
    base: String,
    /// The process that this belongs to: a forked child has no worker, and locks in an unknown state.
    pid: u32,
    sender: Sender,
    interval: Duration,
    metric_interval: Duration,
    patience: Duration,
    delta: bool,
    /// A service says at once that its collector is not there; a command says so at its end.
    early_warning: bool,
    state: Mutex<State>,
    changed: Condvar,
}

impl Pipeline {
    pub(super) fn new(early_warning: bool, settings: &Settings) -> Pipeline {
        Pipeline {
            base: settings.base.clone(),
            pid: std::process::id(),
            sender: Sender::new(settings),
            interval: settings.interval,
            metric_interval: settings.metric_interval,
            patience: settings.patience,
            delta: settings.delta,
            early_warning,
            state: Mutex::new(State {
                spans: Vec::new(),
                open: HashMap::new(),
                stand_in: None,
                logs: Vec::new(),
                metrics: Metrics::new(settings.delta),
                in_flight: (0, 0, 0),
                lost: Lost::default(),
                asked: 0,
                done: 0,
                warned: false,
                closed: false,
                worker: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Whether this is the process that started it.
    pub(super) fn is_mine(&self) -> bool {
        std::process::id() == self.pid
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self, record: LogRecord) {
        if !self.sender.wants(Signal::Logs) || !self.is_mine() {
            return;
        }
        let mut state = self.lock();
        if state.closed {
        } else if state.logs.len() >= QUEUE {
            state.lost.add(0, 1, 0, "the queue was full");
        } else {
            state.logs.push(record);
            if state.logs.len() == BATCH {
                self.changed.notify_all();
            }
        }
    }

    pub(super) fn with_metrics(&self, f: impl FnOnce(&mut Metrics)) {
        if self.sender.wants(Signal::Metrics) && self.is_mine() {
            let mut state = self.lock();
            if !state.closed {
                f(&mut state.metrics);
            }
        }
    }

    fn span(&self, span: SpanData) {
        let mut state = self.lock();
        state.open.remove(&span.span_context.span_id());
        if state.closed {
        } else if state.spans.len() >= QUEUE {
            state.lost.add(1, 0, 0, "the queue was full");
        } else {
            state.spans.push(span);
            if state.spans.len() == BATCH {
                self.changed.notify_all();
            }
        }
    }

    /// Keeps `span`, which was just started, as the run's root until the run makes one of its own.
    pub(super) fn stand_in(&self, span: &Span) {
        if let Some(data) = span.exported_data() {
            self.lock().stand_in = Some(data.span_context.span_id());
        }
    }

    pub(super) fn name_stand_in(&self, name: String) {
        let mut state = self.lock();
        if let Some(id) = state.stand_in
            && let Some(data) = state.open.get_mut(&id)
        {
            data.name = name.into();
        }
    }

    /// Starts the worker if it does not run yet.
    pub(super) fn start(&'static self) {
        let mut state = self.lock();
        if !state.worker {
            let thread = std::thread::Builder::new().name("agor-telemetry".into());
            // Without a thread nothing is sent, and the flush says so.
            state.worker = signals::blocked(|| thread.spawn(|| self.work())).is_ok();
        }
    }

    /// Writes the exit status into the run's root span: the last one whose parent is not in this process.
    pub(super) fn stamp(&self, code: u8) {
        if !self.is_mine() {
            return;
        }
        let mut state = self.lock();
        let State { spans, open, .. } = &mut *state;
        let mut finished = spans.iter_mut().rev();
        let root =
            finished.find(|span| is_root(span)).or_else(|| open.values_mut().find(|span| is_root(span)));
        let Some(root) = root else { return };
        root.attributes.push(KeyValue::new("process.pid", i64::from(std::process::id())));
        root.attributes.push(KeyValue::new("process.exit.code", i64::from(code)));
        if code != 0 {
            if !root.attributes.iter().any(|pair| pair.key.as_str() == "error.type") {
                root.attributes.push(KeyValue::new("error.type", code.to_string()));
            }
            if matches!(root.status, Status::Unset) {
                root.status = Status::error(format!("exit {code}"));
            }
        }
    }

    /// Ends the pipeline: spans that are still open are sent as far as they are known, and what has not been
    /// answered when its patience is over is lost. `cause` is why they did not end, `SIGTERM` for one.
    pub(super) fn close(&'static self, cause: Option<&str>) {
        let deadline = Instant::now() + self.patience;
        self.start();
        let mut state = self.lock();
        if !state.closed {
            state.closed = true;
            let now = SystemTime::now();
            for (_, mut span) in std::mem::take(&mut state.open) {
                span.end_time = now;
                if let Some(cause) = cause {
                    span.attributes.push(KeyValue::new("error.type", cause.to_owned()));
                    span.status = Status::error(cause.to_owned());
                }
                state.spans.push(span);
            }
            state.asked += 1;
            self.changed.notify_all();
        }
        let asked = state.asked;
        while state.done < asked && state.worker {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.done < asked {
            let (spans, logs, sent) = std::mem::take(&mut state.in_flight);
            let (queued_spans, queued_logs) = (state.spans.len(), state.logs.len());
            let queued_points =
                if self.sender.wants(Signal::Metrics) { points(&state.metrics.snapshot()) } else { 0 };
            state.spans.clear();
            state.logs.clear();
            state.done = asked;
            let why = format!("no answer within {} ms", self.patience.as_millis());
            state.lost.add(spans + queued_spans, logs + queued_logs, sent + queued_points, &why);
        }
        self.report(&mut state);
    }

    /// The first loss is one warning; what a service lost after it is a remark at its end.
    fn report(&self, state: &mut State) {
        if state.lost.is_none() || (state.warned && !state.closed) {
            return;
        }
        let lost = std::mem::take(&mut state.lost);
        let more = if state.warned { "another " } else { "" };
        let why = lost.why.as_deref().unwrap_or("unknown");
        let line = format!("telemetry: {more}{} not delivered to {}: {why}", lost.counts(), self.base);
        super::remark(if state.warned { Level::INFO } else { Level::WARN }, &line);
        state.warned = true;
    }

    fn work(&self) {
        let mut next = Instant::now() + self.interval;
        let mut next_metrics = Instant::now() + self.metric_interval;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let flush = state.asked > state.done;
            let full = state.spans.len() >= BATCH || state.logs.len() >= BATCH;
            let due = now >= next.min(next_metrics);
            if !(flush || full || due) {
                let wait = next.min(next_metrics) - now;
                state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let asked = state.asked;
            let spans = std::mem::take(&mut state.spans);
            let logs = std::mem::take(&mut state.logs);
            let metrics = if (flush || now >= next_metrics) && self.sender.wants(Signal::Metrics) {
                state.metrics.snapshot()
            } else {
                Vec::new()
            };
            let dropped = std::mem::take(&mut state.metrics.dropped);
            state.lost.add(0, 0, dropped, "too many metric series");
            // A running total comes again with the next export; only the last one can be lost.
            let losable = if self.delta || flush { points(&metrics) } else { 0 };
            state.in_flight = (spans.len(), logs.len(), losable);
            drop(state);

            let lost = self.send(spans, logs, metrics, losable);

            state = self.lock();
            if std::mem::take(&mut state.in_flight) != (0, 0, 0) || lost.is_none() {
                state.lost.add(
                    usize::try_from(lost.spans).unwrap_or(usize::MAX),
                    usize::try_from(lost.logs).unwrap_or(usize::MAX),
                    lost.points,
                    lost.why.as_deref().unwrap_or_default(),
                );
            }
            if self.early_warning && !flush {
                self.report(&mut state);
            }
            state.done = state.done.max(asked);
            self.changed.notify_all();
            let now = Instant::now();
            next = now + self.interval;
            if now >= next_metrics {
                next_metrics = now + self.metric_interval;
            }
            if state.closed && state.done >= state.asked {
                state.worker = false;
                return;
            }
        }
    }

    /// Sends one batch of each signal; the first transport error ends the attempt.
    fn send(
        &self,
        spans: Vec<SpanData>,
        logs: Vec<LogRecord>,
        metrics: Vec<opentelemetry_proto::tonic::metrics::v1::Metric>,
        losable: u64,
    ) -> Lost {
        let mut lost = Lost::default();
        let mut down = false;
        let (n_spans, n_logs) = (spans.len(), logs.len());
        let mut count = |error: Option<SendError>,
                         down: &mut bool,
                         spans: usize,
                         logs: usize,
                         points: u64| {
            match error {
                None => {}
                // A collector for traces alone (Tempo, for one) has no path for logs or metrics.
                Some(SendError::NotFound) if spans == 0 => {}
                Some(SendError::Partial { rejected, message }) => {
                    let rejected = usize::try_from(rejected).unwrap_or(usize::MAX);
                    let why = format!("rejected by the collector: {message}");
                    lost.add(rejected.min(spans), rejected.min(logs), (rejected as u64).min(points), &why);
                }
                Some(error) => {
                    *down |= matches!(error, SendError::Transport(_));
                    lost.add(spans, logs, points, &error.to_string());
                }
            }
        };
        let skipped = || SendError::Transport("the collector did not answer before".to_owned());
        if n_spans > 0 {
            let result = self.sender.spans(spans);
            count(result.err(), &mut down, n_spans, 0, 0);
        }
        if n_logs > 0 {
            let result = if down { Err(skipped()) } else { self.sender.logs(logs) };
            count(result.err(), &mut down, 0, n_logs, 0);
        }
        if !metrics.is_empty() {
            let result = if down { Err(skipped()) } else { self.sender.metrics(metrics) };
            count(result.err(), &mut down, 0, 0, losable);
        }
        lost
    }
}

/// Whether its parent, if any, is in another process.
fn is_root(span: &SpanData) -> bool {
    span.parent_span_is_remote || span.parent_span_id == SpanId::INVALID
}

/// The SDK's view of the pipeline.
#[derive(Debug)]
pub(super) struct Processor(pub(super) &'static Pipeline);

impl SpanProcessor for Processor {
    fn on_start(&self, span: &mut Span, _: &Context) {
        // A signal may end the process before the span ends: what is known of it now is kept until then.
        if self.0.is_mine()
            && let Some(data) = span.exported_data()
        {
            let mut state = self.0.lock();
            if is_root(&data)
                && let Some(id) = state.stand_in.take()
            {
                state.open.remove(&id);
            }
            if state.open.len() < OPEN {
                state.open.insert(data.span_context.span_id(), data);
            }
        }
    }

    fn on_end(&self, span: SpanData) {
        if self.0.is_mine() && self.0.sender.wants(Signal::Traces) && span.span_context.is_sampled() {
            self.0.span(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
