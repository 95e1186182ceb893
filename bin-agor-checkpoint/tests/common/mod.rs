//! A database in a directory of its own, the tool, and other processes: this test program itself, started
//! again in a role.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use agor_common::db::rusqlite::Connection;

const ROLE: &str = "AGOR_TEST_ROLE";
const DB: &str = "AGOR_TEST_DB";
/// Longer than anything here should take: it only turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The tool, with no database but those of this place, and more time for a pass than any should take.
    pub(crate) fn tool(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agor-checkpoint"));
        command.env_clear().env("AGOR_DATA_DIR", self.dir.path()).current_dir(self.dir.path());
        command.env("AGOR_CHECKPOINT_DEADLINE", "60s");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.tool().args(args).output().unwrap()
    }

    /// A WAL database with `rows` rows of 1000 bytes in its WAL, left as after a crash: no connection,
    /// nothing checkpointed.
    pub(crate) fn wal(&self, name: &str, rows: usize) -> PathBuf {
        let path = self.path(name);
        let conn = open(&path);
        no_checkpoint_on_close(&conn);
        conn.execute_batch("CREATE TABLE IF NOT EXISTS t (x)").unwrap();
        fill(&conn, rows);
        path
    }
}

fn connect(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    conn
}

/// Opens (and makes) a WAL database that never checkpoints by itself, and waits for no disk.
pub(crate) fn open(path: &Path) -> Connection {
    let conn = connect(path);
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(())).unwrap();
    conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
    conn
}

pub(crate) fn no_checkpoint_on_close(conn: &Connection) {
    use agor_common::db::rusqlite::config::DbConfig;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
}

pub(crate) fn fill(conn: &Connection, rows: usize) {
    for _ in 0..rows {
        conn.execute("INSERT INTO t VALUES (randomblob(1000))", []).unwrap();
    }
}

pub(crate) fn rows(path: &Path) -> i64 {
    connect(path).query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

pub(crate) fn intact(path: &Path) {
    let conn = connect(path);
    let word: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(word, "ok");
}

pub(crate) fn wal_bytes(path: &Path) -> u64 {
    agor_common::db::files::wal_bytes(path)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

/// The JSON objects that a run printed, one for each line.
pub(crate) fn objects(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout)
        .lines()
        .map(|line| {
            assert!(line.starts_with("{\"schema\":1,"), "{line}");
            serde_json::from_str(line).unwrap()
        })
        .collect()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

/// A process in a role; it ends when it is dropped.
pub(crate) struct Other {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Other {
    pub(crate) fn start(role: &str, db: &Path) -> Other {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DB, db)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut other = Other { stdin: child.stdin.take(), stdout, child };
        assert_eq!(other.said(), "ready");
        other
    }

    pub(crate) fn pid(&self) -> i64 {
        self.child.id().into()
    }

    /// Waits for what it says next.
    pub(crate) fn said(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the other process ended early");
            if let Some((_, said)) = line.split_once('@') {
                return said.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn go_on(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").unwrap();
    out.flush().unwrap();
}

fn wait() {
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// What the test function `role` of each test program does in another process.
pub(crate) fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let conn = open(&PathBuf::from(std::env::var_os(DB).unwrap()));
    no_checkpoint_on_close(&conn);
    match role.as_str() {
        // A snapshot of what is there now.
        "reader" => {
            conn.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
            conn.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
            say("ready");
            wait();
        }
        "writer" => {
            conn.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
            say("ready");
            wait();
        }
        // The only one that may use it, as with `locking_mode = EXCLUSIVE` from the first read on.
        "alone" => {
            conn.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(())).unwrap();
            fill(&conn, 1);
            say("ready");
            wait();
        }
        // Commits rows until it is told to stop, and says how many and the longest wait in milliseconds.
        "busy" => {
            fill(&conn, 5);
            say("ready");
            let stop = std::thread::spawn(wait);
            let (mut count, mut worst) = (5, Duration::ZERO);
            while !stop.is_finished() {
                let start = Instant::now();
                fill(&conn, 1);
                worst = worst.max(start.elapsed());
                count += 1;
                // Without a pause one writer starves the other: SQLite's back-off sleeps while it commits again.
                std::thread::sleep(Duration::from_millis(2));
            }
            say(&format!("{count} {}", worst.as_millis()));
        }
        other => panic!("{other}"),
    }
}
