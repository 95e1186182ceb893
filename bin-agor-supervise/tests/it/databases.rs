//! Databases that are locked, full, corrupt, read-only or absent never stop supervision.

use agor_common::db::{Access, Options, rusqlite};
use agor_common::mail::{self, presence};

use crate::support::{World, skip, text, until};

/// Crashes once, then says so and runs.
const ONCE: &str = "[ $AGOR_INCARNATION = 1 ] && exit 1; echo up; exec sleep 1000";

fn supervise(world: &World) -> String {
    let mut supervisor = world.start(&["--name", "d", "--backoff-base", "0.01", "--", "sh", "-c", ONCE]);
    assert_eq!(supervisor.line(), "up");
    assert_eq!(world.healthy("d", 2)["restarts"], 1);
    supervisor.signal(rustix::process::Signal::TERM);
    let (status, _, err) = supervisor.finish();
    assert_eq!(status.code(), Some(0), "{err}");
    err
}

fn complaints(err: &str) -> usize {
    err.lines().filter(|line| line.contains("cannot record")).count()
}

#[test]
fn corrupt() {
    let world = World::new();
    std::fs::create_dir(world.path("data")).unwrap();
    std::fs::write(world.path("data/sessions.db"), vec![b'x'; 100_000]).unwrap();
    let err = supervise(&world);
    assert_eq!(complaints(&err), 1, "{err}");
    assert_eq!(
        std::fs::read(world.path("data/sessions.db")).unwrap(),
        vec![b'x'; 100_000],
        "and is left as it is"
    );
}

#[test]
fn locked() {
    let world = World::new();
    world.run(&["--name", "x", "--", "true"]);
    let holder = rusqlite::Connection::open(world.path("data/sessions.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let err = supervise(&world);
    assert!(complaints(&err) <= 1, "{err}");
    holder.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn locked_for_a_while_loses_nothing() {
    let world = World::new();
    world.run(&["--name", "x", "--", "true"]);
    let holder = rusqlite::Connection::open(world.path("data/sessions.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut supervisor = world.start(&["--name", "d", "--backoff-base", "0.01", "--", "sh", "-c", ONCE]);
    assert_eq!(supervisor.line(), "up");
    holder.execute_batch("ROLLBACK").unwrap();
    until("it is recorded", || world.history("d").len() == 2);
    assert_eq!(supervisor.stop().code(), Some(0));
}

#[test]
fn read_only_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    if rustix::process::geteuid().is_root() {
        return skip("root may write everywhere");
    }
    let world = World::new();
    std::fs::create_dir(world.path("data")).unwrap();
    std::fs::set_permissions(world.path("data"), std::fs::Permissions::from_mode(0o500)).unwrap();
    let output = world.run(&["--", "echo", "hi"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "hi\n"));
}

#[test]
fn no_directory_to_be_had() {
    let world = World::new();
    std::fs::write(world.path("data"), "a file").unwrap();
    let output = world.run(&[
        "--name",
        "d",
        "--backoff-base",
        "0",
        "--max-attempts",
        "1",
        "--",
        "sh",
        "-c",
        "echo hi; exit 1",
    ]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), "hi\nhi\n"));
    assert!(text(&output.stderr).contains("warning"), "{}", text(&output.stderr));
}

#[test]
fn full_disk() {
    let world = World::new();
    let data = world.path("data");
    std::fs::create_dir(&data).unwrap();
    let mounted = rustix::mount::mount(
        "tmpfs",
        &data,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        c"size=200k,mode=700",
    );
    if mounted.is_err() {
        return skip("mounting a small tmpfs needs root");
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        }
    }
    let _unmount = Unmount(data.clone());
    std::fs::create_dir(data.join("run")).unwrap();
    // All but a page for the lock and the state.
    std::fs::write(data.join("filler"), vec![0; 184 * 1024]).unwrap();
    let mut supervisor = world.start(&["--name", "d", "--backoff-base", "0.01", "--", "sh", "-c", ONCE]);
    assert_eq!(supervisor.line(), "up");
    supervisor.signal(rustix::process::Signal::TERM);
    let (status, _, err) = supervisor.finish();
    assert_eq!(status.code(), Some(0), "{err}");
    assert!(complaints(&err) <= 1, "{err}");
}

#[test]
fn a_newer_schema_is_left_alone() {
    let world = World::new();
    world.run(&["--name", "x", "--", "true"]);
    let db = rusqlite::Connection::open(world.path("data/sessions.db")).unwrap();
    db.execute_batch("PRAGMA user_version = 9999").unwrap();
    drop(db);
    let err = supervise(&world);
    assert_eq!(complaints(&err), 1, "{err}");
}

fn agent_status(world: &World, agent: &str) -> Option<(String, Option<String>)> {
    let read = Options { access: Access::Read, ..Options::read() };
    let db = mail::open(&world.path("data/btmsg.db"), read).ok()?;
    mail::agents::get(db.conn(), agent).ok()?.map(|agent| (agent.status, agent.state_reason))
}

#[test]
fn the_agent_is_marked() {
    let world = World::new();
    let mut supervisor = world.start(&["--agent", "a1", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    assert_eq!(supervisor.line(), "up");
    until("it is active", || agent_status(&world, "a1").is_some_and(|(status, _)| status == "active"));
    supervisor.stop();
    let (status, reason) = agent_status(&world, "a1").unwrap();
    assert_eq!((status.as_str(), reason.as_deref()), ("stopped", Some("stopped")));
    world.run(&["--agent", "a1", "--max-attempts", "1", "--backoff-base", "0", "--", "sh", "-c", "exit 9"]);
    let (status, reason) = agent_status(&world, "a1").unwrap();
    assert_eq!((status.as_str(), reason.as_deref()), ("crashed", Some("failed after 1 attempt: exit 9")));
}

/// Whoever has mail to read before it is ready has to be known.
#[test]
fn the_agent_is_known_before_it_is_ready() {
    let world = World::new();
    let mut supervisor = world.start(&["--agent", "a1", "--ready", "notify", "--", "sleep", "1000"]);
    until("it is known", || agent_status(&world, "a1").is_some());
    assert_eq!(world.status("a1")["health"], "restarting");
    supervisor.stop();
    assert_eq!(agent_status(&world, "a1").unwrap().0, "stopped");
}

#[test]
fn heartbeats_are_sent_for_it_and_count_against_a_stall() {
    let world = World::new();
    let script = "while :; do echo busy; sleep 0.02; done";
    let mut supervisor = world.start(&["--agent", "a1", "--heartbeat", "0.05", "--", "sh", "-c", script]);
    until("a heartbeat", || world.status("a1")["heartbeat_age_s"].is_number());
    supervisor.stop();
    // The agent's own heartbeats keep a silent one from being called stalled.
    let mut supervisor = world.start(&[
        "--agent",
        "a2",
        "--stall-after",
        "6",
        "--backoff-base",
        "0.01",
        "--",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    assert_eq!(supervisor.line(), "up");
    until("it is active", || agent_status(&world, "a2").is_some());
    let mut db = mail::open(&world.path("data/btmsg.db"), Options::create()).unwrap();
    for _ in 0..26 {
        let beat = presence::Beat::default();
        db.write(|tx| {
            presence::beat(tx, "a2", "a2", &beat, &presence::Clock::now())
                .map_err(|error| agor_common::db::DbError::from_sqlite(std::path::Path::new(""), error))
        })
        .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert_eq!(world.status("a2")["incarnation"], 1);
    assert_eq!(supervisor.line(), "up", "without them it is started anew");
    supervisor.stop();
}

#[test]
fn a_legacy_database_is_adopted_and_gets_its_row() {
    let world = World::new();
    std::fs::create_dir(world.path("data")).unwrap();
    let legacy = rusqlite::Connection::open(world.path("data/sessions.db")).unwrap();
    legacy
        .execute_batch(
            "CREATE TABLE sessions (id TEXT PRIMARY KEY, type TEXT, title TEXT); INSERT INTO sessions VALUES ('s', 't', 'u');
             CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT);",
        )
        .unwrap();
    drop(legacy);
    world.run(&["--name", "x", "--restart", "never", "--", "sh", "-c", "echo why >&2; exit 3"]);
    let db = rusqlite::Connection::open(world.path("data/sessions.db")).unwrap();
    let row: (String, String, Option<String>) = db
        .query_row("SELECT project_id, status, error_message FROM session_metrics", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(row, ("x".into(), "error".into(), Some("exit 3: why".into())));
    let kept: i64 = db.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}
