//! OTLP/JSON: the same requests as text, for a collector that takes no protobuf.
//!
//! Source: the OTLP specification, section "JSON Protobuf Encoding": keys in lowerCamelCase, ids in hex,
//! 64-bit integers as strings, enumerations as numbers, and what is zero or empty left out.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Map, Value, json};

/// A request for traces.
pub(super) fn traces(resource: &Resource, scope: &InstrumentationScope, spans: &[Span]) -> Vec<u8> {
    let spans = list(spans, span);
    request("resourceSpans", "scopeSpans", resource, scope, "spans", &spans)
}

/// A request for logs.
pub(super) fn logs(resource: &Resource, scope: &InstrumentationScope, records: &[LogRecord]) -> Vec<u8> {
    let records = list(records, record);
    request("resourceLogs", "scopeLogs", resource, scope, "logRecords", &records)
}

/// A request for metrics.
pub(super) fn metrics(resource: &Resource, scope: &InstrumentationScope, metrics: &[Metric]) -> Vec<u8> {
    let metrics = list(metrics, metric);
    request("resourceMetrics", "scopeMetrics", resource, scope, "metrics", &metrics)
}

/// `partialSuccess` of an answer: how many were rejected (under `rejected`, a string or a number) and why.
pub(super) fn partial(answer: &[u8], rejected: &str) -> Option<(i64, String)> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = partial.get(rejected)?;
    let count = count.as_i64().or_else(|| count.as_str()?.parse().ok())?;
    let message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some((count, message.to_owned()))
}

fn request(
    groups: &str,
    scopes: &str,
    resource: &Resource,
    scope: &InstrumentationScope,
    items: &str,
    list: &Value,
) -> Vec<u8> {
    let scope = json!({ "name": scope.name, "version": scope.version });
    let resource = json!({ "attributes": attributes(&resource.attributes) });
    let group = json!({ "resource": resource, scopes: [{ "scope": scope, items: list }] });
    json!({ groups: [group] }).to_string().into_bytes()
}

fn span(span: &Span) -> Value {
    let mut out = Object::default();
    out.id("traceId", &span.trace_id);
    out.id("spanId", &span.span_id);
    out.text("traceState", &span.trace_state);
    out.id("parentSpanId", &span.parent_span_id);
    out.number("flags", span.flags.into());
    out.text("name", &span.name);
    out.number("kind", span.kind.into());
    out.nanos("startTimeUnixNano", span.start_time_unix_nano);
    out.nanos("endTimeUnixNano", span.end_time_unix_nano);
    out.attributes(&span.attributes, span.dropped_attributes_count);
    if !span.events.is_empty() {
        let event = |event: &opentelemetry_proto::tonic::trace::v1::span::Event| {
            let mut out = Object::default();
            out.nanos("timeUnixNano", event.time_unix_nano);
            out.text("name", &event.name);
            out.attributes(&event.attributes, event.dropped_attributes_count);
            out.done()
        };
        out.put("events", list(&span.events, event));
    }
    out.number("droppedEventsCount", span.dropped_events_count.into());
    if !span.links.is_empty() {
        let link = |link: &opentelemetry_proto::tonic::trace::v1::span::Link| {
            let mut out = Object::default();
            out.id("traceId", &link.trace_id);
            out.id("spanId", &link.span_id);
            out.text("traceState", &link.trace_state);
            out.attributes(&link.attributes, link.dropped_attributes_count);
            out.number("flags", link.flags.into());
            out.done()
        };
        out.put("links", list(&span.links, link));
    }
    out.number("droppedLinksCount", span.dropped_links_count.into());
    if let Some(status) = &span.status {
        let mut inner = Object::default();
        inner.text("message", &status.message);
        inner.number("code", status.code.into());
        out.put("status", inner.done());
    }
    out.done()
}

fn record(record: &LogRecord) -> Value {
    let mut out = Object::default();
    out.nanos("timeUnixNano", record.time_unix_nano);
    out.nanos("observedTimeUnixNano", record.observed_time_unix_nano);
    out.number("severityNumber", record.severity_number.into());
    out.text("severityText", &record.severity_text);
    if let Some(body) = &record.body {
        out.put("body", any(body));
    }
    out.attributes(&record.attributes, record.dropped_attributes_count);
    out.number("flags", record.flags.into());
    out.id("traceId", &record.trace_id);
    out.id("spanId", &record.span_id);
    out.text("eventName", &record.event_name);
    out.done()
}

fn metric(metric: &Metric) -> Value {
    let mut out = Object::default();
    out.text("name", &metric.name);
    out.text("unit", &metric.unit);
    match &metric.data {
        Some(metric::Data::Sum(sum)) => out.put(
            "sum",
            json!({
                "dataPoints": list(&sum.data_points, point),
                "aggregationTemporality": sum.aggregation_temporality,
                "isMonotonic": sum.is_monotonic,
            }),
        ),
        Some(metric::Data::Gauge(gauge)) => {
            out.put("gauge", json!({ "dataPoints": list(&gauge.data_points, point) }));
        }
        // The tools have no other instruments.
        _ => {}
    }
    out.done()
}

fn point(point: &NumberDataPoint) -> Value {
    let mut out = Object::default();
    out.attributes(&point.attributes, 0);
    out.nanos("startTimeUnixNano", point.start_time_unix_nano);
    out.nanos("timeUnixNano", point.time_unix_nano);
    match point.value {
        Some(number_data_point::Value::AsInt(n)) => out.put("asInt", n.to_string().into()),
        Some(number_data_point::Value::AsDouble(n)) => out.put("asDouble", double(n)),
        None => {}
    }
    out.done()
}

fn attributes(pairs: &[KeyValue]) -> Value {
    list(pairs, |pair| match &pair.value {
        Some(value) => json!({ "key": pair.key, "value": any(value) }),
        None => json!({ "key": pair.key }),
    })
}

fn any(value: &AnyValue) -> Value {
    match &value.value {
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(value)) => json!({ "boolValue": value }),
        Some(Any::IntValue(n)) => json!({ "intValue": n.to_string() }),
        Some(Any::DoubleValue(n)) => json!({ "doubleValue": double(*n) }),
        Some(Any::ArrayValue(array)) => json!({ "arrayValue": { "values": list(&array.values, any) } }),
        Some(Any::KvlistValue(pairs)) => json!({ "kvlistValue": { "values": attributes(&pairs.values) } }),
        // Nothing in the tools records bytes or an index into a table of strings.
        Some(Any::BytesValue(_) | Any::StringValueStrindex(_)) | None => json!({}),
    }
}

/// JSON has no number for these three; protobuf's mapping has words.
fn double(n: f64) -> Value {
    match n {
        n if n.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        n => n.into(),
    }
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(one).collect())
}

/// An object without what is zero or empty.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }

    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.put(key, text.into());
        }
    }

    fn number(&mut self, key: &str, n: i64) {
        if n != 0 {
            self.put(key, n.into());
        }
    }

    fn nanos(&mut self, key: &str, n: u64) {
        if n != 0 {
            self.put(key, n.to_string().into());
        }
    }

    fn id(&mut self, key: &str, bytes: &[u8]) {
        self.text(key, &bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }

    fn attributes(&mut self, pairs: &[KeyValue], dropped: u32) {
        if !pairs.is_empty() {
            self.put("attributes", attributes(pairs));
        }
        self.number("droppedAttributesCount", dropped.into());
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::wire::key_value;

    #[test]
    fn numbers_ids_and_empty_fields_are_as_the_specification_says() {
        let whole = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![0x01; 8],
            name: "x".into(),
            kind: 1,
            start_time_unix_nano: u64::MAX,
            attributes: vec![
                key_value("s", "v"),
                KeyValue {
                    key: "i".into(),
                    value: Some(AnyValue { value: Some(Any::IntValue(i64::MAX)) }),
                    ..KeyValue::default()
                },
            ],
            ..Span::default()
        };
        let expected = json!({
            "traceId": "abababababababababababababababab",
            "spanId": "0101010101010101",
            "name": "x",
            "kind": 1,
            "startTimeUnixNano": "18446744073709551615",
            "attributes": [
                { "key": "s", "value": { "stringValue": "v" } },
                { "key": "i", "value": { "intValue": "9223372036854775807" } },
            ],
        });
        assert_eq!(span(&whole), expected);
        assert_eq!(double(f64::NAN), "NaN");
        assert_eq!(double(1.5), json!(1.5));
    }

    #[test]
    fn a_rejection_is_a_string_or_a_number() {
        let answer = |n: &str| {
            format!("{{\"partialSuccess\":{{\"rejectedSpans\":{n},\"errorMessage\":\"old\"}}}}").into_bytes()
        };
        assert_eq!(partial(&answer("3"), "rejectedSpans"), Some((3, "old".into())));
        assert_eq!(partial(&answer("\"3\""), "rejectedSpans"), Some((3, "old".into())));
        assert_eq!(partial(b"{}", "rejectedSpans"), None);
        assert_eq!(partial(b"<html>", "rejectedSpans"), None);
    }
}
