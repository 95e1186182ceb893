//! Channels: all members or nobody.

use crate::world::{World, stderr, stdout, texts};

#[test]
fn a_post_reaches_every_member_and_nobody_else() {
    let world = World::with_peers();
    for agent in ["carol", "dave"] {
        world.ok(&["register", agent]);
    }
    let id = world.ok(&["--as", "alice", "channel", "create", "dev"]);
    world.ok(&["channel", "add", "dev", "bob"]);
    world.ok(&["--as", "carol", "channel", "join", &id[..13]]);
    world.ok(&["--as", "alice", "channel", "post", "dev", "hello", "all"]);
    assert_eq!(world.inbox("bob"), ["hello all"]);
    assert_eq!(world.inbox("carol"), ["hello all"]);
    assert!(world.inbox("alice").is_empty() && world.inbox("dave").is_empty());
    world.fails(77, &["--as", "dave", "channel", "post", "dev", "let me in"]);
    world.fails(77, &["--as", "dave", "channel", "history", "dev"]);
    world.ok(&["--as", "carol", "channel", "leave", "dev"]);
    world.fails(1, &["--as", "carol", "channel", "leave", "dev"]);
    world.ok(&["--as", "bob", "channel", "send", "dev", "the earlier client's word"]);
    assert_eq!(world.inbox("carol").len(), 1);
    let history = world.json(&["--as", "alice", "channel", "history", "dev"]);
    assert_eq!(texts(&history, "messages"), ["hello all", "the earlier client's word"]);
    assert_eq!(
        world.json(&["channel", "list"])["channels"][0]["members"],
        serde_json::json!(["alice", "bob"])
    );
    world.assert_sound();
}

#[test]
fn a_member_that_is_away_gets_it_later() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "channel", "create", "dev"]);
    world.ok(&["channel", "add", "dev", "bob"]);
    world.ok(&["unregister", "bob"]);
    world.fails(69, &["--as", "alice", "channel", "post", "dev", "news"]);
    world.fails(69, &["--as", "alice", "channel", "post", "--require-online", "dev", "only together"]);
    assert_eq!(world.number("SELECT count(*) FROM channel_messages"), 1);
    assert_eq!(world.inbox("bob"), ["news"]);
}

#[test]
fn names_may_be_shared_and_then_the_id_decides() {
    let world = World::with_peers();
    let first = world.ok(&["--as", "alice", "channel", "create", "same"]);
    world.ok(&["--as", "alice", "channel", "create", "same"]);
    let error = world.fails(1, &["--as", "alice", "channel", "post", "same", "which?"]);
    assert!(error.contains(&first), "{error}");
    world.ok(&["--as", "alice", "channel", "post", &first, "this one"]);
    world.fails(1, &["--as", "alice", "channel", "post", "none", "x"]);
}

#[test]
fn only_managers_and_the_creator_change_others_membership() {
    let world = World::new();
    world.ok(&["register", "boss", "Boss", "manager", "g"]);
    world.ok(&["register", "w1", "W1", "project", "g"]);
    world.ok(&["register", "w2", "W2", "project", "g"]);
    world.ok(&["register", "x", "X", "project", "other"]);
    world.ok(&["--as", "boss", "channel", "create", "dev"]);
    world.fails(77, &["--as", "w1", "channel", "add", "dev", "w2"]);
    world.ok(&["--as", "w1", "channel", "join", "dev"]);
    world.fails(77, &["--as", "x", "channel", "join", "dev"]);
    world.fails(77, &["--as", "w2", "channel", "remove", "dev", "w1"]);
    world.ok(&["--as", "boss", "channel", "remove", "dev", "w1"]);
    let lines = b"{\"text\":\"one\"}\n{\"text\":\"two\"}\n{\"text\":\"x\",\"to\":\"w1\"}\n";
    world.ok(&["--as", "boss", "channel", "add", "dev", "w2"]);
    let output = world.with_input(&["--as", "boss", "channel", "post", "dev", "--ndjson"], lines);
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(world.inbox("w2"), ["one", "two"]);
}

#[test]
fn a_post_under_a_key_is_posted_once_whoever_joins_meanwhile() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    world.ok(&["--as", "alice", "channel", "create", "dev"]);
    let post = |text: &str| world.run(&["--as", "alice", "channel", "post", "--dedup-key", "k", "dev", text]);
    // With nobody to hear it, too.
    let first = post("news");
    for member in ["bob", "carol"] {
        world.ok(&["channel", "add", "dev", member]);
        let again = post("news");
        assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
        assert_eq!(stdout(&again), stdout(&first));
    }
    assert_eq!(world.texts("SELECT id FROM channel_messages"), [stdout(&first).trim_end()]);
    assert_eq!(post("other news").status.code(), Some(65));
    assert_eq!(world.number("SELECT count(*) FROM messages"), 0);
}

#[test]
fn a_member_that_nobody_registered_is_not_another_whose_id_begins_so() {
    let world = World::with_peers();
    for agent in ["bobby", "robert", "roberta"] {
        world.ok(&["register", agent]);
    }
    world.ok(&["--as", "alice", "channel", "create", "dev"]);
    // As an older client leaves them: nobody, with one and with two agents whose ids begin so.
    world.sql(
        "DELETE FROM agents WHERE id = 'bob';
         INSERT INTO channel_members (channel_id, agent_id) SELECT id, 'bob' FROM channels;
         INSERT INTO channel_members (channel_id, agent_id) SELECT id, 'rober' FROM channels;
         INSERT INTO messages (id, from_agent, to_agent, content, group_id) VALUES ('old', 'bob', 'alice', 'x', '')",
    );
    world.fails(69, &["--as", "alice", "channel", "post", "dev", "for members only"]);
    assert_eq!(world.texts("SELECT to_agent FROM dead_letter_queue ORDER BY 1"), ["bob", "rober"]);
    world.fails(67, &["--as", "alice", "reply", "old", "to whom?"]);
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE to_agent <> 'alice'"), 0);
    world.ok(&["register", "bob"]);
    assert_eq!(world.inbox("bob"), ["for members only"]);
}

#[test]
fn the_record_of_a_channel_says_what_is_no_text() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "channel", "create", "dev"]);
    let args = ["--as", "alice", "channel", "post", "--base64", "--subject", "a picture", "dev", "-"];
    assert_eq!(world.with_input(&args, b"\0\xff").status.code(), Some(0));
    // A row of somebody else's making hides no other.
    world.sql("INSERT INTO channel_messages (id, channel_id, from_agent, content, sent_ms) SELECT 'odd', id, 'bob', 'words', 'noon' FROM channels");
    let shown = world.json(&["channel", "history", "dev"]);
    assert_eq!(texts(&shown, "messages"), ["words", "AP8="]);
    assert_eq!(shown["messages"][1]["encoding"], "base64");
    assert_eq!(shown["messages"][1]["subject"], "a picture");
    let line = world.ok(&["channel", "history", "dev"]);
    assert!(line.contains("a picture: [4 bytes of base64]") && !line.contains("AP8="), "{line}");
}
