//! Opening databases: first creation, migration, adoption, and what is refused and left as it was.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agor_common::db::rusqlite::Connection;
use agor_common::db::{self, Access, DbError, Durability, Migration, Options, Schema};
use agor_common::{Exit, Failure};
use common::{Other, say, wait};

/// Safe on an adopted file, and leaves a mark each time that it runs.
const FIRST: Migration = |tx| {
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY);
         CREATE TABLE IF NOT EXISTS marks (step INTEGER);
         INSERT INTO marks VALUES (1)",
    )?;
    db::add_column(tx, "agents", "wakes INTEGER NOT NULL DEFAULT 0")
};
const SECOND: Migration = |tx| {
    tx.execute_batch("INSERT INTO marks VALUES (2)")?;
    db::add_column(tx, "agents", "colour TEXT DEFAULT 'grey'")
};
const FAILING: Migration = |tx| tx.execute_batch("CREATE TABLE half (x); INSERT INTO nowhere VALUES (1)");

const fn schema(migrations: &'static [Migration]) -> Schema {
    Schema { what: "a test database", application_id: 0x7465_7374, migrations, legacy_tables: &["agents"] }
}
const V1: Schema = schema(&[FIRST]);
const V2: Schema = schema(&[FIRST, SECOND]);
const WRITE: Options = Options { access: Access::Write, durability: Durability::PowerLoss };

fn number(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Not a test of its own: what the other processes do.
#[test]
fn role() {
    let Ok(role) = std::env::var(common::ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(common::DB).unwrap());
    if role == "read" {
        match db::open(&path, &V1, Options::read()) {
            Ok(db) => say(&format!("agents {}", number(db.conn(), "SELECT count(*) FROM agents"))),
            Err(error) => say(&format!("{} {error}", error.exit().code())),
        }
        return;
    }
    let schema = if role == "v1" { V1 } else { V2 };
    // What is tested is what they make together, and not how long the last of fifty waits on a slow disk.
    db::set_deadline(Duration::from_secs(120));
    say("ready");
    wait();
    let mut db = db::open(&path, &schema, Options::create()).unwrap();
    db.write::<_, DbError>(|tx| {
        tx.execute("INSERT INTO agents (id) VALUES (?1)", [std::process::id()]).unwrap();
        Ok(())
    })
    .unwrap();
    say("done");
}

fn all_at_once(path: &Path, role: &str, count: usize) {
    let mut others: Vec<Other> = (0..count).map(|_| Other::start(role, path)).collect();
    for other in &mut others {
        assert_eq!(other.said(), "ready");
    }
    for other in &mut others {
        other.go_on();
    }
    for mut other in others {
        assert_eq!(other.said(), "done");
        assert!(other.finish());
    }
}

#[test]
fn fifty_processes_create_it_at_one_instant() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/a.db");
    all_at_once(&path, "v1", 50);
    let conn = Connection::open(&path).unwrap();
    assert_eq!(number(&conn, "SELECT count(*) FROM agents"), 50);
    assert_eq!(number(&conn, "SELECT count(*) FROM marks"), 1);
    assert_eq!(number(&conn, "PRAGMA user_version"), 1);
    assert_eq!(number(&conn, "PRAGMA application_id"), 0x7465_7374);
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("data"), mode("data/a.db"), mode("data/a.db-wal")), (0o700, 0o600, 0o600));
}

#[test]
fn one_of_twenty_processes_migrates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    drop(db::open(&path, &V1, Options::create()).unwrap());
    all_at_once(&path, "v2", 20);
    let conn = Connection::open(&path).unwrap();
    assert_eq!(number(&conn, "SELECT count(*) FROM marks WHERE step = 2"), 1);
    assert_eq!(number(&conn, "SELECT count(*) FROM marks"), 2);
    assert_eq!(number(&conn, "PRAGMA user_version"), 2);
    assert_eq!(number(&conn, "SELECT count(*) FROM agents WHERE colour = 'grey'"), 20);
}

#[test]
fn connections_are_as_promised() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let db = db::open(&path, &V1, Options::create()).unwrap();
    let word = |sql: &str| db.conn().query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(word("PRAGMA journal_mode"), "wal");
    assert_eq!(number(db.conn(), "PRAGMA foreign_keys"), 1);
    assert_eq!(number(db.conn(), "PRAGMA synchronous"), 2);
    assert_eq!(number(db.conn(), "PRAGMA trusted_schema"), 0);
    let quick = db::open(&path, &V1, Options::create().durability(Durability::Crash)).unwrap();
    assert_eq!(number(quick.conn(), "PRAGMA synchronous"), 1);
    let reader = db::open(&path, &V2, Options::read()).unwrap();
    assert!(!reader.is_current());
    let error = reader.conn().execute("INSERT INTO agents (id) VALUES ('x')", []).unwrap_err();
    assert_eq!(reader.error(error).exit(), Exit::PERMISSION);
}

/// Opens in every way that writes, or could, and expects `exit` and the same bytes as before.
fn refused(path: &Path, schema: &Schema, exit: Exit) {
    let before = fs::read(path).unwrap();
    for options in [Options::create(), WRITE, Options::read()] {
        let error = db::open(path, schema, options).unwrap_err();
        assert_eq!(error.exit(), exit, "{options:?}: {error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert_eq!(fs::read(path).unwrap(), before, "the refused file was written");
}

#[test]
fn a_newer_schema_is_refused_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let db = db::open(&path, &V2, Options::create()).unwrap();
    db.conn().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    refused(&path, &V1, Exit::CONFIG);
}

#[test]
fn what_is_somebody_elses_is_refused_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    for sql in ["PRAGMA application_id = 12; CREATE TABLE agents (id)", "CREATE TABLE recipes (x)"] {
        let path = dir.path().join("a.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        refused(&path, &V1, Exit::DATA);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_is_damaged_is_refused_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let db = db::open(&path, &V1, Options::create()).unwrap();
    db.conn().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 6000);
    let mut headless = whole.clone();
    headless[..8].fill(0xee);
    for damaged in [&headless[..], &whole[..6000], b"not a database at all, but longer than its header"] {
        fs::write(&path, damaged).unwrap();
        refused(&path, &V1, Exit::DATA);
    }
}

#[test]
fn an_older_apps_file_is_adopted_and_serves_its_old_clients_still() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE agents (id TEXT PRIMARY KEY, name TEXT); CREATE TABLE theirs (x);
         INSERT INTO agents VALUES ('a', 'Ann'); INSERT INTO theirs VALUES (7)",
    )
    .unwrap();
    let db = db::open(&path, &V2, Options::create()).unwrap();
    assert_eq!(number(db.conn(), "SELECT count(*) FROM agents WHERE wakes = 0 AND name = 'Ann'"), 1);
    // The connection from before knows nothing of it.
    old.execute("INSERT INTO agents VALUES ('b', 'Bob')", []).unwrap_err();
    old.execute("INSERT INTO agents (id, name) VALUES ('b', 'Bob')", []).unwrap();
    assert_eq!(number(db.conn(), "SELECT x FROM theirs"), 7);
    drop(db);
    let db = db::open(&path, &V2, Options::create()).unwrap();
    assert_eq!(number(db.conn(), "SELECT count(*) FROM agents"), 2);
    assert_eq!(number(db.conn(), "SELECT count(*) FROM marks"), 2, "adopted twice");
}

#[test]
fn a_migration_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    drop(db::open(&path, &V1, Options::create()).unwrap());
    db::open(&path, &schema(&[FIRST, FAILING]), Options::create()).unwrap_err();
    let db = db::open(&path, &V1, Options::create()).unwrap();
    assert_eq!(number(db.conn(), "SELECT count(*) FROM sqlite_schema WHERE name = 'half'"), 0);
    assert_eq!(number(db.conn(), "PRAGMA user_version"), 1);
}

#[test]
fn places_where_no_database_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let exit = |path: &Path, options| db::open(path, &V1, options).unwrap_err().exit();
    assert_eq!(exit(dir.path(), Options::create()), Exit::PERMISSION);
    let missing = dir.path().join("no/such/a.db");
    assert_eq!(exit(&missing, Options::read()), Exit::NO_INPUT);
    assert_eq!(exit(&missing, WRITE), Exit::NO_INPUT);
    assert_eq!(files(dir.path()), [""; 0]);
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(exit(&dir.path().join("file/a.db"), Options::create()), Exit::IO);
    assert_eq!(exit(Path::new(""), Options::create()), Exit::IO);
    // A link to nothing.
    std::os::unix::fs::symlink("gone.db", dir.path().join("link.db")).unwrap();
    assert_eq!(exit(&dir.path().join("link.db"), Options::read()), Exit::NO_INPUT);
    // Opened, it would wait for somebody at the other end.
    let pipe = dir.path().join("pipe.db");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for options in [Options::create(), Options::read()] {
        assert_eq!(exit(&pipe, options), Exit::DATA);
    }
    assert_eq!(files(dir.path()), ["file", "link.db", "pipe.db"]);
}

#[test]
fn odd_names_are_just_names() {
    for name in [":memory:", "file:x.db?mode=memory", "a b%20c.db", "line\nfeed.db", "?"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let mut db = db::open(&path, &V1, Options::create()).unwrap();
        db.write::<_, DbError>(|tx| {
            tx.execute("INSERT INTO agents (id) VALUES ('a')", []).unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(files(dir.path()), [name.to_owned(), format!("{name}-shm"), format!("{name}-wal")]);
        let db = db::open(&path, &V1, Options::read()).unwrap();
        assert_eq!(number(db.conn(), "SELECT count(*) FROM agents"), 1);
    }
}

#[test]
fn a_garbage_log_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut db = db::open(&path, &V1, Options::create()).unwrap();
    db.write::<_, DbError>(|tx| {
        tx.execute("INSERT INTO agents (id) VALUES ('kept')", []).unwrap();
        Ok(())
    })
    .unwrap();
    db.conn().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    fs::write(dir.path().join("a.db-wal"), [0xa5; 20_000]).unwrap();
    let db = db::open(&path, &V1, Options::create()).unwrap();
    assert_eq!(number(db.conn(), "SELECT count(*) FROM agents"), 1);
    let word: String = db.conn().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(word, "ok");
}

#[test]
fn a_read_only_mount_is_said_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let db = db::open(&path, &V1, Options::create()).unwrap();
    db.conn().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    fs::create_dir(dir.path().join("m")).unwrap();
    let root = rustix::process::geteuid().is_root();
    let output = std::process::Command::new("unshare")
        .args(if root { &["-m"][..] } else { &["-r", "-m"] })
        .args(["sh", "-euc"])
        .arg(
            "mount -t tmpfs none m; cp a.db m; mount -o remount,bind,ro m; echo mounted
             \"$TESTS\" --exact role --nocapture --test-threads=1; ls m",
        )
        .current_dir(dir.path())
        .env("TESTS", std::env::current_exe().unwrap())
        .env(common::ROLE, "read")
        .env(common::DB, "m/a.db")
        .output();
    let said = output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let Some(said) = said.ok().filter(|said| said.starts_with("mounted")) else {
        assert!(std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none(), "no mount namespaces: {output:?}");
        eprintln!("skipped: no mount namespaces here");
        return;
    };
    assert!(said.contains("@77 m/a.db: read-only"), "{said}");
    assert!(said.ends_with("\na.db\n"), "files were made: {said}");
}

#[test]
fn only_safe_sqlites_are_used() {
    assert!(db::check_sqlite_version(3_051_003).is_ok());
    let error = db::check_sqlite_version(3_045_001).unwrap_err();
    assert_eq!(error.exit(), Exit::CONFIG);
    assert!(error.to_string().starts_with("SQLite 3.45.1 can corrupt"), "{error}");
}

#[test]
fn one_shot_writers_do_not_let_the_log_grow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let mut most = 0;
    for _ in 0..60 {
        let mut db = db::open(&path, &V1, Options::create()).unwrap();
        db.transact(|tx| tx.execute("CREATE TABLE IF NOT EXISTS t (x)", [])).unwrap();
        db.transact(|tx| tx.execute("INSERT INTO t VALUES (randomblob(100000))", [])).unwrap();
        drop(db);
        most = most.max(fs::metadata(dir.path().join("a.db-wal")).unwrap().len());
    }
    assert!(most < 3 << 20, "{most}");
    let db = db::open(&path, &V1, Options::read()).unwrap();
    assert_eq!(number(db.conn(), "SELECT count(*) FROM t"), 60);
}

/// Who leaves the queue early gets the lock before those who came first, and they starve.
#[test]
fn a_writer_stays_in_the_queue_for_half_of_its_deadline() {
    use rustix::fs::{FlockOperation, flock};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let mut db = db::open(&path, &V1, Options::create()).unwrap();
    let wal = dir.path().join("q.db-wal");
    let turn = fs::File::open(&wal).unwrap();
    flock(&turn, FlockOperation::LockExclusive).unwrap();
    // Its turn never comes: it goes on without one, and not before.
    let deadline = Duration::from_secs(2);
    db::set_deadline(deadline);
    let start = Instant::now();
    db.write::<_, DbError>(|_| Ok(())).unwrap();
    assert!(start.elapsed() >= deadline / 2, "it did not wait for its turn: {:?}", start.elapsed());
    // Its turn comes: it goes on then.
    let (said, done) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        db::set_deadline(Duration::from_secs(600));
        db.write::<_, DbError>(|_| Ok(())).unwrap();
        said.send(()).unwrap();
    });
    let end = Instant::now() + Duration::from_secs(60);
    while !is_waited_for(&wal) {
        assert!(Instant::now() < end, "it is not in the queue");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(done.try_recv().is_err(), "it did not wait for its turn");
    drop(turn);
    done.recv_timeout(Duration::from_secs(120)).expect("its turn has come");
    writer.join().unwrap();
}

/// Whether somebody waits for a lock on the file, by `/proc/locks`.
fn is_waited_for(file: &Path) -> bool {
    let inode = format!(":{} ", std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap()));
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("->") && line.contains(&inode))
}
