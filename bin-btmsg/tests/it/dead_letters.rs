//! Dead letters: in with a reason, out in order, exactly once, nothing dropped.

use std::process::Stdio;

use crate::world::{World, stdout, texts};

fn stop(world: &World, agent: &str) {
    world.ok(&["unregister", agent, "--reason", "lunch"]);
}

#[test]
fn mail_to_a_stopped_agent_waits_with_its_reason_and_returns_in_order() {
    let world = World::with_peers();
    stop(&world, "bob");
    for n in 0..5 {
        let priority = if n == 2 { "urgent" } else { "normal" };
        let error =
            world.fails(69, &["--as", "alice", "send", "--priority", priority, "bob", &format!("m{n}")]);
        assert!(error.contains("bob is stopped: lunch") && error.contains("(offline)"), "{error}");
    }
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    let shown = world.json(&["dlq", "show", "1"]);
    assert_eq!(shown["reason"], "offline");
    assert_eq!(shown["text"], "m0");
    assert_eq!(shown["waiting"], true);
    let required = world.fails(69, &["--as", "alice", "send", "--require-online", "bob", "not at all"]);
    assert!(required.contains("nothing was sent"), "{required}");
    assert_eq!(world.number("SELECT count(*) FROM dead_letter_queue"), 5);
    // A message sent after the return comes after those from before.
    world.ok(&["--as", "bob", "heartbeat"]);
    world.ok(&["--as", "alice", "send", "bob", "after"]);
    assert_eq!(world.inbox("bob"), ["m2", "m0", "m1", "m3", "m4", "after"]);
    let letters = world.json(&["dlq", "list"]);
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 5);
    assert!(letters["dead_letters"][0]["redriven_at"].is_string());
    assert_eq!(letters["dead_letters"][0]["attempts"], 1);
    world.assert_sound();
}

#[test]
fn every_sign_of_life_brings_mail_back() {
    for command in [
        &["--as", "bob", "inbox"][..],
        &["--as", "bob", "heartbeat"],
        &["register", "bob"],
        &["--as", "bob", "unread"],
    ] {
        let world = World::with_peers();
        stop(&world, "bob");
        world.fails(69, &["--as", "alice", "send", "bob", "hi"]);
        world.ok(command);
        assert_eq!(world.number("SELECT count(*) FROM messages WHERE to_agent = 'bob'"), 1, "{command:?}");
        assert_eq!(world.text("SELECT status FROM agents WHERE id = 'bob'"), "active", "{command:?}");
    }
}

#[test]
fn unread_mail_is_moved_when_its_reader_went_away_and_the_sender_hears_of_it() {
    let world = World::with_peers();
    for n in 0..3 {
        world.ok(&["--as", "alice", "send", "bob", &format!("m{n}")]);
    }
    stop(&world, "bob");
    assert_eq!(world.json(&["sweep", "--dry-run"])["dead"]["offline"], 3);
    assert_eq!(world.number("SELECT count(*) FROM dead_letter_queue"), 0);
    let swept = world.json(&["sweep"]);
    assert_eq!(swept["dead"]["offline"], 3);
    assert_eq!(swept["bounced"], 1);
    let bounce = world.inbox("alice");
    assert!(bounce[0].contains("Not delivered to bob (offline)") && bounce[0].contains("m2"), "{bounce:?}");
    // A second sweep finds nothing, and bounces do not bounce.
    stop(&world, "alice");
    world.json(&["sweep"]);
    assert_eq!(world.json(&["sweep"])["dead"], serde_json::json!({}));
    world.ok(&["--as", "bob", "heartbeat"]);
    assert_eq!(world.inbox("bob"), ["m0", "m1", "m2"]);
    world.assert_sound();
}

#[test]
fn send_sweeps_on_the_side() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    world.ok(&["--as", "alice", "send", "bob", "for bob"]);
    stop(&world, "bob");
    world.sql("DELETE FROM mail_meta WHERE key = 'last_sweep_ms'");
    world.ok(&["--as", "alice", "send", "carol", "for carol"]);
    assert_eq!(world.text("SELECT content FROM dead_letter_queue"), "for bob");
}

#[test]
fn redrive_by_hand_chooses_and_two_at_once_deliver_once() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    std::fs::write(world.path("manual.toml"), "[btmsg]\nredrive = \"manual\"\n").unwrap();
    let config = world.path("manual.toml");
    stop(&world, "bob");
    for n in 0..40 {
        world.fails(69, &["--as", "alice", "send", "bob", &format!("m{n:02}")]);
    }
    // The configuration says: by hand only.
    let output = world.btmsg(&["--as", "bob", "heartbeat"]).env("AGOR_CONFIG", &config).output().unwrap();
    assert!(output.status.success());
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    world.fails(2, &["dlq", "redrive"]);
    let dry =
        world.json(&["dlq", "redrive", "--to", "bob", "--reason", "offline", "--since", "1h", "--dry-run"]);
    assert_eq!(dry["letters"].as_array().unwrap().len(), 40);
    assert_eq!(world.json(&["dlq", "redrive", "--to", "carol"])["redriven"], 0);
    world.ok(&["dlq", "redrive", "1", "--deliver-to", "carol"]);
    assert_eq!(world.inbox("carol"), ["m00"]);
    world.fails(1, &["dlq", "redrive", "1"]);
    let children: Vec<_> = (0..4)
        .map(|_| {
            world
                .btmsg(&["--json", "dlq", "redrive", "--all"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let total: i64 = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            serde_json::from_str::<serde_json::Value>(&stdout(&output)).unwrap()["redriven"].as_i64().unwrap()
        })
        .sum();
    assert_eq!(total, 39);
    let expected: Vec<String> = (1..40).map(|n| format!("m{n:02}")).collect();
    assert_eq!(world.inbox("bob"), expected);
    world.assert_sound();
}

#[test]
fn a_revoked_permission_keeps_the_letter_and_says_denied() {
    let world = World::with_peers();
    stop(&world, "bob");
    world.fails(69, &["--as", "alice", "send", "bob", "hi"]);
    world.ok(&["deny", "alice", "bob"]);
    world.ok(&["--as", "bob", "heartbeat"]);
    assert!(world.inbox("bob").is_empty());
    let letter = world.json(&["dlq", "show", "1"]);
    assert_eq!((letter["reason"].as_str(), letter["waiting"].as_bool()), (Some("denied"), Some(true)));
    world.fails(1, &["dlq", "redrive", "1"]);
    world.ok(&["allow", "alice", "bob"]);
    world.ok(&["dlq", "redrive", "1"]);
    assert_eq!(world.inbox("bob"), ["hi"]);
    assert_eq!(world.json(&["dlq", "show", "1"])["attempts"], 3);
}

#[test]
fn purging_deletes_the_text_and_keeps_the_row() {
    let world = World::with_peers();
    stop(&world, "bob");
    world.fails(69, &["--as", "alice", "send", "bob", "secret"]);
    world.fails(2, &["dlq", "purge"]);
    assert_eq!(world.json(&["dlq", "purge", "--all", "--dry-run"])["purged"].as_array().unwrap().len(), 1);
    world.ok(&["dlq", "purge", "--all"]);
    assert_eq!(world.text("SELECT content FROM dead_letter_queue"), "");
    let indexed = "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'secret'";
    assert_eq!(world.number(indexed), 0);
    assert!(world.ok(&["dlq", "list"]).contains("purged"));
    world.ok(&["--as", "bob", "heartbeat"]);
    assert!(world.inbox("bob").is_empty());
    world.fails(1, &["dlq", "redrive", "1"]);
    world.fails(1, &["dlq", "show", "99"]);
}

#[test]
fn letters_can_be_filtered() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    stop(&world, "bob");
    stop(&world, "carol");
    world.fails(69, &["--as", "alice", "send", "bob", "to bob"]);
    world.fails(69, &["--as", "alice", "send", "carol", "to carol"]);
    let list = |args: &[&str]| {
        let mut all = vec!["dlq", "list"];
        all.extend(args);
        texts(&world.json(&all), "dead_letters")
    };
    assert_eq!(list(&[]), ["to carol", "to bob"]);
    assert_eq!(list(&["--to", "carol"]), ["to carol"]);
    assert_eq!(list(&["--reason", "crashed"]), Vec::<String>::new());
    assert_eq!(list(&["--since", "2999-01-01T00:00:00Z"]), Vec::<String>::new());
    world.ok(&["--as", "bob", "heartbeat"]);
    assert_eq!(list(&["--waiting"]), ["to carol"]);
    world.fails(2, &["dlq", "list", "--reason", "bored"]);
}

#[test]
fn a_filter_names_one_agent_or_is_refused() {
    let world = World::with_peers();
    for agent in ["carol", "carla"] {
        world.ok(&["register", agent]);
        stop(&world, agent);
        world.fails(69, &["--as", "alice", "send", agent, &format!("to {agent}")]);
    }
    world.fails(69, &["--as", "alice", "send", "--allow-unknown", "bo-", "parked"]);
    world.ok(&["register", "bo-peep"]);
    for filter in ["--to", "--from"] {
        for command in [&["dlq", "list"][..], &["dlq", "redrive"], &["dlq", "purge"]] {
            let error = world.fails(67, &[command, &[filter, "car"]].concat());
            assert!(error.contains("carla") && error.contains("carol"), "{error}");
        }
    }
    let error = world.fails(67, &["audit", "--agent", "car"]);
    assert!(error.contains("carla") && error.contains("carol"), "{error}");
    let list = |to: &str| texts(&world.json(&["dlq", "list", "--to", to]), "dead_letters");
    assert_eq!(list("carl"), ["to carla"]);
    // Whom the letters are for, though it begins another's id.
    assert_eq!(list("bo-"), ["parked"]);
    assert_eq!(list("nobody"), Vec::<String>::new());
    assert_eq!(world.ok(&["audit", "--agent", "ali"]).lines().count(), 3);
}

#[test]
fn a_sweep_goes_on_until_nothing_is_left() {
    let world = World::with_peers();
    // Found twice, as offline and as expired: that must not make the first round look like the last.
    world.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
         INSERT INTO messages (id, from_agent, to_agent, content, group_id, expires_ms, indexed)
         SELECT 'm' || i, 'alice', CASE WHEN i <= 300 THEN 'bob' ELSE 'alice' END, 'x', '', 1, 1 FROM n",
    );
    stop(&world, "bob");
    world.ok(&["sweep"]);
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE kind IS NULL"), 0);
    assert_eq!(world.number("SELECT count(*) FROM dead_letter_queue"), 900);
}

#[test]
fn what_an_older_client_stored_past_the_limit_is_dead_and_its_sender_hears_of_it() {
    let world = World::with_peers();
    std::fs::create_dir_all(world.path(".config/agor")).unwrap();
    std::fs::write(world.path(".config/agor/agor.toml"), "[btmsg]\nmax_size = 1000\n").unwrap();
    // The caller's own body is refused and nothing is stored.
    let large = "x".repeat(1001);
    world.fails(65, &["--as", "alice", "send", "bob", &large]);
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
    world.sql(&format!(
        "INSERT INTO messages (id, from_agent, to_agent, content) VALUES ('old-1', 'alice', 'bob', '{large}'),
             ('old-2', 'alice', 'bob', 'small enough')"
    ));
    world.ok(&["sweep"]);
    assert_eq!(world.inbox("bob"), ["small enough"]);
    assert_eq!(world.text("SELECT reason FROM dead_letter_queue WHERE message_id = 'old-1'"), "too_large");
    let bounce = world.inbox("alice").remove(0);
    assert!(bounce.contains("too_large") && bounce.contains("1001 bytes, more than 1000"), "{bounce}");
    // By hand it can be delivered all the same, and the next sweep lets it be.
    world.ok(&["dlq", "redrive", "--reason", "too_large"]);
    world.ok(&["sweep"]);
    assert_eq!(world.inbox("bob").len(), 2);
}

#[test]
fn an_onlooker_does_not_bring_a_crashed_agent_back() {
    let world = World::with_peers();
    let mut db = agor_common::mail::open(&world.db(), agor_common::db::Options::create()).unwrap();
    db.transact(|tx| agor_common::mail::presence::mark_crashed(tx, "agor-supervise", "bob", "exit 1"))
        .unwrap();
    world.fails(69, &["--as", "alice", "send", "bob", "hi"]);
    for command in ["inbox", "unread", "notify"] {
        world.ok(&["--as", "bob", command]);
        assert_eq!(world.text("SELECT status FROM agents WHERE id = 'bob'"), "crashed", "{command}");
    }
    assert!(world.btmsg(&["inbox"]).env("BTMSG_AGENT_ID", "bob").output().unwrap().status.success());
    assert_eq!(world.text("SELECT status FROM agents WHERE id = 'bob'"), "active");
    assert_eq!(world.inbox("bob"), ["hi"]);
}

#[test]
fn a_pruned_letter_leaves_the_search_index() {
    let world = World::with_peers();
    world.ok(&["unregister", "bob"]);
    world.fails(69, &["--as", "alice", "send", "bob", "needle in the queue"]);
    world.fails(69, &["--as", "alice", "send", "bob", "another needle"]);
    let found = "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'needle'";
    assert_eq!(world.number(found), 2);
    world.ok(&["dlq", "purge", "1"]);
    world.ok(&["prune", "--older-than", "0s"]);
    assert_eq!(world.number(found), 1);
    world.ok(&["register", "bob"]);
    assert_eq!(world.inbox("bob"), ["another needle"]);
    assert_eq!(world.json(&["--as", "bob", "search", "needle"])["messages"].as_array().unwrap().len(), 1);
}
