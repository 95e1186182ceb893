//! Ids and bodies of somebody who means no good.

use crate::world::{World, stdout};

#[test]
fn ids_are_characters_and_never_paths() {
    let world = World::new();
    let good = [
        "../../etc/passwd",
        "a/b",
        ".",
        "..",
        "o'brien",
        "quo\"te",
        "50%_",
        "agent 7",
        "😀",
        "e\u{301}",
        "\u{e9}",
        "%s%n",
    ];
    for id in good {
        world.ok(&["register", "--", id]);
    }
    for id in good {
        world.ok(&["--as", id, "send", "a/b", "--", "hi"]);
        let waited = world.run(&["--as", id, "recv", "--wait", "1ms"]);
        assert!(matches!(waited.status.code(), Some(0 | 124)), "{id}");
    }
    // Composed and decomposed are two agents.
    assert_eq!(world.number("SELECT count(*) FROM agents"), 12);
    // Nothing but hashed names was made for those who waited.
    let wake = world.path("data/run/wake");
    for entry in std::fs::read_dir(wake).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    }
    for bad in [
        "",
        "-x",
        " lead",
        "trail ",
        "new\nline",
        "tab\t",
        "\u{202e}rtl",
        "zero\u{200b}width",
        &"x".repeat(256),
        "btmsg",
    ] {
        world.fails(2, &["register", "--", bad]);
    }
}

#[test]
fn bodies_are_stored_as_they_are_and_cannot_steer_a_terminal() {
    let world = World::with_peers();
    for body in
        ["'; DROP TABLE messages;--", "%s %n \u{1b}]0;x\u{7}", "\u{202e}evil", "-- --help", "\n", "a\r\nb"]
    {
        world.ok(&["--as", "alice", "send", "--to", "bob", "--", body]);
        assert_eq!(world.inbox("bob"), [body]);
        for text in [world.ok(&["--as", "bob", "inbox"]), world.ok(&["--as", "bob", "read"])] {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}', '\r']), "{text:?}");
        }
    }
    world.assert_sound();
}

#[test]
fn a_poisoned_row_is_marked_and_hides_nothing() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "before"]);
    world.sql(
        "INSERT INTO messages (id, from_agent, to_agent, content, group_id) VALUES
             ('bad', 'alice', 'bob', CAST(x'ff6f6b' AS TEXT), ''), ('blob', 'alice', 'bob', x'00ff', ''),
             ('num', 'alice', 'bob', 42, '');
         UPDATE messages SET priority = 'high?', created_at = 'never', sent_ms = 'x', subject = x'fe' WHERE id = 'num'",
    );
    world.ok(&["--as", "alice", "send", "bob", "after"]);
    let inbox = world.json(&["--as", "bob", "inbox"]);
    let messages = inbox["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5);
    let bad = messages.iter().find(|one| one["id"] == "bad").unwrap();
    assert_eq!(bad["invalid_utf8"], true);
    assert_eq!(bad["text"], "\u{fffd}ok");
    assert!(world.ok(&["--as", "bob", "inbox"]).contains("[invalid UTF-8]"));
    world.ok(&["--as", "bob", "read", "bad"]);
    world.ok(&["search", "after"]);
    world.ok(&["export"]);
    for _ in 0..4 {
        world.ok(&["--as", "bob", "recv", "--ack"]);
    }
    assert!(world.inbox("bob").is_empty());
    // It dies and returns as it was.
    world.sql("UPDATE messages SET read = 0 WHERE id = 'bad'");
    world.ok(&["unregister", "bob"]);
    world.ok(&["sweep"]);
    world.ok(&["--as", "bob", "heartbeat"]);
    assert_eq!(world.text("SELECT hex(content) FROM messages WHERE id = 'bad'"), "FF6F6B");
}

#[test]
fn names_of_others_are_escaped_too() {
    let world = World::new();
    world.ok(&["register", "a", "\u{1b}[2Jname", "\u{1b}[31mrole", "gr\u{7}oup"]);
    for command in
        [&["agents"][..], &["--as", "a", "whoami"], &["--as", "a", "contacts"], &["audit"], &["status"]]
    {
        let output = world.run(command);
        assert!(!stdout(&output).contains(['\u{1b}', '\u{7}']), "{command:?}: {:?}", stdout(&output));
    }
}
