//! Telemetry as a black box: a small tool (examples/telemetry-probe.rs) and a collector that the test owns.
#![allow(clippy::unwrap_used)]

mod collector;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use collector::{Behaviour, Collector, attribute, hex};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/telemetry-probe")
}

/// A command with an environment of its own.
fn command(program: impl AsRef<std::ffi::OsStr>, endpoint: Option<&str>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", "/home/ada");
    if let Some(endpoint) = endpoint {
        command.env("AGOR_OTLP_ENDPOINT", endpoint);
    }
    command
}

/// As a user has it, with the default patience: for collectors that do not answer.
fn impatient(endpoint: &str, steps: &[&str]) -> Command {
    let mut command = command(program(), Some(endpoint));
    command.args(steps);
    command
}

/// With all the time that a loaded machine may need.
fn probe(endpoint: Option<&str>, steps: &[&str]) -> Command {
    let mut command = command(program(), endpoint);
    command.args(steps).env("AGOR_OTLP_FLUSH_MS", "30000");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ran to a good end and printed what it always prints.
fn done(output: &Output) {
    assert_eq!(text(&output.stdout), "done\n", "{}", text(&output.stderr));
    assert!(output.status.success(), "{output:?}");
}

fn skip(why: &str) {
    let required = std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "required, but {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A probe that waits for a byte on stdin, and has come that far.
fn waiting(mut command: Command) -> Child {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "waiting\n");
    child
}

fn signal(child: &Child, signal: i32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::from_named_raw(signal).unwrap()).unwrap();
}

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
fn one_run_arrives_whole_as_json() {
    let collector = Collector::start(Behaviour::Take);
    let output = probe(Some(&collector.endpoint), &["child", "warn", "count", "gauge", "foreign", "secrets"])
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf")
        .env("TRACEPARENT", PARENT)
        .output()
        .unwrap();
    done(&output);
    assert!(!text(&output.stderr).contains("telemetry"), "{}", text(&output.stderr));
    let requests = collector.requests();
    let json = |path: &str| -> serde_json::Value {
        let request = requests.iter().find(|request| request.path == path).unwrap();
        let headers = request.headers.to_ascii_lowercase();
        assert!(headers.contains("content-type: application/json"), "{headers}");
        serde_json::from_slice(&request.body).unwrap()
    };
    let traces = json("/v1/traces");
    let spans = traces["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let (root, child) = (named("probe.run"), named("probe.child"));
    assert_eq!(root["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(root["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(child["parentSpanId"], root["spanId"]);
    let nanos = |span: &serde_json::Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos(root, "startTimeUnixNano") <= nanos(child, "startTimeUnixNano"));
    assert!(nanos(child, "endTimeUnixNano") <= nanos(root, "endTimeUnixNano"));
    let code = root["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == "process.exit.code");
    assert_eq!(code.unwrap()["value"]["intValue"], "0", "64 bits are a string");
    assert_eq!(root["status"]["code"], 2);
    let logs = json("/v1/logs");
    let records = logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert!(records.iter().any(|record| record["eventName"] == "ui.crash"));
    assert!(records.iter().all(|record| record["spanId"] == root["spanId"]));
    assert!(!collector.metrics().is_empty(), "one signal may differ");
    assert!(!text(&collector.bytes()).contains("hunter2"));
}

#[test]
fn one_run_arrives_whole() {
    let collector = Collector::start(Behaviour::Take);
    let mut command =
        probe(Some(&collector.endpoint), &["child", "warn", "count", "gauge", "foreign", "noise"]);
    let output = command.env("TRACEPARENT", PARENT).output().unwrap();
    done(&output);
    let stderr = text(&output.stderr);
    assert_eq!(
        stderr,
        "probe: warning: look\\e[2J here answer=42\nprobe: warning: ui.crash source=frontend page=inbox\n"
    );

    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "no telemetry about telemetry: {spans:?}");
    let (root, child) = (collector.span("probe.run"), collector.span("probe.child"));
    assert_eq!(hex(&root.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&root.parent_span_id), "00f067aa0ba902b7");
    assert_eq!((&child.trace_id, &child.parent_span_id), (&root.trace_id, &root.span_id));
    assert!(root.start_time_unix_nano <= child.start_time_unix_nano);
    assert!(child.start_time_unix_nano <= child.end_time_unix_nano);
    assert!(child.end_time_unix_nano <= root.end_time_unix_nano);
    assert_eq!(attribute(&root.attributes, "process.exit.code").as_deref(), Some("0"));
    assert!(root.status.is_none_or(|status| status.code != 2));
    let value =
        |key: &str| format!("{:?}", root.attributes.iter().find(|pair| pair.key == key).unwrap().value);
    assert!(value("probe.size").contains("IntValue(7)") && value("probe.digits").contains("StringValue"));
    let names: Vec<_> = root.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["look\u{1b}[2J here", "ui.crash"]);

    let resource = &spans[0].0;
    assert_eq!(attribute(resource, "service.name").as_deref(), Some("probe"));
    assert_eq!(attribute(resource, "service.namespace").as_deref(), Some("agor"));
    assert!(attribute(resource, "service.instance.id").is_some());

    let logs = collector.logs();
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|log| log.trace_id == root.trace_id && log.span_id == root.span_id));
    assert_eq!(logs[1].event_name, "ui.crash");
    assert_eq!(attribute(&logs[1].attributes, "source").as_deref(), Some("frontend"));
    let mut names: Vec<_> = collector.metrics().into_iter().map(|metric| metric.name).collect();
    names.sort();
    assert_eq!(names, ["agor.probe.count", "agor.probe.gauge"]);
}

#[test]
fn a_record_belongs_to_the_span_that_its_event_names() {
    let collector = Collector::start(Behaviour::Take);
    done(&probe(Some(&collector.endpoint), &["aside"]).output().unwrap());
    let aside = collector.span("probe.aside");
    assert_eq!(collector.logs()[0].span_id, aside.span_id);
    assert_eq!(aside.events[0].name, "about another span");
}

#[test]
fn every_run_is_its_own_instance() {
    let collector = Collector::start(Behaviour::Take);
    for _ in 0..2 {
        done(&probe(Some(&collector.endpoint), &[]).output().unwrap());
    }
    let ids: Vec<_> =
        collector.spans().iter().map(|(resource, _)| attribute(resource, "service.instance.id")).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
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

/// What a bad collector may cost: one warning line with the loss in it, nothing else.
fn warned(endpoint: &str, why: &str) {
    costs_one_warning(probe(Some(endpoint), &["child", "info", "count"]), why);
}

/// The same, from one that does not answer.
fn left(endpoint: &str, why: &str) {
    costs_one_warning(impatient(endpoint, &["child", "info", "count"]), why);
}

fn costs_one_warning(mut command: Command, why: &str) {
    let start = Instant::now();
    let output = command.output().unwrap();
    // Far above the 100 ms that it may take, far below the 10 s of a request that nobody bounds.
    assert!(start.elapsed() < Duration::from_secs(5), "hung on {why}");
    done(&output);
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{why}: {stderr}");
    assert!(
        stderr.starts_with("probe: warning: telemetry: ") && stderr.contains("not delivered"),
        "{stderr}"
    );
    assert!(stderr.contains(why), "{why} not in {stderr}");
}

#[test]
fn answers_that_are_not_yes_cost_one_warning() {
    for code in [400, 401, 404, 413, 429, 500, 503] {
        warned(&Collector::start(Behaviour::Status(code)).endpoint, &code.to_string());
    }
    warned(&Collector::start(Behaviour::Redirect).endpoint, "301: redirects are not followed");
    warned(&Collector::start(Behaviour::Html).endpoint, "text/html");
    warned(&Collector::start(Behaviour::Partial).endpoint, "1 span, 1 log record and 1 metric point");
    warned(&Collector::start(Behaviour::Reset).endpoint, "2 spans, 1 log record and 1 metric point");
}

#[test]
fn a_collector_that_hangs_is_left() {
    for behaviour in [Behaviour::Hang, Behaviour::HangInAnswer, Behaviour::Slow(Duration::from_secs(30))] {
        left(&Collector::start(behaviour).endpoint, "2 spans, 1 log record and 1 metric point");
    }
}

#[test]
fn a_collector_that_is_not_there_costs_one_warning() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    warned(&format!("http://{address}"), "connection refused");
    // `.invalid` never resolves (RFC 6761); a resolver that hangs instead is cut off just the same.
    left("http://collector.invalid:4318", "2 spans, 1 log record and 1 metric point");
}

#[test]
fn a_connection_that_is_never_made_is_left() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&listener, 0).unwrap();
    let address: std::net::SocketAddr = getsockname(&listener).unwrap().try_into().unwrap();
    // With the accept queue full the kernel drops further SYNs.
    let short = Duration::from_millis(200);
    let mut queue = Vec::new();
    while queue.len() < 8 {
        match std::net::TcpStream::connect_timeout(&address, short) {
            Ok(stream) => queue.push(stream),
            Err(_) => break,
        }
    }
    if queue.len() == 8 {
        return skip("this kernel does not drop SYNs on a full queue");
    }
    left(&format!("http://{address}"), "no answer");
}

#[test]
fn a_resolver_that_hangs_is_left() {
    if !rustix::process::geteuid().is_root() {
        return skip("a resolver of our own needs root");
    }
    // A name server that takes questions and never answers, in a mount namespace of its own.
    let Ok(_server) = std::net::UdpSocket::bind("127.9.8.7:53") else {
        return skip("port 53 is not to be had");
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("resolv.conf"), "nameserver 127.9.8.7\n").unwrap();
    std::fs::write(dir.path().join("nsswitch.conf"), "hosts: dns\n").unwrap();
    let script = "mount --bind resolv.conf /etc/resolv.conf && mount --bind nsswitch.conf /etc/nsswitch.conf && exec \"$0\" child";
    let mut command = command("unshare", Some("http://collector.example:4318"));
    command.current_dir(dir.path()).args(["-m", "sh", "-c", script]).arg(program());
    let start = Instant::now();
    let output = command.output().unwrap();
    let took = start.elapsed();
    if !output.status.success() {
        return skip("no mount namespace here");
    }
    done(&output);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(text(&output.stderr).contains("2 spans not delivered"), "{}", text(&output.stderr));
}

#[test]
fn a_collector_for_traces_alone_is_no_trouble() {
    let collector = Collector::start(Behaviour::TracesOnly);
    let output = probe(Some(&collector.endpoint), &["count", "info"]).output().unwrap();
    done(&output);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(collector.requests().len(), 3);
}

#[test]
fn closed_connections_are_opened_again() {
    let collector = Collector::start(Behaviour::CloseEach);
    let output = probe(Some(&collector.endpoint), &["count", "info"]).output().unwrap();
    done(&output);
    assert_eq!(text(&output.stderr), "");
    assert_eq!((collector.spans().len(), collector.logs().len(), collector.metrics().len()), (1, 1, 1));
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
}

#[test]
fn nothing_is_lost_on_the_way_out() {
    let collector = Collector::start(Behaviour::Take);
    let output = probe(Some(&collector.endpoint), &["fail"]).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    let span = collector.span("probe.run");
    assert_eq!(attribute(&span.attributes, "error.type").as_deref(), Some("65"));
    assert_eq!(span.status.unwrap().code, 2);

    let collector = Collector::start(Behaviour::Take);
    let output = probe(Some(&collector.endpoint), &["panic"]).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    collector.span("probe.run");
    let log = &collector.logs()[0];
    assert_eq!(attribute(&log.attributes, "exception.type").as_deref(), Some("panic"));
    assert!(!text(&collector.bytes()).contains("hunter2"));

    // The reader of stdout goes away.
    let collector = Collector::start(Behaviour::Take);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = probe(Some(&collector.endpoint), &["child"]).stdout(writer).status().unwrap();
    assert!(status.success());
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn a_signal_flushes_and_still_kills() {
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        if is_ignored(number) {
            // Under nohup(1) or as a shell's background job; a program inherits that and keeps to it.
            println!("SKIPPED: signal {number} is ignored here");
            continue;
        }
        let collector = Collector::start(Behaviour::Take);
        let mut child = waiting(probe(Some(&collector.endpoint), &["child", "wait"]));
        // Waiting would close it, and the end of input is an end of its own.
        let _stdin = child.stdin.take();
        signal(&child, number);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(number));
        let root = collector.span("probe.run");
        assert!(attribute(&root.attributes, "error.type").unwrap().starts_with("SIG"));
        collector.span("probe.child");
    }
}

/// Whether this process, and so what it starts, ignores a signal.
fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    u64::from_str_radix(mask, 16).unwrap() >> (number - 1) & 1 == 1
}

#[test]
fn a_signal_while_the_collector_hangs_kills_soon() {
    let collector = Collector::start(Behaviour::Hang);
    let mut command = impatient(&collector.endpoint, &["child", "wait"]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "1");
    let mut child = waiting(command);
    collector.wait("an export in flight", |c| !c.requests().is_empty());
    let _stdin = child.stdin.take();
    let start = Instant::now();
    signal(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let mut stderr = String::new();
    child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("2 spans not delivered"), "{stderr}");
}

#[test]
fn our_threads_leave_signals_alone() {
    let collector = Collector::start(Behaviour::Take);
    let child = waiting(probe(Some(&collector.endpoint), &["spawn", "wait"]));
    let mut seen = 0;
    for task in std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        let mask = u64::from_str_radix(mask, 16).unwrap();
        if task.file_name().to_str() == Some(&child.id().to_string()) {
            assert_eq!(mask, 0);
        } else {
            seen += 1;
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGHUP, libc::SIGUSR1] {
                assert_ne!(mask & 1 << (signal - 1), 0, "{status}");
            }
        }
    }
    assert_eq!(seen, 2);
    child.wait_with_output().unwrap();
}

#[test]
fn a_service_exports_while_it_runs() {
    let collector = Collector::start(Behaviour::Take);
    let mut command = probe(Some(&collector.endpoint), &["service", "child", "count", "wait"]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "20").env("OTEL_METRIC_EXPORT_INTERVAL", "20");
    let mut child = waiting(command);
    collector.wait("the first spans", |c| c.spans().len() == 1);
    collector.wait("two exports of metrics", |c| c.metrics().len() >= 2);
    child.stdin.take();
    assert!(child.wait().unwrap().success());
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn a_service_says_once_that_its_collector_is_gone() {
    let collector = Collector::start(Behaviour::Status(503));
    let mut command = probe(Some(&collector.endpoint), &["service", "child", "wait"]);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "20").env("OTEL_METRICS_EXPORTER", "none");
    let mut child = waiting(command);
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("1 span not delivered") && line.contains("503"), "{line}");
    child.stdin.take();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let rest = text(&output.stderr);
    assert!(!rest.contains("warning") && rest.contains("another 1 span"), "{rest}");
}

#[test]
fn more_than_the_queue_holds_is_counted() {
    let collector = Collector::start(Behaviour::Hang);
    let output = impatient(&collector.endpoint, &["many"]).output().unwrap();
    done(&output);
    assert!(text(&output.stderr).contains("20001 spans not delivered"), "{}", text(&output.stderr));
}

#[test]
fn secrets_do_not_leave() {
    let collector = Collector::start(Behaviour::Take);
    let mut command = probe(Some(&collector.endpoint), &["secrets"]);
    command.env("PROBE_API_KEY", "a-value-of-no-known-shape");
    done(&command.output().unwrap());
    assert_eq!((collector.spans().len(), collector.logs().len(), collector.metrics().len()), (1, 1, 1));
    let bytes = text(&collector.bytes());
    for secret in ["hunter2", "a-value-of-no-known-shape", "/home/ada"] {
        assert!(!bytes.contains(secret), "{secret} left in {bytes}");
    }
    assert!(bytes.contains("~/notes"));
}

#[test]
fn sizes_are_capped() {
    let collector = Collector::start(Behaviour::Take);
    done(&probe(Some(&collector.endpoint), &["huge"]).output().unwrap());
    assert!(collector.bytes().len() < 100_000);
    let span = collector.span("probe.run");
    assert_eq!(span.attributes.len(), 128);
    assert!(span.dropped_attributes_count > 9000);
    assert!(attribute(&span.attributes, "probe.huge").unwrap().len() <= 4096);
}

#[test]
fn malformed_parents_start_a_new_trace() {
    let ids = |parent: &str| {
        let collector = Collector::start(Behaviour::Take);
        done(&probe(Some(&collector.endpoint), &[]).env("TRACEPARENT", parent).output().unwrap());
        let span = collector.span("probe.run");
        (hex(&span.trace_id), hex(&span.parent_span_id))
    };
    for parent in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
    ] {
        let (trace, parent_id) = ids(parent);
        assert_ne!(trace, "4bf92f3577b34da6a3ce929d0e0e4736", "{parent}");
        assert_eq!(parent_id, "", "{parent}");
    }
    assert_eq!(ids(&format!("cc{}-future", &PARENT[2..])).0, "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn the_sampling_decision_is_kept_and_handed_on() {
    let collector = Collector::start(Behaviour::Take);
    let mut command = probe(Some(&collector.endpoint), &["env"]);
    command.env("TRACEPARENT", PARENT.replace("-01", "-00")).env("TRACESTATE", "vendor=1");
    let output = text(&command.output().unwrap().stdout);
    assert_eq!(collector.requests().len(), 0, "not sampled, so not exported");
    assert!(output.starts_with("TRACEPARENT=00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{output}");
    assert!(output.lines().next().unwrap().ends_with("-00"), "{output}");
    assert!(output.contains("TRACESTATE=vendor=1"), "{output}");
}

#[test]
fn the_context_passes_through_when_off() {
    let output = text(&probe(None, &["env"]).env("TRACEPARENT", PARENT).output().unwrap().stdout);
    assert_eq!(output, format!("TRACEPARENT={PARENT}\ndone\n"));
}

#[test]
fn an_exec_hands_its_span_to_the_program() {
    let collector = Collector::start(Behaviour::Take);
    let output = probe(Some(&collector.endpoint), &["exec"]).env("TRACEPARENT", PARENT).output().unwrap();
    let span = collector.span("probe.run");
    let want = format!("TRACEPARENT=00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    assert!(text(&output.stdout).lines().any(|line| line == want), "{}", text(&output.stdout));
}

#[test]
fn a_hundred_at_once_do_not_disturb_each_other() {
    let collector = Collector::start(Behaviour::Take);
    let children: Vec<_> = (0..100)
        .map(|_| {
            let mut command = probe(Some(&collector.endpoint), &["child"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        done(&output);
        assert_eq!(text(&output.stderr), "");
    }
    assert_eq!(collector.spans().len(), 200);
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
