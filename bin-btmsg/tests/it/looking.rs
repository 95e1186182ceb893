//! `history`, `feed`, `search`, `audit`, `stats`, `export`, `prune`, `log`, `status`.

use serde_json::Value;

use crate::world::{World, stderr, stdout, texts};

#[test]
fn history_is_the_newest_of_a_conversation_in_order() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    for n in 0..5 {
        world.ok(&["--as", "alice", "send", "bob", &format!("a{n}")]);
        world.ok(&["--as", "bob", "send", "alice", &format!("b{n}")]);
    }
    world.ok(&["--as", "carol", "send", "bob", "aside"]);
    let history = world.json(&["--as", "alice", "history", "bob", "--limit", "3"]);
    assert_eq!(texts(&history, "messages"), ["b3", "a4", "b4"]);
    let first = history["messages"][0]["id"].as_str().unwrap();
    let before = world.json(&["--as", "alice", "history", "bob", "--limit", "2", "--before", first]);
    assert_eq!(texts(&before, "messages"), ["b2", "a3"]);
    // An operator sees all of it.
    let all = world.json(&["history", "bob", "--limit", "1"]);
    assert_eq!(texts(&all, "messages"), ["aside"]);
}

#[test]
fn none_of_what_is_there_is_not_nothing_there() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "here"]);
    let output = world.run(&["--as", "bob", "inbox", "--limit", "0"]);
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("", ""));
    let output = world.run(&["--as", "alice", "inbox"]);
    assert!(stderr(&output).contains("no unread messages"));
    world.fails(2, &["--as", "bob", "watch", "--max", "0", "--timeout", "0"]);
}

#[test]
fn a_feed_is_the_groups() {
    let world = World::new();
    world.ok(&["register", "a", "A", "manager", "one"]);
    world.ok(&["register", "b", "B", "manager", "one"]);
    world.ok(&["register", "c", "C", "manager", "two"]);
    world.ok(&["--as", "a", "send", "b", "in one"]);
    world.ok(&["--as", "c", "send", "c", "in two"]);
    assert_eq!(texts(&world.json(&["--as", "b", "feed"]), "messages"), ["in one"]);
    assert_eq!(texts(&world.json(&["--as", "c", "feed"]), "messages"), ["in two"]);
    assert_eq!(world.json(&["feed"])["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn search_finds_words_phrases_and_beginnings_and_nothing_foreign() {
    let world = World::with_peers();
    world.ok(&["register", "carol"]);
    world.ok(&["--as", "alice", "send", "bob", "The build failed on línux"]);
    world.ok(&["--as", "alice", "send", "--subject", "deployment", "bob", "went well"]);
    world.ok(&["--as", "carol", "send", "alice", "the failed build"]);
    let found = |args: &[&str]| {
        let mut all = vec!["search"];
        all.extend(args);
        let output = world.run(&[&["--json"], all.as_slice()].concat());
        let value: Value = serde_json::from_str(stdout(&output).lines().next().unwrap()).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(value["messages"] == Value::Array(vec![]))));
        texts(&value, "messages")
    };
    assert_eq!(found(&["build", "failed"]).len(), 2);
    assert_eq!(found(&["\"build failed\""]), ["The build failed on línux"]);
    assert_eq!(found(&["deploy*"]), ["went well"]);
    assert_eq!(found(&["linux"]).len(), 1);
    assert!(found(&["nothing"]).is_empty());
    assert_eq!(found(&["build", "--from", "carol"]).len(), 1);
    assert_eq!(found(&["--as", "bob", "build"]).len(), 1);
    // What an older client sent is found too.
    world.sql("INSERT INTO messages (id, from_agent, to_agent, content, group_id) VALUES ('old', 'bob', 'alice', 'antique words', '')");
    assert_eq!(found(&["antique"]), ["antique words"]);
    for hostile in ["a AND", "NEAR(", "col:x", "\"unbalanced", "x^2", "(y", "z*w"] {
        let output = world.run(&["search", "--", hostile]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{hostile}: {}", stderr(&output));
    }
    world.fails(2, &["search", "***"]);
}

#[test]
fn who_wrote_to_whom_is_looked_up_and_not_walked_through() {
    let world = World::with_peers();
    // What answers such questions must name both of the two in its index, or each costs as many rows as the busier
    // of them has messages: of `send`, under the lock that all writers wait for.
    let plan = |sql: &str| {
        let conn = world.sqlite();
        let mut rows = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = rows.parameter_count();
        let lines: Vec<String> = rows
            .query_map(agor_common::db::rusqlite::params_from_iter(vec![1; count]), |row| row.get("detail"))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        lines.join("\n")
    };
    let looked_up = "idx_messages_from (from_agent=? AND to_agent=?";
    let history = plan(btmsg::cmd::BETWEEN);
    assert_eq!(history.matches(looked_up).count(), 2, "{history}");
    let answers = plan(&btmsg::policy::Tie::Answers.between());
    assert!(answers.contains(looked_up), "{answers}");
}

#[test]
fn the_graph_is_what_send_obeys() {
    let world = World::new();
    for (id, role, group) in [
        ("root", "admin", ""),
        ("m", "manager", "g"),
        ("p", "project", "g"),
        ("q", "project", "h"),
        ("r", "project", "i"),
    ] {
        world.ok(&["register", id, id, role, group]);
    }
    world.ok(&["allow", "p", "q"]);
    world.ok(&["deny", "m", "p"]);
    world.ok(&["--as", "root", "send", "r", "an answer is permitted"]);
    let graph = world.json(&["graph"]);
    let mut edges: Vec<(String, String)> = Vec::new();
    for edge in graph["edges"].as_array().unwrap() {
        let end = |key: &str| edge[key].as_str().unwrap().to_owned();
        edges.push((end("from"), end("to")));
        if edge["both"] == true {
            edges.push((end("to"), end("from")));
        }
    }
    for from in ["root", "m", "p", "q", "r"] {
        for to in ["root", "m", "p", "q", "r"].into_iter().filter(|to| *to != from) {
            let sent = world.run(&["--as", from, "send", "--ttl", "100d", to, "x"]).status.code();
            let may = edges.contains(&(from.to_owned(), to.to_owned()));
            assert_eq!(sent, Some(if may { 0 } else { 77 }), "{from} to {to}: {edges:?}");
            world.sql("DELETE FROM messages WHERE content = 'x'");
        }
    }
}

#[test]
fn the_trail_names_who_did_what_and_an_altered_row() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "hi"]);
    world.ok(&["--as", "bob", "read"]);
    let rows: Vec<Value> =
        world.ok(&["--json", "audit"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["agent"].as_str().unwrap(), row["event"].as_str().unwrap())).collect();
    assert_eq!(events, [("", "register"), ("", "register"), ("alice", "send"), ("bob", "read")]);
    assert_eq!(world.ok(&["--json", "audit", "--type", "send", "--agent", "alice"]).lines().count(), 1);
    assert_eq!(world.ok(&["audit", "--since", "2999-01-01T00:00:00Z"]), "");
    assert_eq!(world.json(&["audit", "verify"])["verified"], 4);
    world.sql("UPDATE audit_log SET detail = '{}' WHERE id = 3");
    let error = world.fails(1, &["audit", "verify"]);
    assert!(error.contains("row 3"), "{error}");
    let output = world.run(&["--json", "audit", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(serde_json::from_str::<Value>(&stdout(&output)).unwrap()["broken"]["id"], 3);
}

#[test]
fn following_the_trail_shows_rows_as_they_come() {
    let world = World::with_peers();
    let mut follow = world
        .btmsg(&["--json", "audit", "--follow", "--limit", "0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    // Sent until the follower, whose start is its own affair, has seen one.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&stop);
    let reader = std::thread::spawn(move || {
        let line = lines.next().unwrap().unwrap();
        seen.store(true, std::sync::atomic::Ordering::SeqCst);
        line
    });
    crate::world::eventually("a row is followed", || {
        world.ok(&["--as", "alice", "send", "bob", "hi"]);
        stop.load(std::sync::atomic::Ordering::SeqCst)
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&reader.join().unwrap()).unwrap()["event"], "send");
}

#[test]
fn prune_takes_what_is_old_and_done_with_and_nothing_else() {
    let world = World::with_peers();
    for n in 0..4 {
        world.ok(&["--as", "alice", "send", "bob", &format!("findme{n}")]);
    }
    world.ok(&["unregister", "bob"]);
    world.fails(69, &["--as", "alice", "send", "bob", "waits"]);
    let long_ago = "1000";
    world.sql(&format!(
        "UPDATE messages SET sent_ms = {long_ago}; UPDATE dead_letter_queue SET sent_ms = {long_ago};
         UPDATE messages SET read = 1, acked_ms = {long_ago} WHERE content IN ('findme0', 'findme1')"
    ));
    assert_eq!(world.json(&["prune", "--dry-run"])["removed"]["messages"], 2);
    assert_eq!(world.number("SELECT count(*) FROM messages"), 4);
    let pruned = world.json(&["prune"]);
    assert_eq!(pruned["removed"]["messages"], 2);
    assert_eq!(pruned["removed"]["dead_letters"], 0);
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE read = 0"), 2);
    assert_eq!(world.number("SELECT count(*) FROM dead_letter_queue"), 1);
    assert_eq!(world.number("SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'findme0'"), 0);
    assert_eq!(world.number("SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'findme2'"), 1);
    // Everything of the trail goes, and what comes after can still be verified.
    std::thread::sleep(std::time::Duration::from_millis(5));
    let before = world.number("SELECT max(id) FROM audit_log");
    world.ok(&["prune", "--older-than", "0s"]);
    assert!(world.number("SELECT min(id) FROM audit_log") > before);
    world.assert_sound();
}

#[test]
fn export_is_everything_a_line_each() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "send", "bob", "hi"]);
    let lines: Vec<Value> =
        world.ok(&["export"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["schema"] == 1));
    let count = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    assert_eq!((count("agent"), count("message"), count("audit")), (2, 1, 3));
    assert_eq!(world.ok(&["export", "--only", "messages"]).lines().count(), 1);
    assert_eq!(world.ok(&["export", "--only", "messages", "--since", "2999-01-01T00:00:00Z"]), "");
    let stats = world.json(&["stats"]);
    assert_eq!(
        (stats["messages"]["unread"].as_i64(), stats["agents"]["active"].as_i64()),
        (Some(1), Some(2))
    );
    assert!(world.ok(&["status", "--check"]).contains("1 unread"));
}

#[test]
fn events_are_checked_before_they_are_handed_on() {
    let world = World::new();
    world.ok(&["log", "info", "hook.ran", "file=src/main.rs", "n=3"]);
    world.fails(2, &["log", "loud", "x"]);
    world.fails(2, &["log", "info"]);
    world.fails(2, &["log", "info", "x", "novalue"]);
    let output = world.with_input(
        &["--json", "log", "-"],
        b"{\"event\":\"a\",\"level\":\"warn\",\"n\":1}\n\n{\"level\":1}\nnot json\n",
    );
    assert_eq!(output.status.code(), Some(65));
    assert!(stderr(&output).contains("line 3") && stderr(&output).contains("line 4"), "{}", stderr(&output));
    let first = stdout(&output).lines().next().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["events"], 1);
}
