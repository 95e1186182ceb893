//! Events as OTLP log records, with the trace they belong to.

use std::fmt;

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::layer::{Context, Layer};

use super::pipeline::Pipeline;
use super::wire::{any_value, key_value, nanos};

/// Hands events to the pipeline.
pub(super) struct Records(pub(super) &'static Pipeline);

impl<S: Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // An event may name another span than the one that is entered.
        let context = event
            .parent()
            .and_then(|id| tracing::dispatcher::get_default(|dispatch| get_otel_context(id, dispatch)))
            .unwrap_or_else(opentelemetry::Context::current);
        let span = context.span();
        let record =
            record(*event.metadata().level(), &fields.message, fields.rest, Some(span.span_context()));
        self.0.log(record);
    }
}

/// A record of now.
pub(super) fn record(
    level: Level,
    message: &str,
    attributes: Vec<KeyValue>,
    span: Option<&SpanContext>,
) -> LogRecord {
    let severity = match level {
        Level::TRACE => SeverityNumber::Trace,
        Level::DEBUG => SeverityNumber::Debug,
        Level::INFO => SeverityNumber::Info,
        Level::WARN => SeverityNumber::Warn,
        Level::ERROR => SeverityNumber::Error,
    };
    let now = nanos();
    let mut record = LogRecord {
        time_unix_nano: now,
        observed_time_unix_nano: now,
        severity_number: severity.into(),
        severity_text: level.as_str().to_owned(),
        body: Some(any_value(message)),
        attributes,
        ..LogRecord::default()
    };
    if let Some(span) = span.filter(|span| span.is_valid()) {
        record.trace_id = span.trace_id().to_bytes().to_vec();
        record.span_id = span.span_id().to_bytes().to_vec();
        record.flags = u32::from(span.trace_flags().to_u8());
    }
    record
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<KeyValue>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        self.rest.push(KeyValue {
            key: field.name().to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::BoolValue(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::DoubleValue(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.rest.push(key_value(field.name(), value));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &crate::error::one_line(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
