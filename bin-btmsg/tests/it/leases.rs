//! `recv`, `ack`, `nack`, `extend`, `read`.

use std::collections::HashSet;
use std::process::Stdio;

use serde_json::Value;

use crate::world::{World, stderr, stdout};

fn recv(world: &World, more: &[&str]) -> Value {
    let mut args = vec!["--as", "bob", "recv"];
    args.extend(more);
    world.json(&args)
}

#[test]
fn a_leased_message_is_nobody_elses_until_it_is_given_back() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "work"]);
    let first = recv(&world, &[]);
    let id = first["id"].as_str().unwrap();
    assert_eq!(first["deliveries"], 1);
    world.fails(1, &["--as", "bob", "recv"]);
    assert_eq!(world.json(&["--as", "bob", "inbox"])["messages"][0]["state"], "leased");
    world.ok(&["--as", "bob", "nack", id]);
    let second = recv(&world, &[]);
    assert_eq!(second["deliveries"], 2);
    // The first holder's token is worth nothing any more.
    let stale = first["token"].as_str().unwrap();
    for command in ["ack", "nack", "extend"] {
        let error = world.fails(1, &["--as", "bob", command, id, "--token", stale]);
        assert!(error.contains("stale"), "{error}");
    }
    // Nor may somebody who cannot say which lease is meant.
    world.fails(1, &["--as", "bob", "ack", id]);
    world.ok(&["--as", "bob", "ack", id, "--token", second["token"].as_str().unwrap()]);
    assert!(world.inbox("bob").is_empty());
    // Twice is once.
    world.ok(&["--as", "bob", "ack", id, "--token", second["token"].as_str().unwrap()]);
    world.fails(1, &["--as", "bob", "nack", id, "--token", second["token"].as_str().unwrap()]);
    world.fails(77, &["--as", "alice", "ack", id]);
    world.assert_sound();
}

#[test]
fn a_lease_that_runs_out_makes_the_message_available_again() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "work"]);
    let first = recv(&world, &["--lease", "1h"]);
    let id = first["id"].as_str().unwrap().to_owned();
    world.ok(&["--as", "bob", "extend", &id, "--lease", "2h"]);
    world.sql("UPDATE messages SET lease_until_ms = 1");
    world.fails(1, &["--as", "bob", "extend", &id, "--token", first["token"].as_str().unwrap()]);
    let second = recv(&world, &[]);
    assert_eq!(second["id"], id.as_str());
    world.fails(1, &["--as", "bob", "ack", &id, "--token", first["token"].as_str().unwrap()]);
}

#[test]
fn a_message_that_nobody_can_finish_becomes_a_dead_letter() {
    let world = World::with_peers();
    let id = world.ok(&["--as", "alice", "send", "--max-deliveries", "2", "bob", "poison"]);
    for _ in 0..2 {
        assert_eq!(recv(&world, &[])["id"], id.as_str());
        world.sql("UPDATE messages SET lease_until_ms = 1");
    }
    world.fails(1, &["--as", "bob", "recv"]);
    let letters = world.json(&["dlq", "list"]);
    assert_eq!(letters["dead_letters"][0]["reason"], "max_deliveries");
    assert_eq!(letters["dead_letters"][0]["message_id"], id.as_str());
    // The default is five, and a sweep finds it too.
    world.ok(&["--as", "alice", "send", "bob", "five times"]);
    for _ in 0..5 {
        recv(&world, &[]);
        world.sql("UPDATE messages SET lease_until_ms = 1");
    }
    assert_eq!(world.json(&["sweep"])["dead"]["max_deliveries"], 1);
    world.assert_sound();
}

#[test]
fn eight_readers_share_two_thousand_messages_without_overlap() {
    let world = World::with_peers();
    let lines: String = (0..2000).map(|n| format!("{{\"to\":\"bob\",\"text\":\"{n}\"}}\n")).collect();
    assert!(world.with_input(&["--as", "alice", "send", "--ndjson"], lines.as_bytes()).status.success());
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let script = "while \"$0\" --json --as bob recv --max 40 --ack 2>/dev/null; do :; done";
            world
                .command("sh")
                .args(["-c", script, env!("CARGO_BIN_EXE_btmsg")])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seen = HashSet::new();
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        for line in stdout(&output).lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            if let Some(id) = value["id"].as_str() {
                assert!(seen.insert(id.to_owned()), "{id} was given out twice");
            }
        }
    }
    assert_eq!(seen.len(), 2000);
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE read = 0"), 0);
}

#[test]
fn reading_marks_what_was_shown_and_nothing_else() {
    let world = World::with_peers();
    let first = world.ok(&["--as", "alice", "send", "bob", "one"]);
    world.ok(&["--as", "alice", "send", "bob", "two"]);
    assert!(world.ok(&["--as", "bob", "read", "--peek"]).contains("one"));
    assert_eq!(world.ok(&["--as", "bob", "unread"]), "2");
    assert!(world.ok(&["--as", "bob", "notify"]).contains("2 unread messages from alice (2)"));
    // By its id; the sender may look without changing anything.
    assert!(world.ok(&["--as", "alice", "read", &first]).contains("one"));
    assert_eq!(world.ok(&["--as", "bob", "unread"]), "2");
    world.ok(&["--as", "bob", "read", &first]);
    assert_eq!(world.inbox("bob"), ["two"]);
    world.ok(&["--as", "bob", "read"]);
    let error = world.fails(1, &["--as", "bob", "read"]);
    assert!(error.contains("no unread messages"), "{error}");
    assert_eq!(world.ok(&["--as", "bob", "notify"]), "");
    assert_eq!(world.json(&["--as", "bob", "inbox", "--all"])["messages"].as_array().unwrap().len(), 2);
    // Where nobody took the output, nothing was read.
    world.ok(&["--as", "alice", "send", "bob", "three"]);
    let script = "\"$0\" --as bob read >/dev/full";
    let output = world.command("sh").args(["-c", script, env!("CARGO_BIN_EXE_btmsg")]).output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
    assert_eq!(world.inbox("bob"), ["three"]);
}

#[test]
fn several_ids_are_settled_together_or_not_at_all() {
    let world = World::with_peers();
    let a = world.ok(&["--as", "alice", "send", "bob", "a"]);
    let b = world.ok(&["--as", "alice", "send", "bob", "b"]);
    world.fails(1, &["--as", "bob", "ack", &a, "no-such"]);
    assert_eq!(world.inbox("bob").len(), 2);
    world.ok(&["--as", "bob", "ack", &a, &b]);
    assert!(world.inbox("bob").is_empty());
    world.ok(&["--as", "alice", "send", "bob", "c"]);
    let c = recv(&world, &[])["id"].as_str().unwrap().to_owned();
    world.ok(&["--as", "bob", "nack", &c, "--delay", "1h"]);
    world.fails(1, &["--as", "bob", "recv"]);
}

/// As if the wall clock had been set by that many seconds since the last sweep: what was stored before is by
/// the old clock.
fn set_clock(world: &World, seconds: i64) {
    world.ok(&["sweep"]);
    let ms = seconds * 1000;
    world.sql(&format!(
        "UPDATE mail_meta SET value = substr(value, 1, instr(value, ' ')) || (substr(value, instr(value, ' ') + 1) - ({ms})) WHERE key = 'clock';
         UPDATE messages SET lease_until_ms = lease_until_ms - ({ms}), not_before_ms = not_before_ms - ({ms}),
             expires_ms = expires_ms - ({ms}) WHERE read = 0"
    ));
}

#[test]
fn a_clock_that_is_set_neither_ends_nor_prolongs_what_runs() {
    for hour in [3600, -3600] {
        let world = World::with_peers();
        world.ok(&["--as", "alice", "send", "bob", "leased"]);
        recv(&world, &["--lease", "5m"]);
        world.ok(&["--as", "alice", "send", "bob", "later", "--delay", "10m"]);
        world.ok(&["--as", "alice", "send", "bob", "short-lived", "--ttl", "20m"]);
        let due = "SELECT coalesce(lease_until_ms, not_before_ms, expires_ms) FROM messages ORDER BY seq";
        let before = world.texts(due);
        set_clock(&world, hour);
        assert_ne!(world.texts(due), before);
        // Whoever is first, a receiver or a sweep, puts it right.
        if hour > 0 {
            assert_eq!(recv(&world, &[])["text"], "short-lived");
        } else {
            world.ok(&["sweep"]);
            assert_eq!(world.inbox("bob").last().map(String::as_str), Some("short-lived"));
        }
        let after = world.texts(due);
        assert_eq!(before[..2].len(), after[..2].len());
        for (was, is) in before[..2].iter().zip(&after) {
            let moved = is.parse::<i64>().unwrap() - was.parse::<i64>().unwrap();
            assert!(moved.abs() < 2000, "{hour}: moved by {moved} ms");
        }
        assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE event_type = 'clock_set'"), 1);
        assert_eq!(world.number("SELECT count(*) FROM dead_letter_queue"), 0);
        world.assert_sound();
    }
}

/// Two programs may see different clocks (one of them under another time namespace, or set in between): a moment
/// is always stored together with the clock that it is by.
#[test]
fn a_lease_is_stored_with_the_clock_that_it_is_by() {
    let world = World::with_peers();
    let known = "SELECT count(*) FROM mail_meta WHERE key = 'clock'";
    let forget = || world.sql("DELETE FROM mail_meta WHERE key = 'clock'");
    world.ok(&["--as", "alice", "send", "bob", "work"]);
    forget();
    let token = recv(&world, &["--lease", "5m"])["token"].as_str().unwrap().to_owned();
    assert_eq!(world.number(known), 1, "recv");
    forget();
    let id = world.text("SELECT id FROM messages");
    world.ok(&["--as", "bob", "extend", &id, "--token", &token]);
    assert_eq!(world.number(known), 1, "extend");
    forget();
    world.ok(&["--as", "bob", "nack", &id, "--token", &token, "--delay", "1m"]);
    assert_eq!(world.number(known), 1, "nack");
    forget();
    world.ok(&["--as", "alice", "send", "bob", "soon", "--ttl", "1m"]);
    assert_eq!(world.number(known), 1, "send --ttl");
}
