//! Databases of the earlier desktop app and its Python client, and that client on ours.

use crate::world::{World, skip, stderr, texts};

/// As the earlier system made them: no `application_id`, no column of ours, `sender_group_id` not there yet.
const OLDER: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE agents (id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, group_id TEXT NOT NULL,
        tier INTEGER NOT NULL DEFAULT 2, model TEXT, cwd TEXT, system_prompt TEXT, status TEXT DEFAULT 'stopped',
        last_active_at TEXT, created_at TEXT DEFAULT (datetime('now')));
    CREATE TABLE contacts (agent_id TEXT NOT NULL, contact_id TEXT NOT NULL, PRIMARY KEY (agent_id, contact_id));
    CREATE TABLE messages (id TEXT PRIMARY KEY, from_agent TEXT NOT NULL, to_agent TEXT NOT NULL,
        content TEXT NOT NULL, read INTEGER DEFAULT 0, reply_to TEXT, group_id TEXT NOT NULL,
        created_at TEXT DEFAULT (datetime('now')));
    CREATE INDEX idx_messages_to ON messages (to_agent, read);
    CREATE INDEX idx_messages_from ON messages (from_agent);
    CREATE TABLE channels (id TEXT PRIMARY KEY, name TEXT NOT NULL, group_id TEXT NOT NULL,
        created_by TEXT NOT NULL, created_at TEXT DEFAULT (datetime('now')));
    CREATE TABLE channel_members (channel_id TEXT NOT NULL, agent_id TEXT NOT NULL,
        joined_at TEXT DEFAULT (datetime('now')), PRIMARY KEY (channel_id, agent_id));
    CREATE TABLE channel_messages (id TEXT PRIMARY KEY, channel_id TEXT NOT NULL, from_agent TEXT NOT NULL,
        content TEXT NOT NULL, created_at TEXT DEFAULT (datetime('now')));
    CREATE TABLE dead_letter_queue (id INTEGER PRIMARY KEY AUTOINCREMENT, from_agent TEXT NOT NULL,
        to_agent TEXT NOT NULL, content TEXT NOT NULL, error TEXT NOT NULL, created_at TEXT DEFAULT (datetime('now')));
    CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT NOT NULL,
        event_type TEXT NOT NULL, detail TEXT NOT NULL, created_at TEXT DEFAULT (datetime('now')));
    INSERT INTO agents (id, name, role, group_id, tier, status, last_active_at) VALUES
        ('mgr', 'Manager', 'manager', 'g1', 1, 'active', '2026-01-01 00:00:00');
    INSERT INTO agents (id, name, role, group_id) VALUES ('dev', 'Developer', 'project', 'g1');
    INSERT INTO contacts VALUES ('mgr', 'dev'), ('dev', 'mgr');
    INSERT INTO messages (id, from_agent, to_agent, content, group_id, created_at) VALUES
        ('0e2f7c0a-1', 'mgr', 'dev', 'second', 'g1', '2026-01-01 00:00:02'),
        ('f00f7c0a-2', 'mgr', 'dev', 'first', 'g1', '2026-01-01 00:00:01');
    INSERT INTO messages (id, from_agent, to_agent, content, read, group_id) VALUES ('r', 'dev', 'mgr', 'done', 1, 'g1');
    INSERT INTO channels (id, name, group_id, created_by) VALUES ('a1b2c3d4', 'general', 'g1', 'mgr');
    INSERT INTO channel_members (channel_id, agent_id) VALUES ('a1b2c3d4', 'mgr'), ('a1b2c3d4', 'dev');
    INSERT INTO channel_messages (id, channel_id, from_agent, content) VALUES ('c1', 'a1b2c3d4', 'mgr', 'welcome');
    INSERT INTO dead_letter_queue (from_agent, to_agent, content, error) VALUES ('mgr', 'dev', 'old letter', 'timeout');
    INSERT INTO audit_log (agent_id, event_type, detail) VALUES ('mgr', 'prompt', 'not json');
";

fn older() -> World {
    let world = World::new();
    std::fs::create_dir(world.data()).unwrap();
    world.sql(OLDER);
    world
}

#[test]
fn an_older_database_works_as_it_is() {
    let world = older();
    assert_eq!(world.inbox("dev"), ["first", "second"]);
    world.ok(&["--as", "mgr", "send", "dev", "third"]);
    assert_eq!(world.inbox("dev"), ["first", "second", "third"]);
    assert_eq!(
        texts(&world.json(&["--as", "dev", "channel", "history", "general"]), "messages"),
        ["welcome"]
    );
    world.ok(&["--as", "dev", "channel", "post", "a1b2", "thanks"]);
    assert_eq!(world.inbox("mgr"), ["thanks"]);
    // A letter of the earlier system has no reason word, is not sent by itself, and can be by hand.
    assert_eq!(texts(&world.json(&["dlq", "list"]), "dead_letters"), ["old letter"]);
    world.ok(&["--as", "dev", "heartbeat"]);
    assert_eq!(world.inbox("dev").len(), 3);
    world.ok(&["dlq", "redrive", "1"]);
    assert_eq!(world.inbox("dev")[3], "old letter");
    assert_eq!(world.json(&["search", "second"])["messages"].as_array().unwrap().len(), 1);
    assert_eq!(world.ok(&["audit"]).lines().filter(|line| line.contains("not json")).count(), 1);
    world.assert_sound();
}

#[test]
fn twenty_processes_adopt_it_once() {
    let world = older();
    let children: Vec<_> = (0..20)
        .map(|n| {
            let id = format!("n{n}");
            world.btmsg(&["register", &id]).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(world.number("SELECT count(*) FROM agents"), 22);
    assert_eq!(world.inbox("dev"), ["first", "second"]);
    world.assert_sound();
}

/// What the Python client does, statement by statement, on a file that is ours already.
const CLIENT: &str = r#"
import sqlite3, sys, uuid
db = sqlite3.connect(sys.argv[1], timeout=5)
db.row_factory = sqlite3.Row
db.execute("PRAGMA journal_mode=WAL")
me, to = "mgr", "dev"
db.execute("INSERT OR REPLACE INTO agents (id, name, role, group_id, tier) VALUES (?, ?, ?, ?, ?)",
           ("late", "Late", "tester", "g1", 1))
db.execute("INSERT INTO messages (id, from_agent, to_agent, content, group_id, sender_group_id) VALUES (?, ?, ?, ?, ?, ?)",
           (str(uuid.uuid4()), me, to, "from python 'quoted' \"twice\" \\", "g1", "g1"))
db.execute("INSERT INTO messages (id, from_agent, to_agent, content, group_id) VALUES (?, ?, ?, ?, ?)",
           ('odd "id" \\ here', me, to, "second from python", "g1"))
rows = db.execute("SELECT id, content FROM messages WHERE to_agent = ? AND read = 0 ORDER BY created_at", (to,)).fetchall()
print("|".join(row["content"] for row in rows))
db.execute("UPDATE messages SET read = 1 WHERE to_agent = ? AND content = ?", (to, "hello from btmsg"))
db.execute("INSERT INTO heartbeats (agent_id, timestamp) VALUES (?, strftime('%s','now')) "
           "ON CONFLICT(agent_id) DO UPDATE SET timestamp = excluded.timestamp", (me,))
db.execute("INSERT INTO audit_log (agent_id, event_type, detail) VALUES (?, 'prompt', 'x')", (me,))
db.execute("INSERT INTO channel_messages (id, channel_id, from_agent, content) VALUES (?, ?, ?, ?)", ("py", "none", me, "x"))
db.execute("INSERT OR IGNORE INTO seen_messages (session_id, message_id) VALUES (?, ?)", ("s", "m"))
db.execute("INSERT INTO tasks (id, title, created_by, group_id) VALUES ('t', 'T', ?, 'g1')", (me,))
db.execute("INSERT INTO task_comments (id, task_id, agent_id, content) VALUES ('k', 't', ?, 'x')", (me,))
db.commit()
print(db.execute("PRAGMA integrity_check").fetchone()[0])
"#;

#[test]
fn an_older_client_keeps_working_on_our_file() {
    let world = World::new();
    world.ok(&["register", "mgr", "Manager", "manager", "g1"]);
    world.ok(&["register", "dev", "Developer", "project", "g1"]);
    world.ok(&["--as", "mgr", "send", "dev", "hello from btmsg"]);
    let client = world.command("python3").args(["-c", CLIENT]).arg(world.db()).output();
    let Ok(output) = client else { return skip("python3 is not installed") };
    assert!(output.status.success(), "{}", stderr(&output));
    let said = crate::world::stdout(&output);
    assert!(said.starts_with("hello from btmsg|") && said.trim_end().ends_with("ok"), "{said}");
    // Its INSERT is a queued message, its UPDATE an acknowledgement.
    assert_eq!(world.inbox("dev"), ["from python 'quoted' \"twice\" \\", "second from python"]);
    let taken = world.json(&["--as", "dev", "recv"]);
    world.ok(&[
        "--as",
        "dev",
        "ack",
        taken["id"].as_str().unwrap(),
        "--token",
        taken["token"].as_str().unwrap(),
    ]);
    assert_eq!(world.inbox("dev").len(), 1);
    // Two messages have no audit row of ours; the trigger wrote theirs, and the next append sealed them.
    assert_eq!(world.json(&["audit", "verify"])["unsealed"], 0);
    assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE event_type = 'send'"), 3);
    world.assert_sound();
}

#[test]
fn a_file_of_the_first_version_is_brought_up_to_date_by_whoever_comes_first() {
    let world = World::with_peers();
    world.ok(&["--as", "alice", "channel", "create", "dev"]);
    world.ok(&["--as", "alice", "send", "bob", "from before"]);
    world.sql(
        "PRAGMA user_version = 1; DROP INDEX idx_dead_seq; DROP INDEX idx_messages_from;
         CREATE INDEX idx_messages_from ON messages (from_agent);
         ALTER TABLE channel_messages DROP COLUMN encoding",
    );
    let crowd: Vec<_> = (0..20)
        .map(|n| world.btmsg(&["--as", "alice", "channel", "post", "dev", &format!("m{n}")]).spawn().unwrap())
        .collect();
    for mut one in crowd {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(world.number("PRAGMA user_version"), 2);
    assert_eq!(
        world.json(&["--as", "alice", "channel", "history", "dev"])["messages"].as_array().unwrap().len(),
        20
    );
    assert_eq!(world.inbox("bob"), ["from before"]);
    // An older client makes its indexes where their names are missing: they are not.
    world.sql("CREATE INDEX IF NOT EXISTS idx_messages_from ON messages (from_agent)");
    let columns = world.texts("SELECT name FROM pragma_index_info('idx_messages_from') ORDER BY seqno");
    assert_eq!(columns, ["from_agent", "to_agent", "seq"]);
    world.assert_sound();
}
