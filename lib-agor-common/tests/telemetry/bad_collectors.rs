//! Collectors that refuse, hang, lie or are not there: one warning with the loss in it, and nothing else.

use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::collector::{Behaviour, Collector};
use crate::probe::{command, done, impatient, probe, program, skip, text, waiting};

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
    // Far above the 100 ms that it may take, far below the minute of a request that nobody bounds.
    assert!(start.elapsed() < Duration::from_secs(30), "hung on {why}");
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
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    // A port that nobody listens on, and that nobody else can get meanwhile.
    let held = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&held, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: std::net::SocketAddr = getsockname(&held).unwrap().try_into().unwrap();
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
    std::fs::write(dir.path().join("resolv.conf"), "nameserver 127.9.8.7\noptions timeout:30 attempts:5\n")
        .unwrap();
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
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(text(&output.stderr).contains("2 spans not delivered"), "{}", text(&output.stderr));
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
