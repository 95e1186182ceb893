//! What breaks: killed senders, full disks, broken files.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use crate::world::{World, freeze, is_root, skip, stderr, stdout, thaw};

#[test]
fn killed_senders_leave_a_sound_file_and_every_printed_id() {
    let world = World::with_peers();
    let rounds = 300;
    let mut printed = HashSet::new();
    for round in 0..rounds / 10 {
        let children: Vec<_> = (0..10)
            .map(|n| {
                let text = format!("{round}-{n}");
                world
                    .btmsg(&["--as", "alice", "send", "bob", &text])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            std::thread::sleep(Duration::from_micros(fastrand::u64(0..6000)));
            let _ = child.kill();
            printed.extend(stdout(&child.wait_with_output().unwrap()).lines().map(str::to_owned));
        }
    }
    assert_eq!(
        world.number("SELECT count(*) FROM messages"),
        world.number("SELECT count(*) FROM audit_log WHERE event_type = 'send'")
    );
    for id in &printed {
        let known = world.number(&format!("SELECT count(*) FROM messages WHERE id = '{id}'"));
        assert_eq!(known, 1, "{id} was printed and is not there");
    }
    eprintln!("{} of {rounds} were sent before they were killed", printed.len());
    world.assert_sound();
    world.ok(&["--as", "alice", "send", "bob", "and on"]);
}

#[test]
fn a_copy_at_any_instant_opens_with_a_prefix_of_what_was_sent() {
    let world = World::with_peers();
    let send = |n: usize| {
        world.btmsg(&["--as", "alice", "send", "bob", &n.to_string()]).stdout(Stdio::null()).spawn()
    };
    let mut sent = 0;
    for n in 0..20 {
        for _ in 0..fastrand::u8(..4) {
            assert!(send(sent).unwrap().wait().unwrap().success());
            sent += 1;
        }
        let mut sender = send(sent).unwrap();
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..20_000)));
        // A loss of power takes both files at one instant, and nobody writes on while they are copied here.
        let in_the_middle = freeze(&sender);
        let copy = World::new();
        std::fs::create_dir(copy.data()).unwrap();
        for name in ["data/btmsg.db", "data/btmsg.db-wal"] {
            std::fs::copy(world.path(name), copy.path(name)).unwrap();
        }
        thaw(&sender);
        assert!(sender.wait().unwrap().success());
        copy.assert_sound();
        let texts = copy.inbox("bob");
        let expected: Vec<String> = (0..texts.len()).map(|n| n.to_string()).collect();
        assert_eq!(texts, expected, "copy {n}");
        let least = if in_the_middle { sent } else { sent + 1 };
        assert!((least..=sent + 1).contains(&texts.len()), "copy {n}: {} of {sent}", texts.len());
        sent += 1;
    }
}

#[test]
fn a_full_disk_is_74_and_heals_by_itself() {
    if !is_root() {
        return skip("mounting a small tmpfs needs root");
    }
    let world = World::new();
    let script = r#"
        mkdir small && mount -t tmpfs -o size=2m tmpfs small || exit 99
        export AGOR_DATA_DIR=$PWD/small/data
        "$0" register alice >/dev/null && "$0" register bob >/dev/null || exit 98
        dd if=/dev/zero of=small/ballast bs=64k count=4 2>/dev/null
        i=0
        while "$0" --as alice send bob "$(head -c 20000 /dev/zero | tr '\0' x)" >/dev/null 2>error; do i=$((i+1)); done
        echo "sent $i"; echo "status $("$0" --as alice send bob x 2>>error >/dev/null; echo $?)"
        cat error >&2
        echo "seen $("$0" --json --as bob inbox --limit 1000 | grep -o '"from":"alice"' | wc -l)"
        rm small/ballast
        "$0" --as alice send bob "after" >/dev/null && echo "healed"
        "$0" status --check >/dev/null && echo "sound"
        "$0" audit verify >/dev/null && echo "chained"
        umount small
    "#;
    let output = world
        .command("unshare")
        .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_btmsg")])
        .output()
        .unwrap();
    if output.status.code() == Some(99) || stderr(&output).contains("unshare failed") {
        return skip("no tmpfs can be mounted here");
    }
    let said = stdout(&output);
    let sent: usize = said.lines().find_map(|line| line.strip_prefix("sent ")?.parse().ok()).unwrap();
    assert!(sent > 3, "{said}{}", stderr(&output));
    assert!(said.contains("status 74") || said.contains("status 0"), "{said}{}", stderr(&output));
    assert!(stderr(&output).contains("disk full"), "{}", stderr(&output));
    let seen: usize = said.lines().find_map(|line| line.strip_prefix("seen ")?.parse().ok()).unwrap();
    assert!(seen >= sent, "{said}");
    for word in ["healed", "sound", "chained"] {
        assert!(said.contains(word), "{word}: {said}{}", stderr(&output));
    }
}

fn refused(world: &World, status: i32, commands: &[&[&str]]) {
    let before = std::fs::read(world.db()).unwrap();
    for command in commands {
        let error = world.fails(status, command);
        assert!(error.starts_with("btmsg: ") && error.contains("btmsg.db"), "{command:?}: {error}");
    }
    assert!(std::fs::read(world.db()).unwrap() == before, "the file was touched");
}

/// With all of it in the main file.
fn settled() -> World {
    let world = World::with_peers();
    let lines: String =
        (0..200).map(|n| format!("{{\"to\":\"bob\",\"text\":\"message number {n}\"}}\n")).collect();
    assert!(world.with_input(&["--as", "alice", "send", "--ndjson"], lines.as_bytes()).status.success());
    world.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.path(&format!("data/btmsg.db{suffix}")));
    }
    world
}

const BOTH: &[&[&str]] = &[&["--as", "bob", "inbox"], &["--as", "alice", "send", "bob", "x"], &["agents"]];

#[test]
fn what_is_no_database_of_ours_is_refused_and_untouched() {
    let world = settled();
    let good = std::fs::read(world.db()).unwrap();
    let write = |bytes: &[u8]| {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(world.path(&format!("data/btmsg.db{suffix}")));
        }
        std::fs::write(world.db(), bytes).unwrap();
    };
    // Its first bytes overwritten.
    let mut bytes = good.clone();
    bytes[..8].copy_from_slice(b"garbage!");
    write(&bytes);
    refused(&world, 65, BOTH);
    // Cut off.
    write(&good[..6000]);
    for command in BOTH {
        world.fails(65, command);
    }
    // Pages of noise.
    let mut bytes = good.clone();
    for byte in &mut bytes[4096..7 * 4096] {
        *byte = fastrand::u8(..);
    }
    write(&bytes);
    for command in BOTH {
        world.fails(65, command);
    }
    let error = world.fails(65, &["status", "--check"]);
    assert!(error.contains("corrupt") || error.contains("damaged"), "{error}");
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(65));
    assert!(stdout(&doctor).contains("page") || stdout(&doctor).contains("malformed"), "{}", stdout(&doctor));
    // Somebody else's.
    write(&good);
    world.sql("PRAGMA application_id = 99; PRAGMA wal_checkpoint(TRUNCATE)");
    refused(&world, 65, BOTH);
    // A newer one.
    write(&good);
    world.sql("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)");
    refused(&world, 78, BOTH);
    // No SQLite file at all.
    write(b"just some text that somebody put here, long enough to be more than a header of a database file, really");
    refused(&world, 65, BOTH);
}

#[test]
fn a_garbage_log_beside_a_good_file_is_ignored() {
    let world = settled();
    let noise: Vec<u8> = (0..40_000).map(|_| fastrand::u8(..)).collect();
    std::fs::write(world.path("data/btmsg.db-wal"), noise).unwrap();
    assert_eq!(world.inbox("bob").len(), 200);
    world.ok(&["--as", "alice", "send", "bob", "x"]);
    world.assert_sound();
}

#[test]
fn a_file_that_may_only_be_read_is_read_and_writing_is_77() {
    if is_root() {
        // For root no mode bit counts: a read-only mount does.
        let world = settled();
        let script = r#"
            mount --bind data data && mount -o remount,bind,ro data || exit 99
            "$0" --as alice send bob x; echo "send $?"
            "$0" --as bob inbox >/dev/null; echo "inbox $?"
            ls data
        "#;
        let output = world
            .command("unshare")
            .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_btmsg")])
            .output()
            .unwrap();
        if output.status.code() == Some(99) {
            return skip("no bind mount can be made here");
        }
        let said = stdout(&output);
        assert!(said.contains("send 77"), "{said}{}", stderr(&output));
        assert!(said.contains("inbox 77") || said.contains("inbox 0"), "{said}{}", stderr(&output));
        assert!(stderr(&output).contains("read-only"), "{}", stderr(&output));
        assert!(!said.contains("-wal"), "{said}");
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let world = settled();
    std::fs::set_permissions(world.db(), std::fs::Permissions::from_mode(0o400)).unwrap();
    std::fs::set_permissions(world.data(), std::fs::Permissions::from_mode(0o500)).unwrap();
    let error = world.fails(77, &["--as", "alice", "send", "bob", "x"]);
    assert!(error.contains("read-only") || error.contains("ermission"), "{error}");
    std::fs::set_permissions(world.data(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::set_permissions(world.db(), std::fs::Permissions::from_mode(0o600)).unwrap();
    world.ok(&["agents"]);
    let log = world.path("data/btmsg.db-wal");
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o400)).unwrap();
    let error = world.fails(77, &["--as", "alice", "send", "bob", "x"]);
    assert!(error.contains("btmsg.db-wal may not be written"), "{error}");
}

#[test]
fn a_large_log_left_by_a_crash_is_read_through() {
    let world = World::with_peers();
    // A reader that is killed keeps nothing; what it kept open meanwhile made the log grow.
    let conn = world.sqlite();
    conn.execute_batch("BEGIN; SELECT count(*) FROM agents").unwrap();
    let lines: String =
        (0..2000).map(|n| format!("{{\"to\":\"bob\",\"text\":\"{n} {}\"}}\n", "y".repeat(4000))).collect();
    assert!(world.with_input(&["--as", "alice", "send", "--ndjson"], lines.as_bytes()).status.success());
    // As in a crash, nobody tidies up.
    let keep = agor_common::db::rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    conn.set_db_config(keep, true).unwrap();
    drop(conn);
    let _ = std::fs::remove_file(world.path("data/btmsg.db-shm"));
    assert!(std::fs::metadata(world.path("data/btmsg.db-wal")).unwrap().len() > 8 << 20);
    assert_eq!(
        world.json(&["--as", "bob", "inbox", "--limit", "10"])["messages"].as_array().unwrap().len(),
        10
    );
    world.assert_sound();
}

#[test]
fn the_doctor_names_what_is_broken() {
    let world = settled();
    let said = world.ok(&["doctor"]);
    assert!(said.ends_with("pages, nothing wrong"), "{said}");
    // One leaf of the messages: everything else can be read.
    let page = world.number("SELECT max(pageno) FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf'");
    world.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let at = usize::try_from(page - 1).unwrap() * 4096;
    let mut bytes = std::fs::read(world.db()).unwrap();
    bytes[at..at + 4096].fill(0xa5);
    std::fs::write(world.db(), bytes).unwrap();
    let output = world.run(&["--json", "doctor"]);
    assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
    let body: serde_json::Value = serde_json::from_str(stdout(&output).lines().next().unwrap()).unwrap();
    assert_eq!(body["ok"], false);
    assert!(body["problems"].to_string().contains(&format!("page {page}")), "{body}");
}
