//! The tables. Names and columns of the earlier system stay; what is ours is added beside them.
//!
//! Two rules for everything that is added: an older client's INSERT, which names none of our columns, must
//! succeed, and nothing it runs into may need a function that its SQLite lacks (so no FTS5 in a trigger).

use rusqlite::Transaction;

use crate::db::{Schema, add_column, rusqlite};

/// The schema of `btmsg.db`.
pub const SCHEMA: Schema = Schema {
    what: "a btmsg database",
    application_id: 0x6274_6d73, // "btms"
    migrations: &[v1, v2],
    legacy_tables: &["agents", "messages", "contacts", "channels"],
};

/// The columns that a message takes along to the dead letter queue and back, named alike in both tables.
pub const CARRIED: &str = "reply_to, group_id, sender_group_id, seq, sent_ms, subject, priority, thread_id, \
    supersedes, channel_id, encoding, kind, not_before_ms, expires_ms, max_deliveries, traceparent, indexed";

/// As the earlier system made them.
const LEGACY: &str = "
CREATE TABLE IF NOT EXISTS agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    role TEXT NOT NULL DEFAULT '',
    group_id TEXT NOT NULL DEFAULT '',
    tier INTEGER NOT NULL DEFAULT 2,
    model TEXT,
    cwd TEXT,
    system_prompt TEXT,
    status TEXT DEFAULT 'stopped',
    last_active_at TEXT,
    created_at TEXT DEFAULT (datetime('now'))
);
CREATE TABLE IF NOT EXISTS contacts (
    agent_id TEXT NOT NULL,
    contact_id TEXT NOT NULL,
    PRIMARY KEY (agent_id, contact_id)
);
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY,
    from_agent TEXT NOT NULL,
    to_agent TEXT NOT NULL,
    content TEXT NOT NULL,
    read INTEGER DEFAULT 0,
    reply_to TEXT,
    group_id TEXT NOT NULL DEFAULT '',
    sender_group_id TEXT,
    created_at TEXT DEFAULT (datetime('now'))
);
CREATE INDEX IF NOT EXISTS idx_messages_to ON messages (to_agent, read);
CREATE INDEX IF NOT EXISTS idx_messages_from ON messages (from_agent);
CREATE INDEX IF NOT EXISTS idx_messages_group ON messages (group_id);
CREATE INDEX IF NOT EXISTS idx_messages_reply ON messages (reply_to);
CREATE TABLE IF NOT EXISTS channels (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    group_id TEXT NOT NULL DEFAULT '',
    created_by TEXT NOT NULL DEFAULT '',
    created_at TEXT DEFAULT (datetime('now'))
);
CREATE TABLE IF NOT EXISTS channel_members (
    channel_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    joined_at TEXT DEFAULT (datetime('now')),
    PRIMARY KEY (channel_id, agent_id)
);
CREATE TABLE IF NOT EXISTS channel_messages (
    id TEXT PRIMARY KEY,
    channel_id TEXT NOT NULL,
    from_agent TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at TEXT DEFAULT (datetime('now'))
);
CREATE INDEX IF NOT EXISTS idx_channel_messages ON channel_messages (channel_id, created_at);
CREATE TABLE IF NOT EXISTS heartbeats (
    agent_id TEXT PRIMARY KEY,
    timestamp INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS dead_letter_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    from_agent TEXT NOT NULL,
    to_agent TEXT NOT NULL,
    content TEXT NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    created_at TEXT DEFAULT (datetime('now'))
);
CREATE TABLE IF NOT EXISTS audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    created_at TEXT DEFAULT (datetime('now'))
);
CREATE TABLE IF NOT EXISTS seen_messages (
    session_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    seen_at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    PRIMARY KEY (session_id, message_id)
);
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT DEFAULT '',
    status TEXT DEFAULT 'todo',
    priority TEXT DEFAULT 'medium',
    assigned_to TEXT,
    created_by TEXT NOT NULL DEFAULT '',
    group_id TEXT NOT NULL DEFAULT '',
    parent_task_id TEXT,
    sort_order INTEGER DEFAULT 0,
    created_at TEXT DEFAULT (datetime('now')),
    updated_at TEXT DEFAULT (datetime('now')),
    version INTEGER DEFAULT 1
);
CREATE TABLE IF NOT EXISTS task_comments (
    id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at TEXT DEFAULT (datetime('now'))
);
";

/// Columns that a file of the earlier system may or may not have.
const LATER_LEGACY: &[(&str, &str)] =
    &[("messages", "sender_group_id TEXT"), ("tasks", "version INTEGER DEFAULT 1")];

/// Our columns. A message that is moved to the dead letter queue keeps all of [`CARRIED`].
const ADDED: &[(&str, &[&str])] = &[
    (
        "agents",
        &[
            // Why the status is what it is, and since when (ms).
            "state_reason TEXT",
            "state_ms INTEGER",
            // Seconds without a heartbeat after which the agent counts as stalled.
            "stall_after_s INTEGER",
            // The supervisor that answers for the agent: JSON of its pid, start time, boot, pid namespace.
            "lease TEXT",
        ],
    ),
    (
        "messages",
        &[
            // The audit row of the send: the one order that no clock can disturb.
            "seq INTEGER",
            "sent_ms INTEGER",
            "subject TEXT",
            "priority INTEGER DEFAULT 0",
            "thread_id TEXT",
            "supersedes TEXT",
            "superseded_by TEXT",
            "channel_id TEXT",
            "encoding TEXT",
            "kind TEXT",
            "not_before_ms INTEGER",
            "expires_ms INTEGER",
            "max_deliveries INTEGER",
            "traceparent TEXT",
            "indexed INTEGER DEFAULT 0",
            "deliveries INTEGER DEFAULT 0",
            "lease_token TEXT",
            "lease_until_ms INTEGER",
            "lease_holder TEXT",
            "acked_ms INTEGER",
        ],
    ),
    ("channel_messages", &["seq INTEGER", "sent_ms INTEGER", "subject TEXT", "traceparent TEXT"]),
    (
        "heartbeats",
        &[
            "at_ms INTEGER",
            // CLOCK_MONOTONIC of that boot: an age that no clock step changes.
            "mono_ms INTEGER",
            "boot_id TEXT",
            "status TEXT",
            "note TEXT",
            "context REAL",
            "conflict TEXT",
            "review INTEGER",
        ],
    ),
    (
        "dead_letter_queue",
        &[
            "message_id TEXT",
            "reason TEXT",
            "dead_ms INTEGER",
            "attempts INTEGER DEFAULT 0",
            "redriven_ms INTEGER",
            "redriven_by TEXT",
            "redriven_to TEXT",
            "purged_ms INTEGER",
            "sent_at TEXT",
            "reply_to TEXT",
            "group_id TEXT",
            "sender_group_id TEXT",
            "seq INTEGER",
            "sent_ms INTEGER",
            "subject TEXT",
            "priority INTEGER DEFAULT 0",
            "thread_id TEXT",
            "supersedes TEXT",
            "channel_id TEXT",
            "encoding TEXT",
            "kind TEXT",
            "not_before_ms INTEGER",
            "expires_ms INTEGER",
            "max_deliveries INTEGER",
            "traceparent TEXT",
            "indexed INTEGER DEFAULT 0",
        ],
    ),
    ("audit_log", &["at_ms INTEGER", "hash BLOB"]),
];

/// Our tables, indexes and the one trigger, which gives an older client's message its place in the order.
const OURS: &str = r#"
CREATE INDEX IF NOT EXISTS idx_messages_queue ON messages (to_agent, priority DESC, seq) WHERE read = 0;
CREATE INDEX IF NOT EXISTS idx_messages_seq ON messages (seq);
CREATE INDEX IF NOT EXISTS idx_messages_thread ON messages (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_messages_expiry ON messages (expires_ms) WHERE read = 0 AND expires_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_messages_unindexed ON messages (seq) WHERE indexed = 0;
CREATE INDEX IF NOT EXISTS idx_dead_open ON dead_letter_queue (to_agent, seq)
    WHERE redriven_ms IS NULL AND purged_ms IS NULL;
CREATE INDEX IF NOT EXISTS idx_dead_message ON dead_letter_queue (message_id) WHERE message_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS mail_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dedup (
    from_agent TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    result TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (from_agent, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS denials (
    agent_id TEXT NOT NULL,
    contact_id TEXT NOT NULL,
    PRIMARY KEY (agent_id, contact_id)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS messages_fts USING fts5 (
    subject, content, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER IF NOT EXISTS message_of_older_client AFTER INSERT ON messages WHEN NEW.seq IS NULL
BEGIN
    INSERT INTO audit_log (agent_id, event_type, detail) VALUES (NEW.from_agent, 'send',
        '{"client":"older","ids":["' || replace(replace(NEW.id, '\', '\\'), '"', '\"') || '"]}');
    UPDATE messages SET seq = (SELECT max(id) FROM audit_log) WHERE id = NEW.id;
END;
"#;

/// Version 1: the earlier system's tables, ours beside them, existing messages put in their order.
fn v1(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(LEGACY)?;
    for (table, column) in LATER_LEGACY {
        add_column(tx, table, column)?;
    }
    for (table, columns) in ADDED {
        for column in *columns {
            add_column(tx, table, column)?;
        }
    }
    // Before the first audit row of ours there is room below 1 for every message that is there already.
    tx.execute_batch(
        "WITH ordered AS (
             SELECT rowid AS r, row_number() OVER (ORDER BY created_at, rowid)
                 - (SELECT count(*) FROM messages) AS s FROM messages
         )
         UPDATE messages SET seq = ordered.s FROM ordered
         WHERE messages.rowid = ordered.r AND messages.seq IS NULL",
    )?;
    tx.execute_batch(OURS)
}

/// Version 2: who wrote to whom and what shares a place in the order are found without a walk, and a channel's own
/// row says how its text is encoded.
///
/// The index on senders keeps its name, by which older clients know that it is there, and its first column.
fn v2(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    add_column(tx, "channel_messages", "encoding TEXT")?;
    tx.execute_batch(
        "DROP INDEX IF EXISTS idx_messages_from;
         CREATE INDEX idx_messages_from ON messages (from_agent, to_agent, seq);
         CREATE INDEX IF NOT EXISTS idx_dead_seq ON dead_letter_queue (seq);",
    )
}
