//! The loop: when it does a pass, and how it ends.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use agor_common::db::locks;
use common::{Other, Place, fill, intact, open, rows, wal_bytes};
use rustix::process::{Pid, Signal, kill_process};

/// Not a test of its own: what the other processes do.
#[test]
fn role() {
    common::play();
}

/// What a loop's last pass has.
const GRACE: Duration = Duration::from_millis(700);

/// What became of a loop's last pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Done,
    OutOfTime,
}

struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(place: &Place, args: &[&str]) -> Running {
        Running::spawn(place.tool().arg("--json").args(args))
    }

    fn spawn(command: &mut std::process::Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        Running { stdout: BufReader::new(child.stdout.take().unwrap()), child }
    }

    /// The next object that it prints.
    fn next(&mut self) -> serde_json::Value {
        let mut line = String::new();
        assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the loop ended");
        serde_json::from_str(&line).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has taken over a signal, with which it would just be gone before; or is gone by itself.
    fn listens(&self, signal: Signal) {
        let path = format!("/proc/{}/status", self.child.id());
        common::until("it listens to signals", || {
            let status = std::fs::read_to_string(&path).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
            let is_caught = u64::from_str_radix(caught, 16).unwrap() & (1 << (signal.as_raw() - 1)) != 0;
            is_caught || status.contains("State:\tZ")
        });
    }

    /// Sends a signal that ends the loop, waits for the end, and returns what it still said. Its last pass has 0.7 s, and
    /// where those are over before it is done, that is what it says.
    fn stop(self, signal: Signal) -> (Last, Vec<serde_json::Value>) {
        let began = Instant::now();
        self.signal(signal);
        let (code, rest) = self.end();
        let last = rest.last().map(|line| line["outcome"].as_str().unwrap().to_owned());
        match code {
            Some(0) => (Last::Done, rest),
            code => {
                assert_eq!((code, last.as_deref()), (Some(75), Some("interrupted")), "{rest:?}");
                assert!(began.elapsed() >= GRACE, "{rest:?}");
                (Last::OutOfTime, rest)
            }
        }
    }

    /// Waits for its end and returns the status and what it still said.
    fn end(mut self) -> (Option<i32>, Vec<serde_json::Value>) {
        let rest =
            self.stdout.by_ref().lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_pass_is_at_once_and_the_last_on_term() {
    let place = Place::new();
    let path = place.wal("a.db", 10);
    let conn = open(&path);
    common::no_checkpoint_on_close(&conn);
    let mut count = 10;
    common::until("a last pass has the time that it needs", || {
        let mut running = Running::start(&place, &["--interval", "1h", "a.db"]);
        let first = running.next();
        assert_eq!(
            (first["trigger"].as_str(), first["outcome"].as_str()),
            (Some("start"), Some("truncated"))
        );
        fill(&conn, 10);
        count += 10;
        let (last, rest) = running.stop(Signal::TERM);
        assert_eq!((rest.len(), rest[0]["trigger"].as_str()), (1, Some("stop")), "{rest:?}");
        assert_eq!(rows(&path), count);
        if last == Last::Done {
            assert_eq!((rest[0]["outcome"].as_str(), wal_bytes(&path)), (Some("truncated"), 0));
        }
        last == Last::Done
    });
}

#[test]
fn passes_follow_the_interval() {
    let place = Place::new();
    place.wal("a.db", 1);
    let mut running = Running::start(&place, &["--interval", "150ms", "a.db"]);
    let triggers: Vec<String> =
        (0..4).map(|_| running.next()["trigger"].as_str().unwrap().to_owned()).collect();
    assert_eq!(triggers, ["start", "interval", "interval", "interval"]);
    running.stop(Signal::INT);
}

#[test]
fn a_log_that_grows_too_large_starts_a_pass() {
    let place = Place::new();
    // The database comes to be only after the loop has started.
    let path = place.path("a.db");
    let mut running = Running::start(&place, &["--interval", "1h", "--wal-max", "256KiB", "a.db"]);
    assert_eq!(running.next()["outcome"], "missing");
    let conn = open(&path);
    conn.execute_batch("CREATE TABLE t (x)").unwrap();
    fill(&conn, 100);
    let line = running.next();
    assert_eq!(
        (line["trigger"].as_str(), line["outcome"].as_str()),
        (Some("wal_max"), Some("truncated")),
        "{line}"
    );
    assert!(line["wal_bytes_before"].as_u64().unwrap() > 256 << 10, "{line}");
    // And again, on the emptied log.
    fill(&conn, 100);
    assert_eq!(running.next()["trigger"], "wal_max");
    let (last, _) = running.stop(Signal::TERM);
    assert!(last == Last::OutOfTime || wal_bytes(&path) == 0);
}

#[test]
fn term_ends_a_pass_that_is_held_up() {
    let place = Place::new();
    let path = place.wal("a.db", 10);
    let conn = open(&path);
    let reader = Other::start("reader", &path);
    fill(&conn, 10);
    let mut running = Running::start(&place, &["--interval", "1h", "--deadline", "1h", "a.db"]);
    // In the middle of its tries: what the reader allows is moved.
    common::until("what can be moved is moved", || {
        assert_eq!(running.child.try_wait().unwrap(), None);
        agor_common::db::files::Index::read(&path).is_some_and(|index| index.moved > 0)
    });
    let start = Instant::now();
    running.signal(Signal::TERM);
    let (code, said) = running.end();
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(code, Some(75));
    let last = said.last().unwrap();
    assert_eq!(last["in_the_way"][0]["pid"].as_i64(), Some(reader.pid()), "{said:?}");
    drop(reader);
    intact(&path);
    assert_eq!(rows(&path), 20);
}

#[test]
fn a_pass_that_is_ended_while_it_waits_says_so() {
    let place = Place::new();
    let path = place.wal("a.db", 10);
    let conn = open(&path);
    let _reader = Other::start("reader", &path);
    fill(&conn, 10);
    for (n, signal) in [Signal::TERM, Signal::INT, Signal::HUP].into_iter().cycle().take(15).enumerate() {
        let running = Running::start(&place, &["--deadline", "1h", "a.db"]);
        running.listens(signal);
        // It tries to empty the log, which needs the right to write, and waits for the reader then. The only try is
        // missed where this thread does not get its turn meanwhile.
        let began = Instant::now();
        let pid = i32::try_from(running.child.id()).unwrap();
        let tries = || {
            let tries = |one: &locks::Holder| (one.slot, one.pid) == (locks::Slot::Write, Some(pid));
            locks::holders(&path).iter().any(tries)
        };
        while !tries() && began.elapsed() < Duration::from_secs(1) {}
        common::until("the right to write is given back", || !tries());
        // At any moment of a round of its waiting.
        std::thread::sleep(Duration::from_millis(3 * n as u64));
        running.signal(signal);
        let (code, said) = running.end();
        assert_eq!((code, said[0]["outcome"].as_str()), (Some(128 + signal.as_raw()), Some("interrupted")));
    }
}

#[test]
fn a_reader_that_never_reads_keeps_nobody_from_ending_it() {
    use rustix::fs::{OFlags, fcntl_setfl};
    use std::os::unix::process::ExitStatusExt as _;
    let place = Place::new();
    let path = place.wal("a.db", 1);
    for options in [&["--json", "a.db"][..], &["--interval", "1h", "a.db"]] {
        let (_reader, mut full) = std::io::pipe().unwrap();
        fcntl_setfl(&full, OFlags::NONBLOCK).unwrap();
        while full.write(&[b' '; 512]).is_ok() {}
        fcntl_setfl(&full, OFlags::empty()).unwrap();
        let conn = open(&path);
        common::no_checkpoint_on_close(&conn);
        fill(&conn, 1);
        drop(conn);
        assert!(wal_bytes(&path) > 0);
        let mut child = place.tool().args(options).stdout(full).spawn().unwrap();
        // Only the line is left to do.
        common::until("the log is empty", || wal_bytes(&path) == 0);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let began = Instant::now();
        let ended = loop {
            match child.try_wait().unwrap() {
                None if began.elapsed() < Duration::from_secs(20) => std::thread::yield_now(),
                ended => break ended,
            }
        };
        let _ = child.kill();
        let _ = child.wait();
        let ended = ended.expect("it waits for its reader");
        assert!(ended.signal() == Some(15) || ended.code() == Some(143), "{options:?}: {ended}");
    }
}

#[test]
fn term_during_a_copy_leaves_the_database_whole() {
    let place = Place::new();
    let path = place.wal("a.db", 0);
    let conn = open(&path);
    let much = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000) \
                INSERT INTO t SELECT randomblob(4000) FROM n";
    conn.execute_batch(much).unwrap();
    let mut count = 8000;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        if wal_bytes(&path) == 0 {
            // The one before had time for all of it.
            conn.execute_batch(much).unwrap();
            count += 8000;
        }
        let running = Running::start(&place, &["a.db"]);
        running.listens(signal);
        common::until("it copies", || !locks::holders(&path).is_empty() || wal_bytes(&path) == 0);
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&running.child), signal);
        let (code, said) = running.end();
        let outcome = said[0]["outcome"].as_str().unwrap().to_owned();
        match code {
            Some(0) => assert!(outcome == "truncated" || outcome == "nothing_to_do", "{said:?}"),
            Some(code) => {
                assert_eq!((code, outcome.as_str()), (128 + signal.as_raw(), "interrupted"), "{said:?}");
            }
            None => panic!("killed"),
        }
    }
    assert_eq!(rows(&path), count);
    intact(&path);
}

#[test]
fn the_service_manager_is_told() {
    let place = Place::new();
    place.wal("a.db", 3);
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut running = Running::spawn(
        place.tool().args(["--json", "--interval", "1h", "a.db"]).env("NOTIFY_SOCKET", place.path("notify")),
    );
    let hear = || {
        let mut buffer = [0; 1024];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    assert_eq!(hear(), "READY=1\n");
    running.next();
    let status = hear();
    assert!(status.contains("STATUS=a.db: truncated") && status.contains("WATCHDOG=1"), "{status}");
    running.stop(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1\n");
}

#[test]
fn a_closed_reader_is_a_quiet_end() {
    let place = Place::new();
    place.wal("a.db", 1);
    let mut child =
        place.tool().args(["--interval", "100ms", "a.db"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
