//! TLS to the collector: trusted, it delivers; not trusted, it says so in one line and changes nothing else.
//!
//! Wants the example built with the same feature: `cargo build --example telemetry-probe --features telemetry-tls`.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A collector behind TLS: its port, its certificate, and the path and body of each request.
struct Server {
    port: u16,
    certificate: PathBuf,
    requests: mpsc::Receiver<(String, Vec<u8>)>,
}

fn start(dir: &Path) -> Server {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = dir.join("collector.pem");
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    // `localhost` may be either family; the tool tries both.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = rustls::StreamOwned::new(session, stream);
            let sender = sender.clone();
            std::thread::spawn(move || serve(BufReader::new(stream), &sender));
        }
    });
    Server { port, certificate, requests }
}

type Stream = BufReader<rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>>;

fn serve(mut stream: Stream, sender: &mpsc::Sender<(String, Vec<u8>)>) -> Option<()> {
    loop {
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            if stream.read_line(&mut headers).ok()? == 0 {
                return None;
            }
        }
        let lower = headers.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"))?;
        let mut body = vec![0; length.trim().parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        sender.send((headers.split(' ').nth(1)?.to_owned(), body)).ok()?;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).ok()?;
    }
}

fn probe(server: &Server, roots: &Path) -> Output {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    Command::new(program.join("examples/telemetry-probe"))
        .env_clear()
        .env("AGOR_OTLP_ENDPOINT", format!("https://localhost:{}", server.port))
        .env("AGOR_OTLP_FLUSH_MS", "60000")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", roots)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_trusted_collector_gets_the_spans() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let output = probe(&server, &server.certificate);
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("done\n", ""));
    let (path, body) = server.requests.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(path, "/v1/traces");
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "probe.run");
}

#[test]
fn an_untrusted_collector_gets_nothing_and_is_one_warning() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.path().join("other.pem"), other.cert.pem()).unwrap();
    for roots in ["other.pem", "nowhere.pem"] {
        let output = probe(&server, &dir.path().join(roots));
        assert!(output.status.success(), "{roots}: {output:?}");
        assert_eq!(text(&output.stdout), "done\n");
        let stderr = text(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "{roots}: {stderr}");
        assert!(stderr.contains("warning: telemetry: ") && stderr.contains("1 span"), "{roots}: {stderr}");
    }
    assert!(server.requests.try_recv().is_err(), "nothing may be sent to whom is not trusted");
}
