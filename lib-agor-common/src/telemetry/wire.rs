//! OTLP/HTTP: building a request, sending it, and reading what became of it.
//!
//! Source: the OTLP specification, section "OTLP/HTTP". No retries and no redirects: what does not arrive at
//! once is counted and left behind, because a tool's work must not wait for its telemetry. A connection that the
//! collector closed after an earlier answer is no failure of the next request: that one is sent on a new one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

use super::redact::Redactor;
use super::settings::{Protocol, Settings, Signal, Target};
use super::{json, unsigned};

/// More of an answer than this is not read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Nanoseconds since the epoch, now.
pub(super) fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn any_value(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}

pub(super) fn key_value(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any_value(value)), ..KeyValue::default() }
}

/// Why something was not delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// Nobody answered: the other signals need not try.
    #[error("{0}")]
    Transport(String),
    /// The collector has no such path.
    #[error("the collector answered 404")]
    NotFound,
    /// The collector said no, or something that is not OTLP.
    #[error("the collector answered {0}")]
    Refused(String),
    /// The collector kept a part.
    #[error("the collector rejected {rejected}: {message}")]
    Partial { rejected: u64, message: String },
}

/// Encodes and sends.
#[derive(Debug)]
pub(super) struct Sender {
    agent: ureq::Agent,
    targets: [Option<Target>; 3],
    resource: Resource,
    redactor: Redactor,
    /// There was an answer, so that the next request may find a connection which the collector is just closing.
    answered: AtomicBool,
}

impl Sender {
    pub(super) fn new(settings: &Settings) -> Sender {
        let redactor = Redactor::new(settings.value_limit, settings.attribute_limit);
        let mut attributes: Vec<KeyValue> =
            settings.resource.iter().map(|(key, value)| key_value(key, value)).collect();
        attributes.push(KeyValue {
            key: "process.pid".to_owned(),
            value: Some(AnyValue { value: Some(Value::IntValue(std::process::id().into())) }),
            ..KeyValue::default()
        });
        redactor.attributes(&mut attributes);
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy from the environment would carry the data somewhere that nobody named.
            .proxy(None)
            .user_agent(concat!("agor/", env!("CARGO_PKG_VERSION")))
            .max_idle_age(Duration::from_secs(30));
        #[cfg(feature = "telemetry-tls")]
        let config = if settings.base.starts_with("https:") {
            config.tls_config(super::tls::config())
        } else {
            config
        };
        Sender {
            agent: ureq::Agent::new_with_config(config.build()),
            targets: settings.targets.clone(),
            resource: Resource { attributes, ..Resource::default() },
            redactor,
            answered: AtomicBool::new(false),
        }
    }

    pub(super) fn wants(&self, signal: Signal) -> bool {
        self.targets[signal as usize].is_some()
    }

    pub(super) fn spans(&self, spans: Vec<SpanData>) -> Result<(), SendError> {
        let spans: Vec<Span> = spans.into_iter().map(|span| self.clean_span(span.into())).collect();
        if self.is_json(Signal::Traces) {
            let body = json::traces(&self.resource, &scope(), &spans);
            return self.post_json(Signal::Traces, &body, "rejectedSpans");
        }
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        };
        let answer = self.post(Signal::Traces, &request.encode_to_vec())?;
        let partial =
            ExportTraceServiceResponse::decode(answer.as_slice()).ok().and_then(|r| r.partial_success);
        partial.map_or(Ok(()), |partial| self.partial(partial.rejected_spans, &partial.error_message))
    }

    pub(super) fn logs(&self, mut log_records: Vec<LogRecord>) -> Result<(), SendError> {
        for record in &mut log_records {
            record.dropped_attributes_count += self.redactor.attributes(&mut record.attributes);
            record.event_name = self.redactor.text(&record.event_name, 256);
            if let Some(body) = &mut record.body {
                self.redactor.value(body, 0);
            }
        }
        if self.is_json(Signal::Logs) {
            let body = json::logs(&self.resource, &scope(), &log_records);
            return self.post_json(Signal::Logs, &body, "rejectedLogRecords");
        }
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }],
                ..ResourceLogs::default()
            }],
        };
        let answer = self.post(Signal::Logs, &request.encode_to_vec())?;
        let partial =
            ExportLogsServiceResponse::decode(answer.as_slice()).ok().and_then(|r| r.partial_success);
        partial.map_or(Ok(()), |partial| self.partial(partial.rejected_log_records, &partial.error_message))
    }

    pub(super) fn metrics(&self, mut metrics: Vec<Metric>) -> Result<(), SendError> {
        for metric in &mut metrics {
            let points = match &mut metric.data {
                Some(metric::Data::Sum(sum)) => &mut sum.data_points,
                Some(metric::Data::Gauge(gauge)) => &mut gauge.data_points,
                _ => continue,
            };
            for point in points {
                self.redactor.attributes(&mut point.attributes);
            }
        }
        if self.is_json(Signal::Metrics) {
            let body = json::metrics(&self.resource, &scope(), &metrics);
            return self.post_json(Signal::Metrics, &body, "rejectedDataPoints");
        }
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        let answer = self.post(Signal::Metrics, &request.encode_to_vec())?;
        let partial =
            ExportMetricsServiceResponse::decode(answer.as_slice()).ok().and_then(|r| r.partial_success);
        partial.map_or(Ok(()), |partial| self.partial(partial.rejected_data_points, &partial.error_message))
    }

    fn clean_span(&self, mut span: Span) -> Span {
        span.name = self.redactor.text(&span.name, 256);
        unsigned::restore(&mut span.attributes);
        // The last value of a key counts; the SDK appends.
        let mut seen = std::collections::HashSet::new();
        span.attributes.reverse();
        span.attributes.retain(|pair| seen.insert(pair.key.clone()));
        span.attributes.reverse();
        span.dropped_attributes_count += self.redactor.attributes(&mut span.attributes);
        for event in &mut span.events {
            unsigned::restore(&mut event.attributes);
            event.name = self.redactor.text(&event.name, 1024);
            event.dropped_attributes_count += self.redactor.attributes(&mut event.attributes);
        }
        for link in &mut span.links {
            link.dropped_attributes_count += self.redactor.attributes(&mut link.attributes);
        }
        if let Some(status) = &mut span.status {
            status.message = self.redactor.text(&status.message, 1024);
        }
        span
    }

    /// A partial success with nothing rejected is a remark, and no loss.
    fn partial(&self, rejected: i64, message: &str) -> Result<(), SendError> {
        match u64::try_from(rejected) {
            Ok(rejected @ 1..) => {
                Err(SendError::Partial { rejected, message: self.redactor.text(message, 200) })
            }
            _ => Ok(()),
        }
    }

    fn is_json(&self, signal: Signal) -> bool {
        self.targets[signal as usize].as_ref().is_some_and(|target| target.protocol == Protocol::Json)
    }

    fn post_json(&self, signal: Signal, body: &[u8], rejected: &str) -> Result<(), SendError> {
        let answer = self.post(signal, body)?;
        json::partial(&answer, rejected).map_or(Ok(()), |(count, message)| self.partial(count, &message))
    }

    /// Posts a body and returns the answer if it is of the same kind.
    fn post(&self, signal: Signal, body: &[u8]) -> Result<Vec<u8>, SendError> {
        let Some(target) = &self.targets[signal as usize] else { return Ok(Vec::new()) };
        let send = || {
            let mut request = self.agent.post(&target.url).content_type(target.protocol.content_type());
            for (name, value) in &target.headers {
                request = request.header(name, value);
            }
            request.config().timeout_global(Some(target.timeout)).build().send(body)
        };
        // A connection of before that broke is gone from the pool: the second is a new one.
        let sent = match send() {
            Err(error) if self.answered.swap(false, Ordering::Relaxed) && is_broken(&error) => send(),
            sent => sent,
        };
        let mut answer = sent.map_err(|error| SendError::Transport(transport(&error)))?;
        self.answered.store(true, Ordering::Relaxed);
        let status = answer.status();
        let kind =
            answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let same = kind.is_empty() || kind.starts_with(target.protocol.content_type());
        if !status.is_success() {
            return Err(match status.as_u16() {
                404 => SendError::NotFound,
                300..400 => SendError::Refused(format!("{}: redirects are not followed", status.as_u16())),
                code => SendError::Refused(code.to_string()),
            });
        }
        let known = [Protocol::Protobuf, Protocol::Json];
        if !same && !known.iter().any(|protocol| kind.starts_with(protocol.content_type())) {
            let kind = crate::text::preview(kind, 60);
            return Err(SendError::Refused(format!("{} with {kind}, which is not OTLP", status.as_u16())));
        }
        let read = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        // The status line said that it was taken; an answer cut short changes nothing about that.
        Ok(if same { read.unwrap_or_default() } else { Vec::new() })
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "agor".to_owned(),
        version: crate::VERSION.to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Whether the other end closed the connection.
fn is_broken(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ureq::Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// One short line. The URL is in the warning already.
fn transport(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "the host name does not resolve".to_owned(),
        ureq::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
            std::io::ErrorKind::UnexpectedEof => "the connection closed early".to_owned(),
            _ => crate::text::preview(&error.to_string(), 200),
        },
        other => crate::text::preview(&other.to_string(), 200),
    }
}
