//! `send`, `reply` and batches.

use std::process::Stdio;

use serde_json::Value;

use crate::world::{World, stderr, stdout, texts};

#[test]
fn a_message_arrives_with_its_audit_row() {
    let world = World::with_peers();
    let id = world.ok(&["--as", "alice", "send", "bob", "hello"]);
    let inbox = world.json(&["--as", "bob", "inbox"]);
    assert_eq!(inbox["messages"][0]["id"], id);
    assert_eq!(inbox["messages"][0]["text"], "hello");
    assert_eq!(inbox["messages"][0]["state"], "queued");
    assert_eq!(world.number("SELECT count(*) FROM messages"), 1);
    assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE event_type = 'send'"), 1);
    assert!(world.ok(&["--as", "bob", "inbox"]).contains("hello"));
    let sent = world.json(&["--as", "alice", "send", "bob", "again"]);
    assert_eq!(sent["state"], "queued");
    assert_eq!(sent["to"], "bob");
}

#[test]
fn several_recipients_are_all_or_nothing() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    let ids = world.ok(&["--as", "alice", "send", "bob", "carol", "to both"]);
    assert_eq!(ids.lines().count(), 2);
    assert_eq!(world.inbox("bob"), ["to both"]);
    assert_eq!(world.inbox("carol"), ["to both"]);
    let error = world.fails(67, &["--as", "alice", "send", "bob", "nobody", "a text"]);
    assert!(error.contains("nobody"), "{error}");
    assert_eq!(world.inbox("bob").len(), 1);
    // The earlier client's way: words after one recipient.
    world.ok(&["--as", "alice", "send", "carol", "three", "plain", "words"]);
    assert_eq!(world.inbox("carol")[1], "three plain words");
    world.ok(&["--as", "alice", "send", "--to", "bob", "--to", "carol", "by", "option"]);
    assert_eq!(world.inbox("bob")[1], "by option");
}

#[test]
fn an_unknown_recipient_is_67_with_near_matches_and_nothing_stored() {
    let world = World::with_peers();
    let error = world.fails(67, &["--as", "alice", "send", "bbo", "hi"]);
    assert!(error.contains("did you mean bob?"), "{error}");
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    assert_eq!(world.number("SELECT count(*) FROM dead_letter_queue"), 0);
    world.fails(67, &["--as", "mallory", "send", "bob", "hi"]);
    world.fails(2, &["send", "bob", "hi"]);
    world.fails(2, &["--as", "alice", "send", "bob"]);
    world.fails(2, &["--as", "", "send", "bob", "hi"]);
}

#[test]
fn mail_for_an_unknown_id_waits_for_who_registers_it() {
    let world = World::with_peers();
    let error = world.fails(69, &["--as", "alice", "send", "--allow-unknown", "carol", "welcome"]);
    assert!(error.contains("unknown_agent"), "{error}");
    assert!(world.ok(&["register", "carol"]).contains("1 dead letters went back"));
    assert_eq!(world.inbox("carol"), ["welcome"]);
}

#[test]
fn prefixes_find_agents_and_wildcards_are_characters() {
    let world = World::new();
    for id in ["coder-1", "coder-2", "tester", "a%b", "a_b"] {
        world.ok(&["register", id]);
    }
    world.ok(&["--as", "coder-1", "send", "test", "by prefix"]);
    assert_eq!(world.inbox("tester"), ["by prefix"]);
    let error = world.fails(67, &["--as", "tester", "send", "coder", "hi"]);
    assert!(error.contains("coder-1, coder-2"), "{error}");
    world.fails(67, &["--as", "tester", "send", "%", "hi"]);
    world.fails(67, &["--as", "tester", "send", "_", "hi"]);
    world.ok(&["--as", "tester", "send", "a%", "hi"]);
    assert_eq!(world.inbox("a%b"), ["hi"]);
}

#[test]
fn the_same_key_sends_once_and_other_content_is_a_conflict() {
    let world = World::with_peers();
    let first = world.ok(&["--as", "alice", "send", "--dedup-key", "k", "bob", "hi"]);
    let output = world.run(&["--as", "alice", "send", "--dedup-key", "k", "bob", "hi"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output).trim(), first);
    assert!(stderr(&output).contains("sent before"));
    assert_eq!(world.json(&["--as", "alice", "send", "--dedup-key", "k", "bob", "hi"])["replayed"], true);
    let error = world.fails(65, &["--as", "alice", "send", "--dedup-key", "k", "bob", "something else"]);
    assert!(error.contains("another message"), "{error}");
    // The key is the sender's own.
    world.ok(&["--as", "bob", "send", "--dedup-key", "k", "alice", "hi"]);
    assert_eq!(world.inbox("bob").len(), 1);
    // In parallel too.
    let children: Vec<_> = (0..8)
        .map(|_| {
            world
                .btmsg(&["--as", "alice", "send", "--dedup-key", "p", "bob", "once"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let ids: std::collections::HashSet<String> =
        children.into_iter().map(|child| stdout(&child.wait_with_output().unwrap())).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(world.inbox("bob").len(), 2);
}

#[test]
fn priority_decides_then_order_of_sending() {
    let world = World::with_peers();
    for n in 0..5 {
        world.ok(&["--as", "alice", "send", "bob", &format!("n{n}")]);
    }
    world.ok(&["--as", "alice", "send", "--priority", "low", "bob", "low"]);
    world.ok(&["--as", "alice", "send", "--priority", "urgent", "bob", "urgent"]);
    world.ok(&["--as", "alice", "send", "--priority", "high", "bob", "high"]);
    assert_eq!(world.inbox("bob"), ["urgent", "high", "n0", "n1", "n2", "n3", "n4", "low"]);
    // In pages.
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut args = vec!["--as", "bob", "inbox", "--limit", "3"];
        if let Some(id) = &after {
            args.extend(["--after", id]);
        }
        let page = world.json(&args);
        seen.extend(texts(&page, "messages"));
        after =
            page["messages"].as_array().unwrap().last().map(|last| last["id"].as_str().unwrap().to_owned());
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, world.inbox("bob"));
}

#[test]
fn a_reply_inherits_the_thread_and_foreign_messages_cannot_be_used() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    let root = world.ok(&["--as", "alice", "send", "--subject", "plan", "bob", "shall we?"]);
    let answer = world.ok(&["--as", "bob", "reply", &root, "yes"]);
    let again = world.ok(&["--as", "alice", "reply", &answer, "good"]);
    let own = world.ok(&["--as", "alice", "reply", &again, "and one more thing"]);
    let thread = world.ok(&["--json", "--as", "alice", "read", "--peek", "--thread", &root]);
    let ids: Vec<String> = thread
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, [root.clone(), answer, again, own]);
    world.fails(1, &["--as", "bob", "reply", "no-such-id", "x"]);
    world.fails(77, &["--as", "carol", "reply", &root, "x"]);
    world.fails(77, &["--as", "carol", "read", &root]);
    assert_eq!(world.inbox("carol"), Vec::<String>::new());
}

#[test]
fn a_later_message_supersedes_an_unread_one() {
    let world = World::with_peers();
    let old = world.ok(&["--as", "alice", "send", "bob", "draft"]);
    world.ok(&["--as", "alice", "send", "--supersedes", &old, "bob", "final"]);
    assert_eq!(world.inbox("bob"), ["final"]);
    assert_eq!(world.number("SELECT count(*) FROM messages"), 2);
    world.fails(77, &["--as", "bob", "send", "--supersedes", &old, "alice", "not mine"]);
}

#[test]
fn a_delayed_message_waits_and_a_late_one_dies() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "--delay", "1h", "bob", "later"]);
    world.ok(&["--as", "alice", "send", "--ttl", "1h", "bob", "soon"]);
    assert_eq!(world.inbox("bob"), ["soon"]);
    world.sql("UPDATE messages SET not_before_ms = 1 WHERE content = 'later'");
    world.sql("UPDATE messages SET expires_ms = 1 WHERE content = 'soon'");
    assert_eq!(world.inbox("bob"), ["later"]);
    assert_eq!(world.json(&["sweep"])["dead"]["expired"], 1);
    assert_eq!(world.json(&["dlq", "list"])["dead_letters"][0]["reason"], "expired");
    // The sender hears of it.
    let bounce = world.json(&["--as", "alice", "inbox"]);
    assert_eq!(bounce["messages"][0]["kind"], "bounce");
    // By hand it is wanted late.
    world.ok(&["dlq", "redrive", "--all"]);
    assert_eq!(
        world.inbox("bob"),
        ["soon", "later"].map(str::to_owned).iter().rev().cloned().collect::<Vec<_>>()
    );
}

#[test]
fn standard_input_is_taken_byte_for_byte() {
    let world = World::with_peers();
    let body = "line one\r\nline two\n\ttab ünï 😀 \u{1b}]0;x\u{7}\n";
    let output = world.with_input(&["--as", "alice", "send", "bob", "-"], body.as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.inbox("bob"), [body]);
    assert_eq!(world.text("SELECT content FROM messages"), body);
    // Not text: refused with its place, or taken as it is.
    for (bad, what) in [(&b"ab\0c"[..], "NUL at byte 2"), (b"abc\xff", "byte 3")] {
        let output = world.with_input(&["--as", "alice", "send", "bob", "-"], bad);
        assert_eq!(output.status.code(), Some(65));
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
    }
    let output = world.with_input(&["--as", "alice", "send", "--base64", "bob", "-"], b"\x00\xff");
    assert!(output.status.success());
    let inbox = world.json(&["--as", "bob", "inbox"]);
    assert_eq!(inbox["messages"][1]["encoding"], "base64");
    assert_eq!(inbox["messages"][1]["text"], "AP8=");
    // Nothing is no message.
    assert_eq!(world.with_input(&["--as", "alice", "send", "bob", "-"], b"").status.code(), Some(65));
    world.fails(65, &["--as", "alice", "send", "bob", ""]);
}

#[test]
fn a_large_body_is_whole_and_a_larger_one_is_refused() {
    let world = World::with_peers();
    let body = "0123456789abcde\n".repeat(655_360);
    let output =
        world.with_input(&["--as", "alice", "send", "--max-size", "10M", "bob", "-"], body.as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.number("SELECT length(content) FROM messages"), 10 << 20);
    assert!(world.ok(&["--as", "bob", "inbox"]).len() < 1000);
    assert_eq!(world.inbox("bob")[0], body);
    let one_more = format!("{body}x");
    let output =
        world.with_input(&["--as", "alice", "send", "--max-size", "10M", "bob", "-"], one_more.as_bytes());
    assert_eq!(output.status.code(), Some(65));
    let output =
        world.with_input(&["--as", "alice", "send", "bob", "-"], &one_more.as_bytes()[..(1 << 20) + 1]);
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(world.number("SELECT count(*) FROM messages"), 1);
}

#[test]
fn a_batch_sends_each_line_and_refuses_only_the_bad_ones() {
    let world = World::with_peers();
    let mut lines = String::new();
    for n in 0..1000 {
        lines.push_str(&format!("{{\"to\":\"bob\",\"text\":\"m{n}\"}}\n"));
    }
    let output = world.with_input(&["--json", "--as", "alice", "send", "--ndjson"], lines.as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 1000);
    assert_eq!(world.inbox("bob").len(), 1000);
    assert_eq!(world.inbox("bob")[999], "m999");
    let bad = b"{\"to\":\"bob\",\"text\":\"good\"}\n{\"to\":\"nobody\",\"text\":\"x\"}\n{\"text\":1}\n\n{\"to\":[\"bob\"],\"text\":\"last\",\"priority\":\"urgent\"}";
    let output = world.with_input(&["--json", "--as", "alice", "send", "--ndjson"], bad);
    assert_ne!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("stdin line 2"), "{}", stderr(&output));
    assert!(stderr(&output).contains("stdin line 3"), "{}", stderr(&output));
    let second: Value = serde_json::from_str(stdout(&output).lines().nth(1).unwrap()).unwrap();
    assert_eq!(second["error"]["hint"], "btmsg register nobody", "{second}");
    assert_eq!(world.inbox("bob").len(), 1002);
    assert_eq!(world.inbox("bob")[0], "last");
    world.assert_sound();
}

#[test]
fn a_delay_of_nothing_is_none() {
    let world = World::with_peers();
    assert_eq!(world.json(&["--as", "alice", "send", "--delay", "0", "bob", "now"])["state"], "queued");
    assert_eq!(world.json(&["--as", "alice", "send", "--delay", "1h", "bob", "later"])["state"], "delayed");
    assert_eq!(world.inbox("bob"), ["now"]);
}

#[test]
fn what_a_line_may_not_say_is_refused_and_not_bent() {
    let world = World::with_peers();
    let lines = [
        r#"{"to":"bob","text":"x","ttl_s":-1}"#,
        r#"{"to":"bob","text":"x","delay_s":-0.5}"#,
        r#"{"to":"bob","text":"x","ttl_s":1e300}"#,
        r#"{"to":"bob","text":"x","delay_s":4e9}"#,
        r#"{"to":"bob","text":"x","dedup_key":""}"#,
        r#"{"to":"bob","text":"x","subject":"a\u0000b"}"#,
        // The fields in their order: no object.
        r#"["bob","x",null,null,null,null,null,null,null,null,null,null,null]"#,
        r#""bob""#,
    ];
    let output = world.with_input(&["--as", "alice", "send", "--ndjson"], lines.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(65));
    let said = stderr(&output);
    for number in 1..=lines.len() {
        assert!(said.contains(&format!("stdin line {number}: ")), "{said}");
    }
    let unknown = br#"{"to":"bob","text":"x","priority":"asap"}"#;
    let output = world.with_input(&["--as", "alice", "send", "--ndjson"], unknown);
    assert!(stderr(&output).contains("priority: it is none of low, normal"), "{}", stderr(&output));
    let large = format!(r#"{{"to":"bob","text":"x","subject":"{}"}}"#, "y".repeat(1025));
    let args = ["--as", "alice", "send", "--ndjson", "--max-size", "1024"];
    assert_eq!(world.with_input(&args, large.as_bytes()).status.code(), Some(65));
    world.fails(2, &["--as", "alice", "send", "--dedup-key", "", "bob", "x"]);
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    // Nothing of it is a lie where it is said right.
    let right = br#"{"to":"bob","text":"x","ttl_s":60.5,"delay_s":0.001,"subject":"y"}"#;
    assert!(world.with_input(&["--as", "alice", "send", "--ndjson"], right).status.success());
    assert_eq!(world.number("SELECT expires_ms - sent_ms FROM messages"), 60_500);
}

#[test]
fn a_slow_pipe_holds_no_lock() {
    let world = World::with_peers();
    let mut slow = world
        .btmsg(&["--as", "alice", "send", "bob", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut batch = world
        .btmsg(&["--as", "alice", "send", "--ndjson"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write as _;
    slow.stdin.as_mut().unwrap().write_all(b"half").unwrap();
    batch.stdin.as_mut().unwrap().write_all(b"{\"to\":\"bob\",\"text\":\"first\"}\n").unwrap();
    world.ok(&["--as", "alice", "send", "bob", "in between"]);
    crate::world::eventually("the batch's first line arrives before its last", || {
        world.inbox("bob").contains(&"first".to_owned())
    });
    drop(slow.stdin.take());
    drop(batch.stdin.take());
    assert!(slow.wait().unwrap().success());
    assert!(batch.wait().unwrap().success());
    assert_eq!(world.inbox("bob").len(), 3);
    // Without `-` stdin is not looked at.
    let mut held = world
        .btmsg(&["--as", "alice", "send", "bob", "x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(held.wait().unwrap().success());
}

#[test]
fn who_may_write_to_whom() {
    let world = World::new();
    world.ok(&["register", "boss", "Boss", "manager", "one"]);
    world.ok(&["register", "chief", "Chief", "architect", "two"]);
    world.ok(&["register", "w1", "W1", "project", "one"]);
    world.ok(&["register", "w2", "W2", "project", "one"]);
    world.ok(&["register", "w3", "W3", "project", "two"]);
    world.ok(&["register", "root", "--tier", "0"]);
    let may = |from: &str, to: &str| world.run(&["--as", from, "send", to, "x"]).status.code().unwrap();
    assert_eq!(may("boss", "chief"), 0);
    assert_eq!(may("boss", "w1"), 0);
    assert_eq!(may("w1", "boss"), 0);
    assert_eq!(may("w1", "w2"), 77);
    assert_eq!(may("boss", "w3"), 77);
    assert_eq!(may("root", "w3"), 0);
    assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE event_type = 'denied'"), 2);
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE to_agent = 'w2'"), 0);
    // An answer needs no permission; `deny` takes it, and the tiers' too.
    assert_eq!(may("w3", "root"), 0);
    world.ok(&["deny", "w3", "root"]);
    assert_eq!(may("w3", "root"), 77);
    world.ok(&["allow", "w1", "w2", "-b"]);
    assert_eq!((may("w1", "w2"), may("w2", "w1")), (0, 0));
    world.ok(&["deny", "w1", "w2"]);
    assert_eq!((may("w1", "w2"), may("w2", "w1")), (77, 0));
    // Only an operator or a manager changes that.
    world.fails(77, &["--as", "w1", "allow", "w1", "w2"]);
    world.ok(&["--as", "boss", "allow", "w1", "w2"]);
    world.fails(77, &["--as", "w1", "register", "w9"]);
    world.fails(77, &["--as", "w1", "register", "w1", "--tier", "0"]);
    world.ok(&["--as", "w1", "register", "w1"]);
    let contacts = world.json(&["--as", "w1", "contacts"]);
    let ids: Vec<&str> =
        contacts["contacts"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["boss", "w2"]);
    assert!(world.ok(&["graph"]).contains("boss <-> chief"));
}
