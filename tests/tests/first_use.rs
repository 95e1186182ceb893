//! First use by many processes at one instant.

use std::io::Write as _;
use std::process::Stdio;

use agor_tests::{World, stderr, stdout};

const PROCESSES: usize = 50;

#[test]
fn fifty_processes_create_the_databases_at_one_instant() {
    let world = World::new();
    // A gate: everyone waits for a line on the same pipe, so that all of them start together.
    let script = "read -r _ <\"$GATE\"; exec \"$@\"";
    let gate = world.path("gate");
    assert!(world.command("mkfifo").arg(&gate).status().unwrap().success());
    // Held open both ways: a late reader must not miss it, and nobody sees its end.
    let mut hold = std::fs::OpenOptions::new().read(true).write(true).open(&gate).unwrap();
    let children: Vec<_> = (0..PROCESSES)
        .map(|i| {
            let id = format!("agent-{i}");
            let mut command = world.command("bash");
            // What is tested is what they make together, and not how long the last of fifty waits on a slow disk.
            command.env("AGOR_TEST_LOCK_WAIT_MS", "120000");
            command.env("GATE", &gate).args(["-c", script, "gate"]);
            if i % 5 == 0 {
                command.args(["agor-supervise", "--name", &id, "--", "true"]);
            } else {
                command.args(["btmsg", "register", &id]);
            }
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    // Everyone blocks on it by now, or finds the lines there: one byte is one process's start.
    std::thread::sleep(std::time::Duration::from_millis(300));
    hold.write_all("\n".repeat(PROCESSES).as_bytes()).unwrap();

    for (i, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "process {i}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "process {i}");
    }
    let agents = world.run("btmsg", &["agents", "--json"]);
    let registered = stdout(&agents).matches("\"id\":\"agent-").count();
    assert_eq!(registered, PROCESSES - PROCESSES / 5, "{}", stdout(&agents));
    for database in ["btmsg.db", "sessions.db"] {
        let db = rusqlite_check(&world.path("data").join(database));
        assert_eq!(db, "ok", "{database}");
    }
}

/// `PRAGMA integrity_check` and the file's mode.
fn rusqlite_check(path: &std::path::Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).expect("the database is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{}", path.display());
    let conn = agor_common::db::open_bare(path, agor_common::db::Access::Read).expect("it opens");
    conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it is checked")
}
