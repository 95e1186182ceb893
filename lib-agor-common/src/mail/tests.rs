//! The schema, its adoption of older files, the audit chain and presence.

use rusqlite::Connection;

use super::dead::{self, Reason};
use super::presence::{self, Beat, Clock, Offline, STALL_AFTER_S};
use super::{agents, audit, messages};
use crate::db::{Db, Options, rusqlite};
use crate::process::Identity;

struct Scratch {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Scratch {
    fn new() -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("btmsg.db");
        Scratch { _dir: dir, path }
    }

    fn open(&self) -> Db {
        super::open(&self.path, Options::create()).unwrap()
    }

    /// Another program on the same file, with no idea of our columns.
    fn older_client(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }
}

fn register(db: &mut Db, id: &str) {
    db.transact(|tx| agents::register(tx, "", id, &agents::Registration::default())).unwrap();
}

fn presence_of(db: &Db, id: &str, now: &Clock) -> presence::Presence {
    presence::of(db.conn(), id, now, STALL_AFTER_S).unwrap().unwrap()
}

const OLDER: &str = "
    CREATE TABLE agents (id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, group_id TEXT NOT NULL,
        tier INTEGER NOT NULL DEFAULT 2, model TEXT, cwd TEXT, system_prompt TEXT, status TEXT DEFAULT 'stopped',
        last_active_at TEXT, created_at TEXT DEFAULT (datetime('now')));
    CREATE TABLE contacts (agent_id TEXT NOT NULL, contact_id TEXT NOT NULL, PRIMARY KEY (agent_id, contact_id));
    CREATE TABLE messages (id TEXT PRIMARY KEY, from_agent TEXT NOT NULL, to_agent TEXT NOT NULL,
        content TEXT NOT NULL, read INTEGER DEFAULT 0, reply_to TEXT, group_id TEXT NOT NULL,
        created_at TEXT DEFAULT (datetime('now')));
    INSERT INTO agents (id, name, role, group_id) VALUES ('a', 'A', 'manager', 'g'), ('b', 'B', 'project', 'g');
    INSERT INTO messages (id, from_agent, to_agent, content, group_id, created_at) VALUES
        ('m2', 'a', 'b', 'second', 'g', '2026-01-02 00:00:00'), ('m1', 'a', 'b', 'first', 'g', '2026-01-01 00:00:00'),
        ('m3', 'a', 'b', CAST(x'ff41' AS TEXT), 'g', '2026-01-03 00:00:00');
";

#[test]
fn an_older_file_is_adopted_and_older_clients_keep_working() {
    let scratch = Scratch::new();
    scratch.older_client().execute_batch(OLDER).unwrap();
    let mut db = scratch.open();
    let order: Vec<String> = {
        let mut rows = db.conn().prepare("SELECT id FROM messages ORDER BY seq").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(order, ["m1", "m2", "m3"]);
    let poisoned = messages::get(db.conn(), "m3").unwrap().unwrap();
    assert!(!poisoned.valid);

    scratch
        .older_client()
        .execute_batch(
            "INSERT INTO messages (id, from_agent, to_agent, content, group_id) VALUES ('m4', 'a', 'b', 'x', 'g');
             UPDATE messages SET read = 1 WHERE id = 'm1'",
        )
        .unwrap();
    let queued = messages::get(db.conn(), "m4").unwrap().unwrap();
    assert_eq!(queued.state(i64::MAX - 1), messages::State::Queued);
    assert!(queued.seq > poisoned.seq);
    assert_eq!(messages::get(db.conn(), "m1").unwrap().unwrap().state(0), messages::State::Acked);

    // Its row is in the trail and is sealed by the next one of ours.
    assert_eq!(audit::verify(db.conn()).unwrap().unsealed, 1);
    register(&mut db, "c");
    let verdict = audit::verify(db.conn()).unwrap();
    assert_eq!((verdict.verified, verdict.unsealed, verdict.broken), (2, 0, None));
}

#[test]
fn an_agent_that_never_ran_is_not_offline_and_a_stopped_one_is() {
    let scratch = Scratch::new();
    scratch.older_client().execute_batch(OLDER).unwrap();
    let mut db = scratch.open();
    let now = Clock::now();
    assert_eq!(presence_of(&db, "a", &now).offline, None);
    db.transact(|tx| presence::mark_stopped(tx, "supervise", "a", "asked to")).unwrap();
    let stopped = presence_of(&db, "a", &now);
    assert_eq!(stopped.offline, Some(Offline::Stopped));
    assert_eq!(stopped.why().unwrap(), "stopped: asked to");
    assert!(!db.transact(|tx| presence::mark_crashed(tx, "", "nobody", "x")).unwrap());
    // Unknown to the supervisor's caller is registered, known again is active.
    db.transact(|tx| presence::mark_active(tx, "supervise", "new", None)).unwrap();
    assert_eq!(presence_of(&db, "new", &now).offline, None);
}

#[test]
fn the_threshold_is_exact_and_clock_steps_do_not_count() {
    let scratch = Scratch::new();
    let mut db = scratch.open();
    register(&mut db, "a");
    let now = Clock::now();
    db.transact(|tx| presence::beat(tx, "a", "a", &Beat::default(), &now)).unwrap();
    let later = |seconds: i64, wall: i64| Clock {
        wall_ms: now.wall_ms + wall * 1000,
        mono_ms: now.mono_ms + seconds * 1000,
        boot_id: now.boot_id.clone(),
    };
    if !now.boot_id.is_empty() {
        assert_eq!(presence_of(&db, "a", &later(900, 900)).offline, None);
        assert_eq!(presence_of(&db, "a", &later(901, 901)).offline, Some(Offline::Stalled));
        assert_eq!(presence_of(&db, "a", &later(10, 7200)).offline, None);
        assert_eq!(presence_of(&db, "a", &later(10, -7200)).age_ms, Some(10_000));
    }
    // After a reboot, and for an older client's heartbeat, the wall clock is all there is.
    let rebooted = Clock { boot_id: "other".into(), ..later(0, 901) };
    assert_eq!(presence_of(&db, "a", &rebooted).offline, Some(Offline::Stalled));
    let then = now.wall_ms / 1000 - 1000;
    scratch.older_client().execute("UPDATE heartbeats SET timestamp = ?1", [then]).unwrap();
    assert_eq!(presence_of(&db, "a", &now).offline, Some(Offline::Stalled));
}

#[test]
fn a_living_supervisor_keeps_an_idle_agent_and_a_dead_one_is_a_crash() {
    let scratch = Scratch::new();
    let mut db = scratch.open();
    register(&mut db, "a");
    let now = Clock::now();
    db.transact(|tx| presence::beat(tx, "a", "a", &Beat::default(), &now)).unwrap();
    let late = Clock { wall_ms: now.wall_ms + 3_600_000, mono_ms: now.mono_ms + 3_600_000, ..now.clone() };
    let me = Identity::current();
    db.transact(|tx| presence::mark_active(tx, "supervise", "a", Some(&me))).unwrap();
    assert_eq!(presence_of(&db, "a", &late).offline, None);
    // The pid is in use, but by another process: a reused number is not the supervisor.
    let reused = Identity { start: me.start + 1, ..me };
    db.transact(|tx| presence::mark_active(tx, "supervise", "a", Some(&reused))).unwrap();
    assert_eq!(presence_of(&db, "a", &now).offline, Some(Offline::Crashed));
    db.transact(|tx| presence::beat(tx, "a", "a", &Beat::default(), &now)).unwrap();
    assert_eq!(presence_of(&db, "a", &now).offline, None);
}

#[test]
fn an_altered_row_is_named() {
    let scratch = Scratch::new();
    let mut db = scratch.open();
    for id in ["a", "b", "c", "d"] {
        register(&mut db, id);
    }
    let broken = |sql: &str| {
        let copy = Scratch::new();
        drop(copy.open());
        scratch
            .older_client()
            .execute("VACUUM INTO ?1", [copy.path.with_extension("2").to_str().unwrap()])
            .unwrap();
        let conn = Connection::open(copy.path.with_extension("2")).unwrap();
        conn.execute_batch(sql).unwrap();
        audit::verify(&conn).unwrap().broken.map(|(id, _)| id)
    };
    assert_eq!(broken("SELECT 1"), None);
    assert_eq!(broken("UPDATE audit_log SET detail = 'x' WHERE id = 2"), Some(2));
    assert_eq!(broken("UPDATE audit_log SET agent_id = 'x' WHERE id = 4"), Some(4));
    assert_eq!(broken("DELETE FROM audit_log WHERE id = 2"), Some(3));
    assert_eq!(broken("DELETE FROM audit_log WHERE id = 4"), Some(4));
    assert_eq!(broken("UPDATE audit_log SET hash = NULL WHERE id = 3"), Some(3));
    // Pruning keeps the rest verifiable.
    scratch.older_client().execute("UPDATE mail_meta SET key = key", []).unwrap();
    let removed = db.transact(|tx| audit::prune(tx, i64::MAX)).unwrap();
    assert_eq!(removed, 4);
    register(&mut db, "e");
    let verdict = audit::verify(db.conn()).unwrap();
    assert_eq!((verdict.verified, verdict.broken), (1, None));
}

#[test]
fn a_message_dies_and_returns_byte_for_byte_in_its_old_place() {
    let scratch = Scratch::new();
    scratch.older_client().execute_batch(OLDER).unwrap();
    let mut db = scratch.open();
    let row = |db: &Db| -> (i64, Vec<u8>, String) {
        db.conn()
            .query_row(
                "SELECT seq, CAST(content AS BLOB), created_at FROM messages WHERE id = 'm3'",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap()
    };
    let before = row(&db);
    let letter = db.transact(|tx| dead::park(tx, "m3", Reason::Crashed, "why")).unwrap().unwrap();
    assert!(messages::get(db.conn(), "m3").unwrap().is_none());
    assert!(dead::waits_for(db.conn(), "b").unwrap());
    assert!(db.transact(|tx| dead::restore(tx, letter, "b", "op", false)).unwrap());
    assert!(!db.transact(|tx| dead::restore(tx, letter, "b", "op", false)).unwrap());
    assert_eq!(row(&db), before);
    let again = db.transact(|tx| dead::park(tx, "m3", Reason::Stalled, "why")).unwrap().unwrap();
    assert_eq!(dead::get(db.conn(), again).unwrap().unwrap().attempts, 1);
    assert!(!dead::get(db.conn(), letter).unwrap().unwrap().is_open());
    // A row of the earlier system's own queue.
    scratch
        .older_client()
        .execute_batch("INSERT INTO dead_letter_queue (id, from_agent, to_agent, content, error) VALUES (90, 'a', 'b', 'old', 'e')")
        .unwrap();
    assert!(db.transact(|tx| dead::restore(tx, 90, "b", "op", false)).unwrap());
    let found: i64 = db
        .conn()
        .query_row("SELECT count(*) FROM messages WHERE content = 'old' AND seq IS NOT NULL", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(found, 1);
}
