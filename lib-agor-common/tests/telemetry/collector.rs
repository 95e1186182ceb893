//! A collector that a test owns: takes OTLP/HTTP on loopback, keeps what it got, misbehaves on request.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses its own part of this helper")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// What to do with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Behaviour {
    /// 200 with an empty protobuf answer.
    Take,
    /// Take traces, 404 for the rest, as Tempo does.
    TracesOnly,
    /// This status, empty body.
    Status(u16),
    /// 301 to elsewhere.
    Redirect,
    /// 200 with a web page.
    Html,
    /// 200 with `rejected_spans = 1`.
    Partial,
    /// Read the request, never answer.
    Hang,
    /// Answer half a header and then nothing.
    HangInAnswer,
    /// Take after this long.
    Slow(Duration),
    /// Take, and answer with far more than anybody asked for.
    Huge,
    /// Close after the request's header.
    Reset,
    /// Take, and close although keep-alive was promised.
    CloseEach,
    /// The same, but only when the next request has begun to come: the close and it cross.
    CloseLate,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

/// The collector; its threads end with the test's process.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Collector {
    pub(crate) fn start(behaviour: Behaviour) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, behaviour, &kept));
            }
        });
        Collector { endpoint, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Every byte that arrived, headers and all.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let all = self.requests();
        all.iter().flat_map(|r| [r.path.as_bytes(), r.headers.as_bytes(), &r.body].concat()).collect()
    }

    fn bodies(&self, path: &str) -> Vec<Vec<u8>> {
        self.requests().into_iter().filter(|r| r.path.ends_with(path)).map(|r| r.body).collect()
    }

    /// The spans, each with its resource's attributes.
    pub(crate) fn spans(&self) -> Vec<(Vec<KeyValue>, Span)> {
        let requests = self.bodies("/v1/traces");
        let requests = requests.iter().map(|body| ExportTraceServiceRequest::decode(&body[..]).unwrap());
        requests
            .flat_map(|request| request.resource_spans)
            .flat_map(|group| {
                let resource = group.resource.unwrap_or_default().attributes;
                let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.map(move |span| (resource.clone(), span)).collect::<Vec<_>>()
            })
            .collect()
    }

    pub(crate) fn span(&self, name: &str) -> Span {
        let spans = self.spans();
        let names: Vec<_> = spans.iter().map(|(_, span)| span.name.clone()).collect();
        let found = spans.into_iter().find(|(_, span)| span.name == name);
        found.unwrap_or_else(|| panic!("no span {name} among {names:?}")).1
    }

    pub(crate) fn logs(&self) -> Vec<LogRecord> {
        let requests = self.bodies("/v1/logs");
        let requests = requests.iter().map(|body| ExportLogsServiceRequest::decode(&body[..]).unwrap());
        let groups = requests.flat_map(|request| request.resource_logs);
        groups.flat_map(|group| group.scope_logs).flat_map(|scope| scope.log_records).collect()
    }

    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let requests = self.bodies("/v1/metrics");
        let requests = requests.iter().map(|body| ExportMetricsServiceRequest::decode(&body[..]).unwrap());
        let groups = requests.flat_map(|request| request.resource_metrics);
        groups.flat_map(|group| group.scope_metrics).flat_map(|scope| scope.metrics).collect()
    }

    /// Waits until `f` says yes; panics after a minute.
    pub(crate) fn wait(&self, what: &str, f: impl Fn(&Collector) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !f(self) {
            assert!(Instant::now() < end, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// An attribute as text.
pub(crate) fn attribute(list: &[KeyValue], key: &str) -> Option<String> {
    let pair = list.iter().find(|pair| pair.key == key)?;
    Some(match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(n) => n.to_string(),
        Value::BoolValue(b) => b.to_string(),
        Value::DoubleValue(d) => d.to_string(),
        other => format!("{other:?}"),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Only rotel compresses, whatever it is told.
fn gunzip(body: Vec<u8>) -> Option<Vec<u8>> {
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut stdin = gzip.stdin.take()?;
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let output = gzip.wait_with_output().ok()?;
    writer.join().ok()?.ok()?;
    Some(output.stdout)
}

fn serve(mut stream: TcpStream, behaviour: Behaviour, kept: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            if reader.read_line(&mut headers).ok()? == 0 {
                return None;
            }
        }
        if matches!(behaviour, Behaviour::Reset) {
            return None;
        }
        let length = headers.to_ascii_lowercase();
        let length =
            length.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if headers.to_ascii_lowercase().contains("content-encoding: gzip") {
            body = gunzip(body)?;
        }
        let path = headers.split(' ').nth(1)?.to_owned();
        kept.lock().ok()?.push(Request { path: path.clone(), headers, body });
        let answer = |status: &str, more: &str, body: &[u8]| {
            let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        let proto = "Content-Type: application/x-protobuf\r\n";
        let bytes = match behaviour {
            Behaviour::Take | Behaviour::CloseEach | Behaviour::CloseLate => answer("200 OK", proto, b""),
            Behaviour::TracesOnly if path == "/v1/traces" => answer("200 OK", proto, b""),
            Behaviour::TracesOnly => answer("404 Not Found", "", b""),
            Behaviour::Status(code) => answer(&format!("{code} Whatever"), "Retry-After: 30\r\n", b""),
            Behaviour::Redirect => answer("301 Moved", "Location: http://127.0.0.1:1/x\r\n", b""),
            Behaviour::Html => answer("200 OK", "Content-Type: text/html\r\n", b"<html>Welcome</html>"),
            Behaviour::Partial => {
                let partial_success =
                    ExportTracePartialSuccess { rejected_spans: 1, error_message: "too\u{1b} old".into() };
                let body = ExportTraceServiceResponse { partial_success: Some(partial_success) };
                answer("200 OK", proto, &body.encode_to_vec())
            }
            Behaviour::Huge => answer("200 OK", proto, &vec![0; 8 << 20]),
            Behaviour::Slow(time) => {
                std::thread::sleep(time);
                answer("200 OK", proto, b"")
            }
            Behaviour::HangInAnswer => b"HTTP/1.1 200 OK\r\nContent-".to_vec(),
            Behaviour::Hang | Behaviour::Reset => Vec::new(),
        };
        stream.write_all(&bytes).ok()?;
        match behaviour {
            Behaviour::CloseEach => return None,
            Behaviour::CloseLate => {
                reader.fill_buf().ok()?;
                return None;
            }
            _ => {}
        }
    }
}
