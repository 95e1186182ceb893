//! Heartbeats, stalls, supervisors' leases, `health`.

use std::process::Stdio;

use agor_common::mail::presence::Lease;
use serde_json::Value;

use crate::world::{World, eventually, stderr, stdout};

/// A heartbeat that was that many seconds ago, as an older client writes it.
fn last_heard(world: &World, agent: &str, seconds: i64) {
    world.sql(&format!(
        "INSERT INTO heartbeats (agent_id, timestamp) VALUES ('{agent}', strftime('%s', 'now') - {seconds})
         ON CONFLICT (agent_id) DO UPDATE SET timestamp = excluded.timestamp"
    ));
}

fn health(world: &World, agent: &str) -> Value {
    let all = world.json(&["health"]);
    all["agents"].as_array().unwrap().iter().find(|row| row["id"] == agent).unwrap().clone()
}

#[test]
fn a_stall_is_what_the_threshold_says() {
    let world = World::with_peers();
    last_heard(&world, "bob", 800);
    world.ok(&["--as", "alice", "send", "bob", "fresh"]);
    last_heard(&world, "bob", 901);
    let error = world.fails(69, &["--as", "alice", "send", "bob", "stale"]);
    assert!(error.contains("(stalled)"), "{error}");
    let row = health(&world, "bob");
    assert_eq!((row["state"].as_str(), row["score"].as_i64()), (Some("stalled"), Some(100)));
    assert_eq!(world.run(&["health", "--fail-at", "90"]).status.code(), Some(1));
    // A threshold of its own.
    world.ok(&["register", "bob", "--stall-after", "30m"]);
    last_heard(&world, "bob", 1700);
    world.ok(&["--as", "alice", "send", "bob", "patient"]);
    assert_eq!(world.run(&["health", "--fail-at", "90"]).status.code(), Some(0));
    world.fails(2, &["register", "bob", "--stall-after", "4m"]);
    world.fails(2, &["register", "bob", "--stall-after", "61m"]);
}

#[test]
fn one_that_never_sent_a_heartbeat_is_delivered_to() {
    let world = World::with_peers();
    world.sql("UPDATE agents SET last_active_at = '2020-01-01 00:00:00'");
    world.ok(&["--as", "alice", "send", "bob", "hi"]);
    assert_eq!(health(&world, "bob")["state"], "inactive");
}

#[test]
fn a_sign_of_life_by_looking_starts_the_clock_again() {
    let world = World::with_peers();
    last_heard(&world, "bob", 5000);
    world.fails(69, &["--as", "alice", "send", "bob", "hi"]);
    assert_eq!(world.inbox("bob"), ["hi"]);
    world.ok(&["--as", "alice", "send", "bob", "again"]);
}

#[test]
fn scores_and_states_come_from_what_the_agent_says() {
    let world = World::with_peers();
    for agent in ["carol", "dave", "eve", "frank"] {
        world.ok(&["register", agent]);
    }
    world.ok(&["--as", "alice", "heartbeat", "--status", "busy", "--note", "compiling"]);
    world.ok(&["--as", "bob", "heartbeat", "--context", "0.95"]);
    world.ok(&["--as", "carol", "heartbeat", "--conflict", "src/main.rs"]);
    world.ok(&["--as", "dave", "heartbeat", "--review", "9"]);
    world.ok(&["--as", "eve", "heartbeat", "--context", "0.8", "--status", "idle"]);
    last_heard(&world, "frank", 4000);
    let all = world.json(&["health"]);
    let rows: Vec<(&str, &str, i64)> = all["agents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["id"].as_str().unwrap(), row["state"].as_str().unwrap(), row["score"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("frank", "stalled", 100),
            ("bob", "running", 80),
            ("carol", "running", 70),
            ("dave", "running", 50),
            ("eve", "idle", 40),
            ("alice", "running", 0)
        ]
    );
    assert_eq!(world.json(&["health", "--top", "2"])["agents"].as_array().unwrap().len(), 2);
    assert_eq!(world.run(&["health", "--fail-at", "100"]).status.code(), Some(1));
    assert!(world.ok(&["health"]).contains("file conflict: src/main.rs"));
    world.fails(2, &["--as", "bob", "heartbeat", "--context", "1.5"]);
    world.fails(67, &["--as", "nobody", "heartbeat"]);
}

#[test]
fn a_supervisor_keeps_an_idle_agent_and_its_death_is_seen_at_once() {
    let world = World::with_peers();
    let mut supervisor = world.command("sleep").arg("1000").spawn().unwrap();
    let identity = agor_common::process::Identity::of(i32::try_from(supervisor.id()).unwrap()).unwrap();
    let mut db = agor_common::mail::open(&world.db(), agor_common::db::Options::create()).unwrap();
    db.transact(|tx| agor_common::mail::presence::mark_active(tx, "agor-supervise", "bob", Some(&identity)))
        .unwrap();
    last_heard(&world, "bob", 1200);
    world.ok(&["--as", "alice", "send", "bob", "idle is not dead"]);
    assert_eq!(health(&world, "bob")["state"], "idle");
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    last_heard(&world, "bob", 1);
    let error = world.fails(69, &["--as", "alice", "send", "bob", "too late"]);
    assert!(error.contains("its supervisor is gone") && error.contains("(crashed)"), "{error}");
    let row = health(&world, "bob");
    assert_eq!((row["state"].as_str(), row["score"].as_i64()), (Some("crashed"), Some(90)));
    assert_eq!(world.json(&["sweep"])["crashed"][0], "bob");
    // Back without it.
    world.ok(&["--as", "bob", "heartbeat"]);
    assert_eq!(health(&world, "bob")["state"], "running");
    assert_eq!(world.inbox("bob"), ["idle is not dead", "too late"]);
}

#[test]
fn a_crash_that_was_marked_parks_mail_with_the_reason() {
    let world = World::with_peers();
    let mut db = agor_common::mail::open(&world.db(), agor_common::db::Options::create()).unwrap();
    db.transact(|tx| {
        agor_common::mail::presence::mark_crashed(tx, "agor-supervise", "bob", "exit 1, 5 attempts")
    })
    .unwrap();
    let sent = world.run(&["--json", "--as", "alice", "send", "bob", "hi"]);
    assert_eq!(sent.status.code(), Some(69));
    let sent: Value = serde_json::from_str(&stdout(&sent)).unwrap();
    assert_eq!(sent["reason"], "crashed");
    assert_eq!(sent["error"], "bob is crashed: exit 1, 5 attempts");
}

#[test]
fn heartbeats_around_a_command_leave_it_alone() {
    let world = World::with_peers();
    let script = "printf 'out'; cat; exit 7";
    let output =
        world.with_input(&["--as", "bob", "heartbeat", "--every", "1s", "--", "sh", "-c", script], b" in");
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stdout(&output), "out in");
    world.fails(127, &["--as", "bob", "heartbeat", "--every", "1s", "--", "no-such-command"]);
    world.fails(2, &["--as", "bob", "heartbeat", "--every", "10ms"]);
    // It goes on while the command runs, and ends with it; the command has no children that it did not start.
    let mut child = world
        .btmsg(&["--as", "bob", "heartbeat", "--every", "1s", "--", "sh", "-c", "wait; exec sleep 1000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let first = world.number("SELECT coalesce(max(at_ms), 0) FROM heartbeats");
    eventually("a later heartbeat", || world.number("SELECT max(at_ms) FROM heartbeats") > first + 1500);
    // By a process of its own, which is nobody's child; and without it there is none.
    assert_eq!(helpers(child.id()), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the heartbeats end with the command", || helpers(child.id()) == 0);
}

/// How many processes beat for as long as that one lives.
fn helpers(pid: u32) -> usize {
    let wanted = format!("--while-pid={pid}:");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| line.split(|byte| *byte == 0).any(|word| word.starts_with(wanted.as_bytes())))
        .count()
}

#[test]
fn a_heartbeat_keeps_the_trail_short_and_audits_what_changes() {
    let world = World::with_peers();
    for _ in 0..5 {
        world.ok(&["--as", "bob", "heartbeat"]);
    }
    assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE agent_id = 'bob'"), 0);
    world.ok(&["unregister", "bob"]);
    world.ok(&["--as", "bob", "heartbeat"]);
    assert_eq!(
        world.number("SELECT count(*) FROM audit_log WHERE agent_id = 'bob' AND event_type = 'active'"),
        1
    );
}

/// `AGOR_SUPERVISOR` of a supervisor that has only just started.
fn new_supervisor(process: &std::process::Child) -> Lease {
    Lease::of(&agor_common::process::Identity::of(process.id().cast_signed()).unwrap())
}

#[test]
fn the_agent_of_a_supervisor_is_nobodys_beginning_and_waits_for_its_row() {
    let world = World::new();
    world.ok(&["register", "coder2"]);
    assert!(world.ok(&["--as", "coder", "whoami"]).starts_with("coder2 ("), "who types it means a beginning");
    let mut supervisor = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let mut lease = new_supervisor(&supervisor);
    let own = |words: &[&str], lease: &Lease| {
        let mut command = world.btmsg(words);
        command.env("BTMSG_AGENT_ID", "coder").env("AGOR_SUPERVISOR", serde_json::to_string(lease).unwrap());
        command
    };
    let unknown = own(&["heartbeat"], &lease).output().unwrap();
    assert_eq!(unknown.status.code(), Some(67), "{}", stderr(&unknown));
    assert_eq!(world.number("SELECT count(*) FROM heartbeats"), 0);
    // Early is who began with the supervisor: this one has only just begun, however long the test took to get here.
    lease.start = u64::MAX;
    let waiting = own(&["whoami"], &lease).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    // At one stroke: that a program starts slowly is no fault of who waits.
    world.sql("INSERT INTO agents (id, name, role, group_id) VALUES ('coder', 'coder', 'agent', '')");
    let output = waiting.wait_with_output().unwrap();
    assert!(stdout(&output).starts_with("coder ("), "{}{}", stdout(&output), stderr(&output));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
}
