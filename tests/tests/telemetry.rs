//! One story across processes, told to a real collector.
//!
//! The tools export to rotel (an OpenTelemetry collector, `pip install rotel`), and rotel passes on what it
//! understood to a receiver of ours, which is then asked. Skipped where rotel is not installed.

#[path = "../../lib-agor-common/tests/telemetry/collector.rs"]
mod collector;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agor_tests::{World, bin_dir, skip, stderr, stdout, top};
use collector::{Behaviour, Collector, attribute, hex};
use opentelemetry_proto::tonic::trace::v1::Span;

/// How long the end of a run waits for its collector here: as long as it may, for a loaded machine.
const FLUSH_MS: &str = "60000";

/// rotel's program: on PATH, or inside the Python package.
fn rotel_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("rotel-agent")).find(|file| file.is_file());
    on_path.or_else(|| {
        let script = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
        let output = Command::new("python3").args(["-c", script]).output().ok()?;
        let file = PathBuf::from(stdout(&output).trim());
        (output.status.success() && file.is_file()).then_some(file)
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("an address").port()
}

/// A running rotel and the receiver behind it.
struct Rotel {
    child: Child,
    endpoint: String,
    behind: Collector,
}

impl Rotel {
    fn start() -> Option<Rotel> {
        let Some(program) = rotel_program() else {
            skip("rotel is not installed (pip install rotel)");
            return None;
        };
        let behind = Collector::start(Behaviour::Take);
        // A port that was free may be taken by someone else before rotel binds it: then another one.
        for _ in 0..5 {
            let (http, grpc) = (free_port(), free_port());
            let mut child = Command::new(&program)
                .args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"])
                .args(["--batch-timeout", "20ms"])
                .args(["--otlp-exporter-endpoint", &behind.endpoint])
                .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
                .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("rotel starts");
            let end = Instant::now() + Duration::from_secs(60);
            while Instant::now() < end && child.try_wait().expect("a child").is_none() {
                if TcpStream::connect(("127.0.0.1", http)).is_ok() {
                    let endpoint = format!("http://127.0.0.1:{http}");
                    return Some(Rotel { child, endpoint, behind });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("rotel does not listen");
    }

    /// Waits until spans of all these names have come through.
    fn wait_for(&self, names: &[&str]) {
        self.until_none("spans", || {
            let seen: BTreeSet<String> = self.behind.spans().into_iter().map(|(_, span)| span.name).collect();
            names.iter().filter(|name| !seen.contains(**name)).map(|name| (*name).to_owned()).collect()
        });
    }

    /// Waits until nothing is missing any more: rotel passes on in batches, in an order of its own.
    fn until_none(&self, what: &str, missing: impl Fn() -> Vec<String>) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let missing = missing();
            if missing.is_empty() {
                return;
            }
            let seen: Vec<_> = self.spans().into_iter().map(|span| span.name).collect();
            assert!(Instant::now() < end, "{what}: {missing:?} did not come; spans: {seen:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn spans(&self) -> Vec<Span> {
        self.behind.spans().into_iter().map(|(_, span)| span).collect()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first span of this name that satisfies `f`.
fn find<'a>(spans: &'a [Span], name: &str, f: impl Fn(&Span) -> bool) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name && f(span));
    found.unwrap_or_else(|| panic!("no such {name} in {spans:#?}"))
}

#[test]
fn supervisor_sandbox_agent_and_both_ends_of_a_message_are_one_trace() {
    let Some(rotel) = Rotel::start() else { return };
    let world = World::new();
    for (agent, role) in [("boss", "manager"), ("coder", "project")] {
        let output = world.run("btmsg", &["register", agent, agent, role, "test"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let script = "btmsg send boss 'the build is green' && btmsg heartbeat";
    let output = world
        .tool("agor-supervise")
        .args(["--name", "coder", "--agent", "coder", "--restart", "on-failure", "--"])
        .arg(bin_dir().join("agor-sandbox"))
        .args(["--rw", ".", "--rox"])
        .arg(bin_dir())
        .args(["--", "sh", "-c", script])
        .env("AGOR_OTLP_ENDPOINT", &rotel.endpoint)
        .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
    let output = world
        .tool("btmsg")
        .args(["--as", "boss", "recv", "--json"])
        .env("AGOR_OTLP_ENDPOINT", &rotel.endpoint)
        .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));

    rotel.wait_for(&[
        "supervise.run",
        "supervise.incarnation",
        "sandbox.exec",
        "btmsg.send",
        "btmsg.receive",
    ]);
    let spans = rotel.spans();
    let run = find(&spans, "supervise.run", |_| true);
    let child =
        |name: &str, parent: &Span| find(&spans, name, |s| s.parent_span_id == parent.span_id).clone();
    let incarnation = child("supervise.incarnation", run);
    let exec = child("sandbox.exec", &incarnation);
    let send = child("btmsg.send", &exec);
    let receive = find(&spans, "btmsg.receive", |_| true);
    for span in [&incarnation, &exec, &send, receive] {
        assert_eq!(hex(&span.trace_id), hex(&run.trace_id), "{}", span.name);
    }
    assert!(receive.links.iter().any(|link| link.span_id == send.span_id), "{receive:#?}");
    assert_eq!(attribute(&send.attributes, "messaging.system").as_deref(), Some("btmsg"));
    assert_eq!(attribute(&send.attributes, "messaging.destination.name").as_deref(), Some("boss"));
    assert_eq!(
        attribute(&send.attributes, "messaging.message.id"),
        attribute(&receive.attributes, "messaging.message.id")
    );
    assert!(send.start_time_unix_nano >= exec.start_time_unix_nano);
    assert!(receive.start_time_unix_nano >= send.start_time_unix_nano);
    // The body stays on this machine.
    let bytes = rotel.behind.bytes();
    assert!(!String::from_utf8_lossy(&bytes).contains("the build is green"));
}

#[test]
fn a_real_collector_reads_json_as_it_reads_protobuf() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let Some(rotel) = Rotel::start() else { return };
    let world = World::new();
    world.run("btmsg", &["register", "boss", "Boss", "manager", "test"]);
    for protocol in ["http/json", "http/protobuf"] {
        let output = world
            .tool("btmsg")
            .args(["--as", "boss", "log", "warn", "ui.crash", "page=inbox"])
            .env("AGOR_OTLP_ENDPOINT", &rotel.endpoint)
            .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("TRACEPARENT", format!("00-{TRACE}-00f067aa0ba902b7-01"))
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(!stderr(&output).contains("telemetry"), "{protocol}: {}", stderr(&output));
    }
    let end = Instant::now() + Duration::from_secs(60);
    while rotel.spans().len() < 2 || rotel.behind.logs().len() < 2 {
        assert!(Instant::now() < end, "{:?} {:?}", rotel.spans(), rotel.behind.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    // What differs between two runs is taken away; the rest came through alike.
    let bare = |mut span: Span| {
        assert_eq!(span.span_id.len(), 8);
        assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
        (span.span_id, span.start_time_unix_nano, span.end_time_unix_nano) = Default::default();
        span.attributes.retain(|pair| pair.key != "process.pid");
        span.events.iter_mut().for_each(|event| event.time_unix_nano = 0);
        span
    };
    let spans: Vec<Span> = rotel.spans().into_iter().map(bare).collect();
    assert_eq!(spans[0], spans[1]);
    assert_eq!(
        (hex(&spans[0].trace_id).as_str(), hex(&spans[0].parent_span_id).as_str()),
        (TRACE, "00f067aa0ba902b7")
    );
    assert_eq!(attribute(&spans[0].attributes, "process.exit.code").as_deref(), Some("0"));
    let logs = rotel.behind.logs();
    assert_eq!((&logs[0].body, &logs[0].attributes), (&logs[1].body, &logs[1].attributes));
    assert_eq!((logs[0].severity_number, &logs[0].trace_id), (logs[1].severity_number, &logs[1].trace_id));
}

#[test]
fn every_command_has_a_root_span_with_its_exit_code() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let world = World::new();
    world.run("btmsg", &["register", "boss", "Boss", "manager", "test"]);
    let cases: [(&str, &[&str], &str, &str); 16] = [
        ("btmsg", &["agents"], "btmsg agents", "0"),
        ("btmsg", &["status"], "btmsg status", "0"),
        ("btmsg", &["stats"], "btmsg stats", "0"),
        ("btmsg", &["--as", "nobody", "whoami"], "btmsg whoami", ""),
        ("btmsg", &["--as", "boss", "send", "nobody", "x"], "btmsg", ""),
        ("agor-supervise", &["list"], "agor-supervise list", "0"),
        ("agor-supervise", &["status", "nobody"], "agor-supervise status", ""),
        ("agor-supervise", &["explain"], "agor-supervise explain", ""),
        ("agor-checkpoint", &["status"], "agor-checkpoint status", "0"),
        ("agor-relay", &["token", "new"], "agor-relay token", "0"),
        ("agor-relay", &["pin", "/nowhere"], "agor-relay pin", ""),
        ("agor-sandbox", &["explain", "--", "true"], "agor-sandbox explain", "0"),
        ("agor-sandbox", &["doctor"], "agor-sandbox doctor", ""),
        ("agor-sandbox", &["--profile", "nowhere", "--", "true"], "agor-sandbox", "125"),
        ("agor-sandbox", &["--net", "all", "--", "/etc/passwd"], "agor-sandbox", "126"),
        ("agor-sandbox", &["--net", "all", "--", "no-such-program"], "agor-sandbox", "127"),
    ];
    for (tool, args, name, code) in cases {
        let collector = Collector::start(Behaviour::Take);
        let output = world
            .tool(tool)
            .args(args)
            .env("AGOR_OTLP_ENDPOINT", &collector.endpoint)
            .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
            .env("TRACEPARENT", format!("00-{TRACE}-00f067aa0ba902b7-01"))
            .output()
            .expect("it runs");
        let what = format!("{tool} {args:?}: {}", stderr(&output));
        let status = output.status.code().expect("no signal").to_string();
        assert!(code.is_empty() || code == status, "{what}: {status}");
        let spans: Vec<Span> = collector.spans().into_iter().map(|(_, span)| span).collect();
        let roots: Vec<&Span> =
            spans.iter().filter(|span| hex(&span.parent_span_id) == "00f067aa0ba902b7").collect();
        let coded =
            |span: &&&Span| attribute(&span.attributes, "process.exit.code").as_ref() == Some(&status);
        let root = roots.iter().find(coded).unwrap_or_else(|| panic!("{what}: {spans:#?}"));
        assert!(root.name.starts_with(name), "{what}: {}", root.name);
        assert_eq!(hex(&root.trace_id), TRACE, "{what}");
        assert!(attribute(&root.attributes, "process.pid").is_some(), "{what}");
        let failed = root.status.as_ref().is_some_and(|status| status.code == 2);
        assert_eq!(failed, status != "0", "{what}");
        assert_eq!(attribute(&root.attributes, "error.type").is_some(), failed, "{what}");
    }
}

#[test]
fn the_demo_is_one_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let Some(rotel) = Rotel::start() else { return };
    let world = World::new();
    let output = world
        .command(top().join("examples/demo"))
        .env("AGOR_BIN", bin_dir())
        .env("AGOR_DEMO_DIR", world.path("work"))
        .env("AGOR_OTLP_ENDPOINT", &rotel.endpoint)
        .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
        .env("TRACEPARENT", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .output()
        .expect("bash is there");
    assert_eq!(output.status.code(), Some(0), "{}\n{}", stdout(&output), stderr(&output));
    rotel.wait_for(&[
        "supervise.run",
        "supervise.incarnation",
        "sandbox.exec",
        "btmsg.send",
        "btmsg.receive",
        "checkpoint.pass",
        "relay.connection",
        "relay.session",
    ]);
    // Every parent that is one of ours arrives too.
    rotel.until_none("parents", || {
        let spans = rotel.spans();
        let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
        let orphans = spans.iter().filter(|span| {
            hex(&span.parent_span_id) != "00f067aa0ba902b7" && !ids.contains(&span.parent_span_id)
        });
        orphans.map(|span| format!("{} of {}", hex(&span.parent_span_id), span.name)).collect()
    });
    for span in rotel.spans() {
        assert_eq!(hex(&span.trace_id), TRACE, "{} stands apart", span.name);
    }
    rotel.until_none("metrics", || {
        let names: BTreeSet<String> = rotel.behind.metrics().into_iter().map(|metric| metric.name).collect();
        let parts = ["restarts", "heartbeat", "dead", "wal"].into_iter();
        parts.filter(|part| !names.iter().any(|name| name.contains(part))).map(str::to_owned).collect()
    });
}

/// The words of the dashboard's queries that stand after this: `span.` for attributes.
fn asked_for(after: &str) -> BTreeSet<String> {
    let path = top().join("docker/tempo/grafana/dashboards/agor.json");
    let board: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the dashboard")).expect("JSON");
    let targets = board["panels"].as_array().expect("panels").iter();
    let queries = targets.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let mut found = BTreeSet::new();
    for query in queries.filter_map(|target| target["query"].as_str()) {
        for (at, _) in query.match_indices(after) {
            let rest = &query[at + after.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
            found.insert(rest[..end.unwrap_or(rest.len())].to_owned());
        }
    }
    found
}

#[test]
fn the_dashboard_asks_for_what_a_run_really_exports() {
    let collector = Collector::start(Behaviour::Take);
    let world = World::new();
    let exporting = |command: &mut Command| {
        let output = command
            .env("AGOR_OTLP_ENDPOINT", &collector.endpoint)
            .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
            .output()
            .expect("it runs");
        format!("{:?}\n{}\n{}", output.status, stdout(&output), stderr(&output))
    };
    exporting(
        world
            .command(top().join("examples/demo"))
            .env("AGOR_BIN", bin_dir())
            .env("AGOR_DEMO_DIR", world.path("work")),
    );
    // What the demo has no cause for: an agent that is given up.
    exporting(world.tool("agor-supervise").args([
        "--name",
        "broken",
        "--max-attempts",
        "1",
        "--backoff-base",
        "1ms",
        "--",
        "false",
    ]));
    let spans = collector.spans();
    let names: BTreeSet<_> = spans.iter().map(|(_, span)| span.name.clone()).collect();
    let keys = |list: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
        list.iter().map(|pair| pair.key.clone()).collect::<Vec<_>>()
    };
    let attributes: BTreeSet<_> = spans.iter().flat_map(|(_, span)| keys(&span.attributes)).collect();
    let resources: BTreeSet<_> = spans.iter().flat_map(|(resource, _)| keys(resource)).collect();
    let wanted =
        [("span:name = \"", names), ("span.", attributes), ("resource.", resources)].map(|(after, got)| {
            let asked = asked_for(after);
            assert!(!asked.is_empty(), "{after}");
            asked.difference(&got).cloned().collect::<Vec<_>>()
        });
    assert_eq!(wanted, [vec![], vec![], Vec::<String>::new()]);
    // The first panel: who has given up.
    let given_up = |span: &Span| attribute(&span.attributes, "error.type").as_deref() == Some("failed");
    assert!(
        spans.iter().any(|(_, span)| span.name == "supervise.run" && given_up(span)),
        "{:#?}",
        spans.iter().filter(|(_, span)| span.name == "supervise.run").collect::<Vec<_>>()
    );
}

/// What each tool can be asked for without starting anything of its own.
const QUIET: [(&str, &[&str]); 5] = [
    ("btmsg", &["agents"]),
    ("agor-supervise", &["status"]),
    ("agor-checkpoint", &["status"]),
    ("agor-sandbox", &["--", "true"]),
    ("agor-relay", &["token", "new"]),
];

#[test]
fn off_means_no_thread_and_no_socket_in_any_tool() {
    let world = World::new();
    world.run("btmsg", &["register", "boss", "Boss", "manager", "test"]);
    let trace = world.path("trace");
    for (tool, args) in QUIET {
        let output = world
            .command("strace")
            .args(["-f", "-qq", "-e", "trace=socket,connect,clone,clone3", "-o"])
            .arg(&trace)
            .arg(bin_dir().join(tool))
            .args(args)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            .output();
        match output {
            Ok(output) if stderr(&output).contains("PTRACE") => return skip("strace may not trace here"),
            Ok(output) => assert!(output.status.code().is_some_and(|code| code < 2), "{tool}: {output:?}"),
            Err(_) => return skip("strace is not installed"),
        }
        let calls = std::fs::read_to_string(&trace).expect("strace wrote its file");
        // A process of its own is a tool's business; a thread or a socket would be telemetry's.
        let ours = ["socket(", "connect(", "CLONE_THREAD"];
        let calls: Vec<_> =
            calls.lines().filter(|line| ours.iter().any(|call| line.contains(call))).collect();
        assert_eq!(calls, Vec::<&str>::new(), "{tool}");
    }
}

#[test]
fn a_dead_collector_changes_one_line_on_stderr_and_nothing_else() {
    let world = World::new();
    world.run("btmsg", &["register", "boss", "Boss", "manager", "test"]);
    // A port that nobody listens on, and that nobody else can get meanwhile.
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = SocketAddr::try_from(getsockname(&held).expect("an address")).expect("of IP");
    let nobody = format!("http://{address}");
    for (tool, args) in QUIET {
        if args.contains(&"new") {
            continue; // a new token is never the same
        }
        let off = world.run(tool, args);
        let on = world.tool(tool).args(args).env("AGOR_OTLP_ENDPOINT", &nobody).output().expect("it runs");
        assert_eq!(on.status.code(), off.status.code(), "{tool}");
        assert_eq!(stdout(&on), stdout(&off), "{tool}");
        let text = stderr(&on);
        let (warnings, rest): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.contains("warning: telemetry: "));
        assert!(warnings.len() <= 1, "{tool}: {text}");
        assert_eq!(rest, stderr(&off).lines().collect::<Vec<_>>(), "{tool}");
    }
}

#[test]
fn the_context_travels_in_band_as_meta() {
    use std::io::Write as _;
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let world = World::new();
    for (agent, role) in [("boss", "manager"), ("coder", "project")] {
        world.run("btmsg", &["register", agent, agent, role, "test"]);
    }
    let mut send = world
        .tool("btmsg")
        .args(["--as", "coder", "send", "--ndjson"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let line = format!("{{\"to\":\"boss\",\"text\":\"x\",\"_meta\":{{\"traceparent\":\"{PARENT}\"}}}}\n");
    send.stdin.take().expect("a pipe").write_all(line.as_bytes()).expect("it reads");
    assert!(send.wait().expect("it ends").success());
    let output = world.run("btmsg", &["--as", "boss", "recv", "--json"]);
    let message: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("one object");
    assert_eq!(message["_meta"]["traceparent"], PARENT);
}

#[test]
fn events_from_elsewhere_become_log_records_and_span_events() {
    let collector = Collector::start(Behaviour::Take);
    let world = World::new();
    let output = world
        .tool("btmsg")
        .args(["log", "warn", "ui.crash", "page=inbox", "api_key=hunter2", "--source", "frontend"])
        .env("AGOR_OTLP_ENDPOINT", &collector.endpoint)
        .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));
    let log = &collector.logs()[0];
    assert_eq!(log.event_name, "ui.crash");
    assert_eq!(attribute(&log.attributes, "source").as_deref(), Some("frontend"));
    let span = collector.span("btmsg.log");
    assert_eq!(hex(&log.span_id), hex(&span.span_id));
    assert_eq!(span.events[0].name, "ui.crash");
    assert_eq!(attribute(&span.attributes, "process.exit.code").as_deref(), Some("0"));
    assert!(!String::from_utf8_lossy(&collector.bytes()).contains("hunter2"));
}

#[test]
fn a_controller_takes_the_relay_and_its_session_into_its_trace() {
    use std::io::Write as _;
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let collector = Collector::start(Behaviour::Take);
    let world = World::new();
    let file = |name: &str| world.path(name).display().to_string();
    let token = world.run("agor-relay", &["token", "new"]);
    std::fs::write(file("token"), &token.stdout).expect("a file");
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file("token"), owner_only).expect("a mode");
    let made =
        world.run("agor-relay", &["cert", "new", "--cert", &file("cert.pem"), "--key", &file("key.pem")]);
    assert!(made.status.success(), "{}", stderr(&made));
    let mut relay = world
        .tool("agor-relay")
        .args(["--port", "0", "--port-file", &file("port"), "--token-file", &file("token")])
        .args(["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem"), "--", "cat"])
        .env("AGOR_OTLP_ENDPOINT", &collector.endpoint)
        .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    collector.wait("the port file", |_| std::fs::read(file("port")).is_ok_and(|port| !port.is_empty()));
    let port = std::fs::read_to_string(file("port")).expect("a port");
    let pin = stdout(&world.run("agor-relay", &["pin", &file("cert.pem")]));
    let mut connect = world
        .tool("agor-relay")
        .args(["connect", &format!("wss://127.0.0.1:{}", port.trim()), "--token-file", &file("token")])
        .args(["--pin", pin.trim()])
        .env("AGOR_OTLP_ENDPOINT", &collector.endpoint)
        .env("AGOR_OTLP_FLUSH_MS", FLUSH_MS)
        .env("TRACEPARENT", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    connect.stdin.take().expect("a pipe").write_all(b"from afar\n").expect("it reads");
    let output = connect.wait_with_output().expect("it ends");
    assert_eq!(stdout(&output), "from afar\n");
    let pid = rustix::process::Pid::from_raw(i32::try_from(relay.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
    relay.wait().expect("it ends");

    let spans: Vec<Span> = collector.spans().into_iter().map(|(_, span)| span).collect();
    let ours = |span: &Span| hex(&span.trace_id) == TRACE;
    let client = find(&spans, "relay", ours);
    let connection = find(&spans, "relay.connection", ours);
    assert_eq!(hex(&connection.parent_span_id), hex(&client.span_id));
    let session = find(&spans, "relay.session", |_| true);
    assert!(session.end_time_unix_nano >= session.start_time_unix_nano);
    let bytes = collector.bytes();
    let bytes = String::from_utf8_lossy(&bytes);
    assert!(!bytes.contains("from afar") && !bytes.contains(stdout(&token).trim()));
}
