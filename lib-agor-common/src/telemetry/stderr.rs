//! The log on stderr: one line per event, written at once.
//!
//! `tool: level: message key=value …`; a service's lines carry the time in front, and systemd's journal
//! gets `<N>` priorities instead (sd-daemon(3)). Everything passes [`crate::text`].

use std::fmt::{self, Write as _};
use std::io::Write as _;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer};

use super::Kind;
use super::filter::Filter;
use crate::{output, text, time};

/// Writes lines.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    tool: &'static str,
    timed: bool,
    pub(super) filter: Filter,
}

impl Writer {
    pub(super) fn new(tool: &'static str, kind: Kind, filter: Filter) -> Writer {
        Writer { tool, timed: kind == Kind::LongRunning, filter }
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.line(*event.metadata().level(), &fields.message, &fields.rest);
    }

    /// One line; `rest` is ` key=value …` and already safe.
    pub(super) fn line(&self, level: Level, message: &str, rest: &str) {
        let (priority, word) = match level {
            Level::ERROR => (3, "error: "),
            Level::WARN => (4, "warning: "),
            Level::INFO => (6, ""),
            Level::DEBUG => (7, "debug: "),
            Level::TRACE => (7, "trace: "),
        };
        let mut line = output::journal_prefix(priority);
        if self.timed && line.is_empty() {
            line = time::now_rfc3339();
            line.push(' ');
        }
        let _ = writeln!(line, "{}: {word}{}{rest}", self.tool, text::single_line(message));
        // One write, so that lines of several processes do not mix; nobody is left to tell if it fails.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// The message and ` key=value` for the other fields.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) rest: String,
}

impl Fields {
    pub(super) fn push(&mut self, key: &str, value: &str) {
        let plain = !value.is_empty() && !value.contains([' ', '"', '=']);
        let value = text::single_line(value);
        let _ =
            if plain { write!(self.rest, " {key}={value}") } else { write!(self.rest, " {key}={value:?}") };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.push(field.name(), value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &crate::error::one_line(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The whole subscriber while nothing is exported: spans cost nothing, events are lines.
#[derive(Debug)]
pub(super) struct LinesOnly(pub(super) Writer);

impl Subscriber for LinesOnly {
    fn register_callsite(&self, meta: &'static Metadata<'static>) -> Interest {
        if self.enabled(meta) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, meta: &Metadata<'_>) -> bool {
        meta.is_event() && self.0.filter.allows(meta)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.filter.max())
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    // No span is ever enabled, so that these are not reached.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The same lines beside an exporter.
pub(super) struct Lines(pub(super) Writer);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.0.filter.allows(event.metadata()) {
            self.0.event(event);
        }
    }
}
