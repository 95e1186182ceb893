//! What arrives at a collector that takes everything.

use std::process::Stdio;

use crate::collector::{Behaviour, Collector, attribute, hex};
use crate::probe::{PARENT, done, probe, text, waiting};

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
fn closed_connections_are_opened_again_and_long_answers_left_unread() {
    for behaviour in [Behaviour::CloseEach, Behaviour::CloseLate, Behaviour::Huge] {
        let collector = Collector::start(behaviour);
        let output = probe(Some(&collector.endpoint), &["count", "info"]).output().unwrap();
        done(&output);
        assert_eq!(text(&output.stderr), "");
        assert_eq!((collector.spans().len(), collector.logs().len(), collector.metrics().len()), (1, 1, 1));
    }
}

#[test]
fn a_collector_for_traces_alone_is_no_trouble() {
    let collector = Collector::start(Behaviour::TracesOnly);
    let output = probe(Some(&collector.endpoint), &["count", "info"]).output().unwrap();
    done(&output);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(collector.requests().len(), 3);
}
