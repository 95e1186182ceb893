//! A tool in miniature, so that telemetry can be tested as a black box: `telemetry-probe [STEP…]`.
//!
//! Prints `done` on stdout; each step does one thing within the root span `probe.run`.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use agor_common::telemetry::{self, Kind};
use agor_common::{Exit, output};

fn main() -> ExitCode {
    let steps: Vec<String> = std::env::args().skip(1).collect();
    let has = |step: &str| steps.iter().any(|other| other == step);
    let kind = match () {
        () if has("service") => Kind::LongRunning,
        () if has("exec") => Kind::Exec,
        () => Kind::OneShot,
    };
    let guard = telemetry::init("probe", kind);
    let span = tracing::info_span!(target: "agor_probe", "probe.run", probe.note = "hello", probe.size = 7_u64, probe.digits = "7");
    telemetry::parent_from_env(&span);
    if has("exec") {
        let env = telemetry::child_env(&span);
        drop(span);
        guard.shutdown();
        let error = Command::new("/usr/bin/env").envs(env).exec();
        output::error("probe", &error.to_string(), None);
        return Exit::WRAPPER.into();
    }
    let entered = span.enter();
    let mut exit = Exit::OK;
    for step in &steps {
        match step.as_str() {
            "child" => drop(tracing::info_span!(target: "agor_probe", "probe.child").entered()),
            "warn" => tracing::warn!(target: "agor_probe", answer = 42, "look\u{1b}[2J here"),
            "info" => tracing::info!(target: "agor_probe", "for your information"),
            "aside" => {
                let aside = tracing::info_span!(target: "agor_probe", parent: None, "probe.aside");
                // Starts it: an event before that would be lost in the SDK.
                let _ = telemetry::traceparent_of(&aside);
                tracing::info!(target: "agor_probe", parent: &aside, "about another span");
            }
            "silent" => tracing::info!(target: telemetry::EXPORT_ONLY, "said elsewhere"),
            "noise" => tracing::info!(target: "hyper", "noise"),
            "count" => telemetry::count("agor.probe.count", 2, &[("kind", "x")]),
            "gauge" => telemetry::gauge("agor.probe.gauge", "By", 1.5, &[]),
            "foreign" => {
                let pairs = [("page".to_owned(), "inbox".to_owned())];
                telemetry::foreign_event("frontend", tracing::Level::WARN, "ui.crash", &pairs, None);
            }
            "env" => {
                for (name, value) in telemetry::child_env(&span) {
                    let _ = writeln!(std::io::stdout(), "{name}={value}");
                }
            }
            "secrets" => secrets(&span),
            "huge" => {
                telemetry::set_attribute(&span, "probe.huge", "x".repeat(10_000_000));
                telemetry::set_attribute(&span, "probe.lines", "a\nb\0c\u{1b}");
                telemetry::set_attribute(
                    &span,
                    "probe.path",
                    String::from_utf8_lossy(b"/tmp/\xff").into_owned(),
                );
                for n in 0..10_000 {
                    let key: &'static str = format!("probe.k{n}").leak();
                    telemetry::set_attribute(&span, key, n);
                }
            }
            "many" => (0..20_000).for_each(|_| {
                drop(tracing::info_span!(target: "agor_probe", "probe.one").entered());
            }),
            "panic" => panic!("hunter2"),
            "fail" => exit = Exit::DATA,
            "spawn" => {
                let _ = Command::new("true").status();
            }
            "wait" => {
                let _ = writeln!(std::io::stdout(), "waiting");
                let _ = std::io::stdin().read(&mut [0]);
            }
            _ => {}
        }
    }
    drop(entered);
    drop(span);
    let _ = writeln!(std::io::stdout(), "done");
    guard.finish(exit);
    exit.into()
}

/// Everything that must not leave, put in on purpose.
fn secrets(span: &tracing::Span) {
    let home = std::env::var("HOME").unwrap_or_default();
    let key = std::env::var("PROBE_API_KEY").unwrap_or_default();
    telemetry::set_attribute(span, "relay.token", "hunter2-in-a-key");
    telemetry::set_attribute(span, "process.command_line", "x --token hunter2-in-a-flag".to_owned());
    telemetry::set_attribute(span, "http.header", "Authorization: Bearer hunter2-in-a-header");
    telemetry::set_attribute(span, "probe.env", "EDITOR=hunter2-in-a-variable");
    telemetry::set_attribute(span, "probe.home", format!("{home}/notes"));
    telemetry::set_attribute(span, "probe.key", key.clone());
    telemetry::set_error(span, "probe", &format!("cannot read {home}/x with {key}"));
    tracing::error!(target: "agor_probe", token = "hunter2-in-a-field", "password=hunter2-in-a-body {key}");
    telemetry::count("agor.probe.secrets", 1, &[("home", &home), ("key", &key)]);
}
