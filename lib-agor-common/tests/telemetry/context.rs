//! Which trace a run belongs to, and what of it must not leave the machine.

use crate::collector::{Behaviour, Collector, attribute, hex};
use crate::probe::{PARENT, done, probe, text};

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
fn an_exec_hands_its_span_to_the_program() {
    let collector = Collector::start(Behaviour::Take);
    let output = probe(Some(&collector.endpoint), &["exec"]).env("TRACEPARENT", PARENT).output().unwrap();
    let span = collector.span("probe.run");
    let want = format!("TRACEPARENT=00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    assert!(text(&output.stdout).lines().any(|line| line == want), "{}", text(&output.stdout));
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
