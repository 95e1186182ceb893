//! A data directory of its own, and supervisors that do not outlive their test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// An upper bound that only a hang reaches.
pub(crate) const HANG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        World { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `agor-supervise` with these arguments, in this world.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agor-supervise"));
        command.args(args).current_dir(self.dir.path());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("AGOR_") || text.starts_with("XDG_") || text.starts_with("BTMSG_") {
                command.env_remove(&name);
            }
        }
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "TRACEPARENT"] {
            command.env_remove(name);
        }
        command.env("AGOR_DATA_DIR", self.path("data"));
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Starts it with all three streams piped.
    pub(crate) fn start(&self, args: &[&str]) -> Supervisor {
        self.spawn(&mut self.command(args))
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Supervisor {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Supervisor {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take(),
            child,
        }
    }

    /// `agor-supervise` with these words, where no process can be had (RLIMIT_NPROC, which does not bind root).
    pub(crate) fn without_processes(&self, args: &str) -> Option<Command> {
        let script = format!("ulimit -u 1; exec {} {args}", env!("CARGO_BIN_EXE_agor-supervise"));
        let mut command = if rustix::process::geteuid().is_root() {
            use std::os::unix::fs::PermissionsExt as _;
            if Command::new("setpriv").arg("--help").output().is_err() {
                skip("RLIMIT_NPROC does not bind root, and there is no setpriv");
                return None;
            }
            std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "64123", "--regid", "64123", "--clear-groups", "bash"]);
            command
        } else {
            Command::new("bash")
        };
        command.args(["-c", &script]).env("AGOR_DATA_DIR", self.path("data")).env("HOME", self.dir.path());
        Some(command)
    }

    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{args:?}: {error}: {} {}", text(&output.stdout), text(&output.stderr))
        })
    }

    pub(crate) fn status(&self, name: &str) -> serde_json::Value {
        self.json(&["status", name, "--json"])
    }

    /// The command's process, once this incarnation is known to be up: it may have spoken before that.
    pub(crate) fn pid(&self, name: &str, incarnation: u64) -> i32 {
        let mut pid = None;
        until("its pid is known", || {
            let status = self.status(name);
            pid = status["pid"].as_i64().filter(|_| status["incarnation"] == incarnation);
            pid.is_some()
        });
        pid.unwrap().try_into().unwrap()
    }

    /// Its status once this incarnation is healthy. It may have spoken before that is known, and the one before it
    /// is healthy until then.
    pub(crate) fn healthy(&self, name: &str, incarnation: u64) -> serde_json::Value {
        let mut status = serde_json::Value::Null;
        until("it is healthy", || {
            status = self.status(name);
            status["health"] == "healthy" && status["incarnation"] == incarnation
        });
        status
    }

    /// Waits with `status --wait`.
    pub(crate) fn wait_for(&self, name: &str, health: &str) {
        let output = self.run(&["status", name, "--wait", health, "--timeout", "60s"]);
        assert!(output.status.success(), "{name} is not {health}: {}", text(&output.stderr));
    }

    /// Waits for the pause after the first failure; the first start is called `restarting` too.
    pub(crate) fn wait_for_backoff(&self, name: &str) {
        until("the first failure", || {
            let status = self.status(name);
            status["health"] == "restarting" && status["attempt"] == 1
        });
    }

    /// The incarnations, oldest first.
    pub(crate) fn history(&self, name: &str) -> Vec<serde_json::Value> {
        let output = self.run(&["history", name, "--json", "-n", "1000"]);
        let mut rows: Vec<serde_json::Value> =
            text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        rows.reverse();
        rows
    }
}

/// A running supervisor.
pub(crate) struct Supervisor {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
    pub(crate) stderr: Option<ChildStderr>,
}

impl Supervisor {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The next line of its stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < HANG, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// All that is left of both outputs, and the status.
    pub(crate) fn finish(mut self) -> (ExitStatus, String, String) {
        drop(self.stdin.take());
        let mut err = self.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            err.read_to_end(&mut text).unwrap();
            text
        });
        let mut out = Vec::new();
        self.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        let status = self.wait();
        (status, text(&out), text(&reader.join().unwrap()))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            // The keeper ends what it started.
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// A number for sleep(1) that no other run of these tests has in a command line.
pub(crate) fn mark(number: u32) -> String {
    format!("{number}{:07}.", std::process::id())
}

pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Whether a process runs (a zombie does not).
pub(crate) fn is_running(pid: i32) -> bool {
    agor_common::process::start_time(pid).is_some()
}

/// Processes, not zombies, whose environment has `AGOR_DATA_DIR` of this world and which are not ourselves.
pub(crate) fn marked(marker: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        if text(&line).contains(marker) && is_running(pid) {
            found.push(pid);
        }
    }
    found
}

/// For what this host cannot do: skipped with a line, or a failure when everything is required.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none(), "required, and skipped: {why}");
    println!("skipped: {why}");
}
