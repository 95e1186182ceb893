//! Off, on, and what the variables refine.

use std::os::unix::ffi::OsStrExt as _;

use crate::collector::{Behaviour, Collector, attribute};
use crate::probe::{PARENT, command, done, probe, program, skip, text};

#[test]
fn off_means_no_thread_and_no_socket() {
    let cases: [&[(&str, &str)]; 4] = [
        &[],
        &[("AGOR_OTLP_ENDPOINT", "")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")],
        &[("AGOR_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_SDK_DISABLED", "true")],
    ];
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    for vars in cases {
        let mut command = command("strace", None);
        command.args(["-f", "-qq", "-e", "trace=%network,clone,clone3,fork,vfork,pipe,pipe2", "-o"]);
        command.arg(&trace).arg(program()).args(["child", "count", "gauge"]).envs(vars.iter().copied());
        match command.output() {
            Ok(output) if text(&output.stderr).contains("PTRACE") => {
                return skip("strace may not trace here");
            }
            Ok(output) => {
                done(&output);
                assert_eq!(text(&output.stderr), "");
            }
            Err(_) => return skip("strace is not installed"),
        }
        let calls = std::fs::read_to_string(&trace).unwrap();
        let calls: Vec<_> = calls.lines().filter(|line| line.contains('(')).collect();
        assert_eq!(calls, Vec::<&str>::new(), "{vars:?}");
    }
}

#[test]
fn the_context_passes_through_when_off() {
    let output = text(&probe(None, &["env"]).env("TRACEPARENT", PARENT).output().unwrap().stdout);
    assert_eq!(output, format!("TRACEPARENT={PARENT}\ndone\n"));
}

#[test]
fn the_standard_variables_refine() {
    let collector = Collector::start(Behaviour::Take);
    let mut command = probe(Some(&format!("{}/otlp/v1/traces/", collector.endpoint)), &["warn", "count"]);
    command
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue%2Dgreen")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_SERVICE_NAME", "mine")
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=red,service.name=not-this")
        .env("OTEL_LOGS_EXPORTER", "none")
        .env("OTEL_METRICS_EXPORTER", "none");
    done(&command.output().unwrap());
    let requests = collector.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].path, "/otlp/v1/traces");
    assert!(requests[0].headers.to_ascii_lowercase().contains("x-tenant: blue-green"), "{requests:?}");
    let resource = &collector.spans()[0].0;
    assert_eq!(attribute(resource, "service.name").as_deref(), Some("mine"));
    assert_eq!(attribute(resource, "team").as_deref(), Some("red"));

    let mut command = probe(Some(&collector.endpoint), &["warn"]);
    done(&command.env("OTEL_TRACES_EXPORTER", "none").env("OTEL_METRICS_EXPORTER", "none").output().unwrap());
    let paths: Vec<_> = collector.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/otlp/v1/traces", "/v1/logs"]);
}

#[test]
fn a_faulty_endpoint_is_one_warning_and_goes_nowhere() {
    for endpoint in
        ["foo", "ftp://localhost", "http://ada:hunter2@localhost:1", "https://localhost:4318", "http://[::1"]
    {
        let output = probe(Some(endpoint), &["child"]).output().unwrap();
        done(&output);
        let stderr = text(&output.stderr);
        if endpoint.starts_with("https") && !stderr.contains("telemetry-tls") {
            continue; // built with TLS
        }
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("probe: warning: AGOR_OTLP_ENDPOINT: "), "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
    let not_text = std::ffi::OsStr::from_bytes(b"http://localhost:4318/\xff");
    let output = probe(None, &["child"]).env("AGOR_OTLP_ENDPOINT", not_text).output().unwrap();
    done(&output);
    assert_eq!(text(&output.stderr).matches("warning: AGOR_OTLP_ENDPOINT: ").count(), 1);
}

#[test]
fn the_log_follows_its_variable() {
    let lines = |vars: &[(&str, &str)], steps: &[&str]| {
        text(&probe(None, steps).envs(vars.iter().copied()).output().unwrap().stderr)
    };
    let steps = ["info", "warn", "noise"];
    assert_eq!(lines(&[], &steps), "probe: warning: look\\e[2J here answer=42\n");
    assert_eq!(lines(&[("AGOR_LOG", "off")], &steps), "");
    assert_eq!(lines(&[("RUST_LOG", "off"), ("AGOR_LOG", "")], &steps), "");
    assert!(
        lines(&[("AGOR_LOG", "info"), ("RUST_LOG", "off")], &steps)
            .starts_with("probe: for your information\n")
    );
    assert!(!lines(&[("AGOR_LOG", "trace")], &steps).contains("noise"));
    assert!(lines(&[("AGOR_LOG", "hyper=info")], &steps).contains("noise"));
    let collector = Collector::start(Behaviour::Take);
    let mut silent = probe(Some(&collector.endpoint), &["service", "silent"]);
    assert_eq!(text(&silent.output().unwrap().stderr), "");
    assert_eq!(collector.logs().len(), 1);
    let complaint = lines(&[("AGOR_LOG", "loud")], &[]);
    assert_eq!(complaint, "probe: warning: AGOR_LOG: 'loud' is neither LEVEL nor TARGET=LEVEL\n");
    // A service says when; the journal knows that by itself.
    let service = lines(&[], &["service", "info"]);
    assert!(service.contains("Z probe: for your information\n") && service.starts_with("20"), "{service}");
}
