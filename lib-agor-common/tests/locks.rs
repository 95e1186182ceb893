//! Who is in the way: found by the locks, named in the error.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use agor_common::db::locks::{self, Slot};
use agor_common::db::rusqlite::{Connection, TransactionBehavior};
use agor_common::db::{self, DbError, Options, Schema};
use agor_common::{Exit, Failure};
use common::{Other, say, wait};
use rustix::process::Signal;

const SCHEMA: Schema = Schema {
    what: "a test database",
    application_id: 77,
    migrations: &[|tx| tx.execute_batch("CREATE TABLE IF NOT EXISTS t (x)")],
    legacy_tables: &[],
};

fn create(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("a.db");
    let mut db = db::open(&path, &SCHEMA, Options::create()).unwrap();
    db.write::<_, DbError>(|tx| tx.execute("INSERT INTO t VALUES (1)", []).map_err(|e| panic!("{e}")))
        .unwrap();
    path
}

/// Not a test of its own: what the other process does.
#[test]
fn role() {
    let Ok(role) = std::env::var(common::ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(common::DB).unwrap());
    let mut conn = Connection::open(&path).unwrap();
    match role.as_str() {
        "writer" => {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
            tx.execute("INSERT INTO t VALUES (2)", []).unwrap();
            say("holding");
            wait();
        }
        "reader" => {
            let tx = conn.transaction().unwrap();
            tx.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
            say("holding");
            wait();
        }
        "exclusive" => {
            conn.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
            conn.execute("INSERT INTO t VALUES (3)", []).unwrap();
            say("holding");
            wait();
        }
        "try" => {
            conn.busy_timeout(Duration::ZERO).unwrap();
            let got = conn.transaction_with_behavior(TransactionBehavior::Immediate);
            say(if got.is_ok() { "free" } else { "busy" });
        }
        other => panic!("{other}"),
    }
}

fn write_refused(path: &Path) -> DbError {
    db::set_deadline(Duration::from_millis(200));
    let mut db = match db::open(path, &SCHEMA, Options::create()) {
        Ok(db) => db,
        Err(error) => return error,
    };
    db.write::<(), DbError>(|_| panic!("it must not get the lock")).unwrap_err()
}

#[test]
fn a_busy_database_names_its_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(&dir);
    let mut other = Other::start("writer", &path);
    assert_eq!(other.said(), "holding");
    let error = write_refused(&path);
    assert_eq!(error.exit(), Exit::TRY_AGAIN);
    assert!(error.to_string().contains(&format!("held by pid {} (", other.pid())), "{error}");
    // A stopped one says that it will not let go.
    other.signal(Signal::STOP);
    while !agor_common::process::is_stopped(other.pid()) {
        std::thread::yield_now();
    }
    let error = write_refused(&path);
    assert!(error.to_string().ends_with("), stopped"), "{error}");
    other.signal(Signal::CONT);
    other.go_on();
    assert!(other.finish());
    assert_eq!(locks::holders(&path), []);
    let db = db::open(&path, &SCHEMA, Options::create()).unwrap();
    assert_eq!(db.conn().query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn looking_does_not_drop_our_own_locks() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(&dir);
    let mut ours = db::open(&path, &SCHEMA, Options::create()).unwrap();
    let mut reader = Other::start("reader", &path);
    reader.said();
    ours.write::<_, DbError>(|_| {
        for _ in 0..3 {
            let found = locks::holders(&path);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].pid, Some(reader.pid()));
            assert!(matches!(found[0].slot, Slot::Read(_)) && !found[0].exclusive);
        }
        // Were our lock gone, the other process would get it.
        let mut other = Other::start("try", &path);
        assert_eq!(other.said(), "busy");
        Ok(())
    })
    .unwrap();
    assert_eq!(Other::start("try", &path).said(), "free");
}

#[test]
fn an_exclusive_connection_is_named_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(&dir);
    // In a WAL database EXCLUSIVE mode keeps the main file and the index to itself.
    let mut other = Other::start("exclusive", &path);
    assert_eq!(other.said(), "holding");
    let error = write_refused(&path);
    assert_eq!(error.exit(), Exit::TRY_AGAIN);
    assert!(error.to_string().contains(&format!("held by pid {} (", other.pid())), "{error}");
}

#[test]
fn a_link_leads_to_the_same_locks() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(&dir);
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut other = Other::start("writer", &link);
    other.said();
    for name in [&path, &link] {
        let who = locks::writer(name).unwrap();
        assert_eq!((who.pid, who.slot), (Some(other.pid()), Slot::Write));
    }
}
