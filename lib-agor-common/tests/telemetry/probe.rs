//! The program under test and how it is run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

pub(crate) const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/telemetry-probe")
}

/// A command with an environment of its own. A request may take a minute, and nothing is sent before the end, however
/// long the run is held up: a test that wants it otherwise says so.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, endpoint: Option<&str>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", "/home/ada");
    command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "60000");
    command.env("OTEL_BSP_SCHEDULE_DELAY", "3600000").env("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    if let Some(endpoint) = endpoint {
        command.env("AGOR_OTLP_ENDPOINT", endpoint);
    }
    command
}

/// As a user has it, with the default patience: for collectors that do not answer.
pub(crate) fn impatient(endpoint: &str, steps: &[&str]) -> Command {
    let mut command = command(program(), Some(endpoint));
    command.args(steps);
    command
}

/// With all the time that a loaded machine may need.
pub(crate) fn probe(endpoint: Option<&str>, steps: &[&str]) -> Command {
    let mut command = command(program(), endpoint);
    command.args(steps).env("AGOR_OTLP_FLUSH_MS", "60000");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ran to a good end and printed what it always prints.
pub(crate) fn done(output: &Output) {
    assert_eq!(text(&output.stdout), "done\n", "{}", text(&output.stderr));
    assert!(output.status.success(), "{output:?}");
}

pub(crate) fn skip(why: &str) {
    let required = std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "required, but {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A probe that waits for a byte on stdin, and has come that far.
pub(crate) fn waiting(mut command: Command) -> Child {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "waiting\n");
    child
}

pub(crate) fn signal(child: &Child, signal: i32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::from_named_raw(signal).unwrap()).unwrap();
}
