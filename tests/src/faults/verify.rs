//! What must hold after a run, whatever was done to the pipeline in it.

use std::collections::BTreeMap;
use std::path::Path;

use agor_common::db::{Access, open_bare, rusqlite};

use super::ledger::Ledger;
use super::pipeline::RECEIVERS;
use crate::World;

/// A message as the database has it.
#[derive(Debug, Clone)]
struct Row {
    id: String,
    to: String,
    key: String,
    read: bool,
    dead: bool,
}

/// The number that a sender put at the start of a body.
const KEY: &str = "substr(content, 1, instr(content, ' ') - 1)";

fn rows(conn: &rusqlite::Connection) -> rusqlite::Result<Vec<Row>> {
    let mut rows = Vec::new();
    // A dead letter that was redriven is among the messages again, so only the open ones count beside them.
    for (sql, dead) in [
        (
            format!("SELECT id, to_agent, {KEY}, read FROM messages WHERE from_agent IN ('alice', 'bob')"),
            false,
        ),
        (
            format!(
                "SELECT coalesce(message_id, ''), to_agent, {KEY}, 0 FROM dead_letter_queue
                 WHERE from_agent IN ('alice', 'bob') AND redriven_ms IS NULL"
            ),
            true,
        ),
    ] {
        let mut statement = conn.prepare(&sql)?;
        let found = statement.query_map([], |row| {
            Ok(Row { id: row.get(0)?, to: row.get(1)?, key: row.get(2)?, read: row.get(3)?, dead })
        })?;
        for row in found {
            rows.push(row?);
        }
    }
    Ok(rows)
}

/// Mail for the receivers that nobody has acknowledged yet: queued, leased, and parked but to be redriven.
pub fn outstanding(data: &Path) -> Result<u64, String> {
    let count = || -> Result<u64, Box<dyn std::error::Error>> {
        let conn = open_bare(&data.join("btmsg.db"), Access::Read)?;
        let names = RECEIVERS.map(|name| format!("'{name}'")).join(",");
        let count: i64 = conn.query_row(
            &format!(
                "SELECT (SELECT count(*) FROM messages WHERE read = 0 AND to_agent IN ({names}))
                      + (SELECT count(*) FROM dead_letter_queue WHERE redriven_ms IS NULL
                         AND reason IN ('offline', 'crashed', 'stalled') AND to_agent IN ({names}))"
            ),
            [],
            |row| row.get(0),
        )?;
        Ok(u64::try_from(count)?)
    };
    count().map_err(|error| format!("count what is outstanding: {error}"))
}

/// Sums of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Messages that senders tried to send.
    pub tried: usize,
    /// Those that were acknowledged to their sender.
    pub acknowledged: usize,
    /// Those refused with an error.
    pub refused: usize,
    /// Deliveries, also those that were not acknowledged.
    pub delivered: usize,
    /// Messages acknowledged by a receiver.
    pub acked: usize,
    /// Messages that are dead letters in the end.
    pub dead: usize,
}

/// Holds the logs against `btmsg.db`. What does not fit is said in `wrong`.
pub fn mail(data: &Path, ledger: &Ledger, wrong: &mut Vec<String>) -> Mail {
    let conn = match open_bare(&data.join("btmsg.db"), Access::Read) {
        Ok(conn) => conn,
        Err(error) => {
            wrong.push(format!("open btmsg.db after the run: {error}"));
            return Mail::default();
        }
    };
    let rows = match rows(&conn) {
        Ok(rows) => rows,
        Err(error) => {
            wrong.push(format!("read the messages after the run: {error}"));
            return Mail::default();
        }
    };
    let mut by_key: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        by_key.entry(&row.key).or_default().push(row);
    }

    for (key, sent) in &ledger.sent {
        let there = by_key.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        if sent.acknowledged() && there.is_empty() {
            wrong.push(format!("LOST: {key} was acknowledged ({:?}) and is nowhere", sent.outcomes));
        }
        for id in &sent.ids {
            if !there.iter().any(|row| row.id == *id) {
                wrong.push(format!("LOST: id {id} was printed for {key} and is nowhere"));
            }
        }
        if there.len() > 1 {
            let what = if sent.keyed { "with a dedup key" } else { "without a key" };
            wrong.push(format!("TWICE: {key}, {what}, is stored {} times: {there:?}", there.len()));
        }
        if sent.refused() && !there.is_empty() {
            wrong.push(format!("REFUSED BUT STORED: {key} ({:?}) is there: {there:?}", sent.outcomes));
        }
        if there.iter().any(|row| row.to != sent.to) {
            wrong.push(format!("ASTRAY: {key} for {} is at {there:?}", sent.to));
        }
    }
    for key in by_key.keys().filter(|key| !ledger.sent.contains_key(**key)) {
        wrong.push(format!("INVENTED: {key:?} was never sent"));
    }

    for row in rows.iter().filter(|row| row.read) {
        if !ledger.received.get(&row.id).is_some_and(|received| received.acking) {
            wrong.push(format!(
                "SWALLOWED: {} ({}) is acknowledged, and no receiver did that",
                row.id, row.key
            ));
        }
    }
    for (id, received) in &ledger.received {
        if received.acked.len() > 1 {
            wrong.push(format!("ACKED TWICE: {id}: {:?}", received.acked));
        }
        let first = received.acked.first();
        if first.is_some_and(|acked| received.got.iter().any(|began| began > acked)) {
            wrong.push(format!("DELIVERED AGAIN: {id} acked at {first:?}, recv began at {:?}", received.got));
        }
        if first.is_some() && !rows.iter().any(|row| row.id == *id && row.read) {
            wrong.push(format!("ACK LOST: {id} was acked and is not so in the database"));
        }
    }

    Mail {
        tried: ledger.sent.len(),
        acknowledged: ledger.sent.values().filter(|sent| sent.acknowledged()).count(),
        refused: ledger.sent.values().filter(|sent| sent.refused()).count(),
        delivered: ledger.received.values().map(|received| received.got.len()).sum(),
        acked: ledger.received.values().filter(|received| !received.acked.is_empty()).count(),
        dead: rows.iter().filter(|row| row.dead).count(),
    }
}

/// `integrity_check` of both databases and the audit chain.
pub fn databases(world: &World, wrong: &mut Vec<String>) {
    for database in ["btmsg.db", "sessions.db"] {
        let path = world.path("data").join(database);
        let check = open_bare(&path, Access::Read).map_err(|error| error.to_string()).and_then(|conn| {
            conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
                .map_err(|error| error.to_string())
        });
        if check.as_deref() != Ok("ok") {
            wrong.push(format!("INTEGRITY: {database}: {check:?}"));
        }
    }
    let audit = world.run("btmsg", &["audit", "verify"]);
    if !audit.status.success() {
        wrong.push(format!("AUDIT: {:?} {}{}", audit.status, crate::stdout(&audit), crate::stderr(&audit)));
    }
}

/// Bytes in the larger of the two write-ahead logs.
pub fn wal_bytes(data: &Path) -> u64 {
    ["btmsg.db-wal", "sessions.db-wal"]
        .iter()
        .filter_map(|name| std::fs::metadata(data.join(name)).ok())
        .map(|meta| meta.len())
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    //! Each promise is broken once, to see that it is noticed.

    use super::*;

    /// Three messages: one acknowledged, one waiting, one a dead letter.
    const GOOD: &str = "
        INSERT INTO messages (id, from_agent, to_agent, content, read) VALUES
            ('A', 'alice', 'pool', 'alice/1/0 xx', 1), ('B', 'alice', 'pool', 'alice/1/1 xx', 0);
        INSERT INTO dead_letter_queue (message_id, from_agent, to_agent, content, reason)
            VALUES ('C', 'alice', 'worker', 'alice/1/2 xx', 'crashed');";
    const LOG: &str = "1 try alice/1/0 pool keyed 0\n2 sent alice/1/0 pool 0 A \n\
        3 try alice/1/1 pool plain 0\n4 sent alice/1/1 pool 0 B \n\
        5 try alice/1/2 worker keyed 0\n6 sent alice/1/2 worker 69 C \n\
        7 try alice/1/3 worker plain 0\n8 sent alice/1/3 worker 74 - disk full\n\
        9 recv\n10 got A\n11 acking A\n12 acked A 0 \n";

    fn judge(sql: &str, log: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let db = mail_db(dir.path());
        db.conn().execute_batch(GOOD).unwrap();
        db.conn().execute_batch(sql).unwrap();
        drop(db);
        let file = dir.path().join("log");
        std::fs::write(&file, format!("{LOG}{log}")).unwrap();
        let mut ledger = Ledger::default();
        ledger.read(&file);
        let mut wrong = Vec::new();
        mail(dir.path(), &ledger, &mut wrong);
        wrong
    }

    fn mail_db(dir: &Path) -> agor_common::db::Db {
        agor_common::mail::open(&dir.join("btmsg.db"), agor_common::db::Options::create()).unwrap()
    }

    #[test]
    fn what_is_right_is_not_complained_about() {
        assert_eq!(judge("", ""), Vec::<String>::new());
    }

    #[test]
    fn every_broken_promise_is_noticed() {
        for (sql, log, complaint) in [
            ("DELETE FROM messages WHERE id = 'B'", "", "LOST: alice/1/1"),
            ("DELETE FROM dead_letter_queue", "", "LOST: alice/1/2"),
            ("UPDATE messages SET id = 'X' WHERE id = 'B'", "", "LOST: id B"),
            (
                "INSERT INTO messages (id, from_agent, to_agent, content) VALUES ('D', 'alice', 'pool', 'alice/1/0 xx')",
                "",
                "TWICE: alice/1/0",
            ),
            (
                "INSERT INTO messages (id, from_agent, to_agent, content) VALUES ('D', 'alice', 'worker', 'alice/1/3 x')",
                "",
                "REFUSED BUT STORED: alice/1/3",
            ),
            ("UPDATE messages SET to_agent = 'coder' WHERE id = 'B'", "", "ASTRAY: alice/1/1"),
            (
                "INSERT INTO messages (id, from_agent, to_agent, content) VALUES ('D', 'bob', 'pool', 'bob/1/0 xx')",
                "",
                "INVENTED: \"bob/1/0\"",
            ),
            ("UPDATE messages SET read = 1 WHERE id = 'B'", "", "SWALLOWED: B"),
            ("", "20 acked A 0 \n", "ACKED TWICE: A"),
            ("", "20 recv\n21 got A\n", "DELIVERED AGAIN: A"),
            ("UPDATE messages SET read = 0 WHERE id = 'A'", "", "ACK LOST: A"),
        ] {
            let wrong = judge(sql, log);
            assert!(wrong.iter().any(|what| what.starts_with(complaint)), "{complaint}: {wrong:?}");
        }
    }
}
