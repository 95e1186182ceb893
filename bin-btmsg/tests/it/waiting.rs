//! `recv --wait` and `watch`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{World, eventually, freeze, stderr, stdout, thaw};

#[test]
fn a_waiting_receiver_is_woken_by_the_send() {
    let world = World::with_peers();
    let receiver = world
        .btmsg(&["--json", "--as", "bob", "recv", "--wait", "60s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the receiver waits", || {
        std::fs::read_dir(world.path("data/run/wake")).is_ok_and(|mut dir| dir.next().is_some())
    });
    world.ok(&["--as", "alice", "send", "bob", "wake up"]);
    let output = receiver.wait_with_output().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&stdout(&output)).unwrap()["text"], "wake up");
    // Without mail the deadline ends it.
    let start = Instant::now();
    world.fails(124, &["--as", "bob", "recv", "--wait", "300ms"]);
    assert!(start.elapsed().as_secs() < 30);
    world.fails(1, &["--as", "bob", "recv"]);
}

#[test]
fn an_older_clients_message_is_found_without_a_wake_up() {
    let world = World::with_peers();
    let receiver = world
        .btmsg(&["--json", "--as", "bob", "recv", "--wait", "60s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the receiver waits", || world.path("data/run/wake").exists());
    world.sql("INSERT INTO messages (id, from_agent, to_agent, content, group_id) VALUES ('old', 'alice', 'bob', 'unannounced', '')");
    let output = receiver.wait_with_output().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&stdout(&output)).unwrap()["text"], "unannounced");
}

#[test]
fn what_comes_by_the_clock_is_not_left_to_the_net() {
    let world = World::with_peers();
    // Nothing here waits for a disk.
    std::fs::create_dir_all(world.path(".config/agor")).unwrap();
    std::fs::write(world.path(".config/agor/agor.toml"), "[btmsg]\ndurability = \"crash\"\n").unwrap();
    let start = Instant::now();
    for _ in 0..4 {
        world.ok(&["--as", "alice", "send", "bob", "leased"]);
        world.ok(&["--as", "bob", "recv", "--lease", "300ms"]);
        assert_eq!(world.json(&["--as", "bob", "recv", "--wait", "60s", "--ack"])["text"], "leased");
        world.ok(&["--as", "alice", "send", "--delay", "300ms", "bob", "delayed"]);
        assert_eq!(
            world.json(&["--as", "bob", "watch", "--max", "1", "--timeout", "60s", "--ack"])["text"],
            "delayed"
        );
    }
    // Nobody wakes who waits for them: without an eye on the clock each of the eight takes until the net's next turn,
    // which is 5 s after the last.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn a_watcher_of_a_full_inbox_is_not_deaf_to_what_comes() {
    let world = World::with_peers();
    world.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10050)
         INSERT INTO messages (id, from_agent, to_agent, content, group_id, seq)
         SELECT 'm' || i, 'alice', 'bob', 'old', '', i - 20000 FROM n",
    );
    let mut watcher = world
        .btmsg(&["--as", "bob", "watch", "--max", "10051", "--timeout", "300s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    for n in 0..10050 {
        assert!(lines.next().is_some_and(|line| line.unwrap().ends_with("old")), "{n}");
    }
    world.ok(&["--as", "alice", "send", "bob", "new"]);
    assert!(lines.next().unwrap().unwrap().ends_with("new"));
    assert!(watcher.wait().unwrap().success());
}

#[test]
fn a_watcher_shows_each_message_once_as_it_comes() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "before"]);
    let mut watcher = world
        .btmsg(&["--json", "--as", "bob", "watch", "--max", "3"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["text"].clone();
    assert_eq!(next(), "before");
    world.ok(&["--as", "alice", "send", "bob", "one"]);
    assert_eq!(next(), "one");
    world.ok(&["--as", "alice", "send", "alice", "not for bob"]);
    world.ok(&["--as", "alice", "send", "bob", "two"]);
    assert_eq!(next(), "two");
    assert!(watcher.wait().unwrap().success());
    // It takes nothing away; with --ack it does.
    assert_eq!(world.inbox("bob").len(), 3);
    assert_eq!(world.ok(&["--json", "--as", "bob", "watch", "--ack", "--timeout", "0.1"]).lines().count(), 3);
    assert!(world.inbox("bob").is_empty());
}

#[test]
fn who_waits_notices_that_the_database_was_replaced() {
    notices_a_replacement(&["--json", "--as", "bob", "watch", "--max", "1"]);
    notices_a_replacement(&["--json", "--as", "bob", "recv", "--wait", "60s"]);
}

fn notices_a_replacement(waiting: &[&str]) {
    let world = World::with_peers();
    let other = World::with_peers();
    other.ok(&["--as", "alice", "send", "bob", "from the new file"]);
    other.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let mut watcher = world.btmsg(waiting).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the watcher waits", || world.path("data/run/wake").exists());
    world.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    // It must not look while there is neither the old nor the new: a database without its log is another matter.
    assert!(freeze(&watcher));
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.path(&format!("data/btmsg.db{suffix}")));
    }
    std::fs::copy(other.db(), world.path("data/new")).unwrap();
    std::fs::rename(world.path("data/new"), world.db()).unwrap();
    thaw(&watcher);
    let line = BufReader::new(watcher.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(line.contains("from the new file"), "{line}");
    watcher.wait().unwrap();
}

#[test]
fn a_log_that_is_deleted_in_use_is_said_to_sender_and_watcher() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "first"]);
    let mut watcher =
        world.btmsg(&["--as", "bob", "watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("first"));
    // It has the database open, and does not find out and end before the sender comes.
    assert!(freeze(&watcher));
    std::fs::remove_file(world.path("data/btmsg.db-wal")).unwrap();
    let error = world.fails(74, &["--as", "alice", "send", "bob", "second"]);
    assert!(
        error.contains("btmsg.db-wal: the log was deleted") && error.contains("hint: end the programs"),
        "{error}"
    );
    thaw(&watcher);
    // Nobody is left deaf: the watcher ends too, and then the file can be opened.
    let output = watcher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    assert!(stderr(&output).contains("the log was deleted"), "{}", stderr(&output));
    world.ok(&["agents"]);
}

#[test]
fn a_reader_that_dawdles_keeps_no_snapshot() {
    let world = World::with_peers();
    world.sql(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 399)
         INSERT INTO messages (id, from_agent, to_agent, content, group_id, seq)
         SELECT 'm' || i, 'alice', 'bob', i || ' ' || hex(zeroblob(500)), '', i - 20000 FROM n",
    );
    let mut inbox = world
        .btmsg(&["--json", "--as", "bob", "inbox", "--limit", "1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its pipe is full by now, or will be; nothing is read from it.
    eventually("it writes", || {
        let pipe = inbox.stdout.as_ref().unwrap();
        rustix::io::ioctl_fionread(pipe).unwrap() > 0
    });
    let (busy, left): (i64, i64) = world
        .sqlite()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((busy, left), (0, 0));
    inbox.kill().unwrap();
    inbox.wait().unwrap();
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "hi"]);
    for words in ["--as bob inbox", "--as bob watch --timeout 2", "export", "audit", "--as bob read --peek"] {
        let script = format!("set -o pipefail; $0 {words} | true; echo ${{PIPESTATUS[0]}}");
        let output =
            world.command("bash").args(["-c", &script, env!("CARGO_BIN_EXE_btmsg")]).output().unwrap();
        assert_eq!(stdout(&output).trim(), "0", "{words}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{words}");
    }
}
