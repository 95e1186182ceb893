//! However a run ends, what it had is sent.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use crate::collector::{Behaviour, Collector, attribute};
use crate::probe::{impatient, probe, signal, text, waiting};

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
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
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
