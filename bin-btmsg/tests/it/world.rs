//! A data directory, and commands that see nothing of the user's.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

/// Makes the programs wait for a lock for longer than the 5 s that they promise: how long one of many waits is up to
/// the disk and to who gets a processor.
pub(crate) const LOCK_WAIT: &str = "AGOR_TEST_LOCK_WAIT_MS";

pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        World { dir: tempfile::Builder::new().prefix("btmsg-test.").tempdir().unwrap() }
    }

    /// With two peers, `alice` and `bob`, that may write to each other.
    pub(crate) fn with_peers() -> World {
        let world = World::new();
        world.ok(&["register", "alice"]);
        world.ok(&["register", "bob"]);
        world
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.path("data/btmsg.db")
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("AGOR_DATA_DIR", self.data())
            .env(LOCK_WAIT, "60000")
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn btmsg(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_btmsg"));
        command.args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.btmsg(args).output().unwrap()
    }

    /// Runs and expects exit 0; stdout without its last newline.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}{}", stdout(&output), stderr(&output));
        stdout(&output).trim_end().to_owned()
    }

    /// Runs and expects that status; stderr.
    pub(crate) fn fails(&self, status: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}{}", stdout(&output), stderr(&output));
        stderr(&output)
    }

    /// Runs with `--json` and expects exit 0; the one object.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        let text = self.ok(&all);
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
        assert_eq!(value["schema"], 1, "{text}");
        assert!(text.starts_with("{\"schema\":1"), "{text}");
        value
    }

    pub(crate) fn with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .btmsg(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A program that refuses need not read all of it.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Another program's connection to the file.
    pub(crate) fn sqlite(&self) -> agor_common::db::rusqlite::Connection {
        let conn = agor_common::db::rusqlite::Connection::open(self.db()).unwrap();
        conn.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        conn
    }

    pub(crate) fn sql(&self, sql: &str) {
        self.sqlite().execute_batch(sql).unwrap();
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.sqlite().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn text(&self, sql: &str) -> String {
        self.sqlite().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The first column of every row, as text.
    pub(crate) fn texts(&self, sql: &str) -> Vec<String> {
        let conn = self.sqlite();
        let mut rows = conn.prepare(sql).unwrap();
        rows.query_map([], |row| Ok(agor_common::mail::text(row.get_ref(0)?).0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// The texts in an inbox, in order.
    pub(crate) fn inbox(&self, agent: &str) -> Vec<String> {
        texts(&self.json(&["--as", agent, "inbox", "--limit", "100000"]), "messages")
    }

    pub(crate) fn assert_sound(&self) {
        assert_eq!(self.text("PRAGMA integrity_check"), "ok");
        self.ok(&["audit", "verify"]);
    }
}

pub(crate) fn texts(value: &Value, key: &str) -> Vec<String> {
    value[key].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Says that a test is skipped; with `AGOR_TEST_REQUIRE_ALL=1` that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none_or(|value| value != "1"), "skipped: {why}");
    eprintln!("SKIPPED: {why}");
}

/// Waits until `done`, at most a minute.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed().as_secs() < 60, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Stops a process, and returns when it does nothing any more; `false` where it had ended already.
pub(crate) fn freeze(child: &Child) -> bool {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP).unwrap();
    // Looked at only: an end is left to whoever waits for the child.
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).unwrap().unwrap().stopped()
}

/// Lets a process that was stopped go on.
pub(crate) fn thaw(child: &Child) {
    kill_process(Pid::from_child(child), Signal::CONT).unwrap();
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
