//! Names, places and companions that are not the usual ones.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output};

use common::{Other, Place, code, fill, intact, objects, open, rows, text, wal_bytes};

/// Not a test of its own: what the other processes do.
#[test]
fn role() {
    common::play();
}

#[test]
fn odd_names_mean_the_file_of_that_name() {
    let place = Place::new();
    let names: [&[u8]; 9] = [
        b"with space.db",
        b"what?mode=ro.db",
        b"100%41.db",
        b"new\nline.db",
        b"file:memory.db",
        b":memory:",
        b"./status",
        b"./-n.db",
        b"not-utf8-\xff.db",
    ];
    for name in names {
        let name = OsStr::from_bytes(name);
        let path = place.wal("plain.db", 4);
        let named = place.path("x").parent().unwrap().join(name);
        for suffix in ["", "-wal"] {
            let mut to = named.clone().into_os_string();
            to.push(suffix);
            let mut from = path.clone().into_os_string();
            from.push(suffix);
            fs::rename(from, to).unwrap();
        }
        fs::remove_file(place.path("plain.db-shm")).unwrap();
        assert!(wal_bytes(&named) > 0);
        let before = fs::read_dir(place.path("x").parent().unwrap()).unwrap().count();
        let output = place.tool().arg(name).output().unwrap();
        assert_eq!(code(&output), 0, "{name:?}: {output:?}");
        assert_eq!(text(&output.stdout).lines().count(), 1, "{output:?}");
        assert!(text(&output.stdout).contains(": truncated: "), "{output:?}");
        assert_eq!(wal_bytes(&named), 0);
        // The index, and nothing else, came to be.
        assert_eq!(fs::read_dir(place.path("x").parent().unwrap()).unwrap().count(), before + 1, "{name:?}");
    }
}

#[test]
fn a_second_name_is_warned_of() {
    let place = Place::new();
    let path = place.wal("a.db", 4);
    fs::hard_link(&path, place.path("b.db")).unwrap();
    let output = place.tool().args(["--json", "a.db"]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(objects(&output)[0]["warnings"][0].as_str().unwrap().contains("a.db has 2 names"), "{output:?}");
    place.wal("c.db", 4);
    fs::hard_link(place.path("c.db"), place.path("d.db")).unwrap();
    let output = place.tool().args(["--any-filesystem", "c.db"]).output().unwrap();
    assert_eq!((code(&output), text(&output.stderr).contains("names")), (0, false), "{output:?}");
}

#[test]
fn a_link_and_a_relative_path_lead_to_the_database() {
    let place = Place::new();
    fs::create_dir(place.path("dir")).unwrap();
    let path = place.wal("dir/a.db", 4);
    std::os::unix::fs::symlink("dir/a.db", place.path("link.db")).unwrap();
    let output = place.run(&["--json", "link.db"]);
    assert_eq!((code(&output), objects(&output)[0]["outcome"].as_str()), (0, Some("truncated")));
    assert_eq!(wal_bytes(&path), 0);
    assert!(!place.path("link.db-wal").exists() && !place.path("link.db-shm").exists());
    fill(&open(&path), 3);
    assert_eq!(code(&place.run(&["./dir/../dir/a.db"])), 0);
    // A link to nothing makes nothing.
    std::os::unix::fs::symlink("gone.db", place.path("dangling.db")).unwrap();
    assert_eq!(code(&place.run(&["dangling.db"])), 66);
    assert!(!place.path("gone.db").exists());
}

#[test]
fn a_garbage_log_is_ignored_and_a_cut_database_reported() {
    let place = Place::new();
    let path = place.wal("a.db", 10);
    assert_eq!(code(&place.run(&["a.db"])), 0);
    fs::write(place.path("a.db-wal"), [0x5a; 9000]).unwrap();
    fs::remove_file(place.path("a.db-shm")).unwrap();
    let output = place.run(&["--json", "a.db"]);
    assert_eq!((code(&output), objects(&output)[0]["frames"].as_u64()), (0, Some(0)), "{output:?}");
    assert_eq!((wal_bytes(&path), rows(&path)), (0, 10));
    intact(&path);
    fs::remove_file(place.path("a.db-wal")).ok();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..6000]).unwrap();
    let output = place.run(&["a.db"]);
    assert_eq!(code(&output), 65, "{output:?}");
    assert_eq!(fs::read(&path).unwrap(), &bytes[..6000]);
}

#[test]
fn litestream_keeps_the_reset_to_itself() {
    let place = Place::new();
    for managed in ["directory", "table"] {
        let path = place.wal(&format!("{managed}.db"), 10);
        if managed == "directory" {
            fs::create_dir(place.path(".directory.db-litestream")).unwrap();
        } else {
            let conn = open(&path);
            common::no_checkpoint_on_close(&conn);
            conn.execute_batch("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)").unwrap();
        }
        let name = format!("{managed}.db");
        let output = place.run(&["--json", &name]);
        assert_eq!(code(&output), 0, "{output:?}");
        let line = &objects(&output)[0];
        assert_eq!((line["outcome"].as_str(), line["mode"].as_str()), (Some("copied"), Some("passive")));
        assert_eq!(line["frames"], line["frames_moved"]);
        assert!(wal_bytes(&path) > 0 && line["warnings"][0].as_str().unwrap().contains("Litestream"));
        // Asked for by name it is done, and said.
        let output = place.run(&["--json", "--mode", "truncate", &name]);
        assert_eq!((code(&output), wal_bytes(&path)), (0, 0));
        assert!(text(&output.stderr).contains("Litestream replicates it"), "{output:?}");
    }
    let path = place.wal("plain.db", 10);
    let output = place.tool().arg("plain.db").env("AGOR_CHECKPOINT_MODE", "passive").output().unwrap();
    assert!(code(&output) == 0 && wal_bytes(&path) > 0);
    assert!(text(&output.stdout).contains(": copied: "), "{output:?}");
}

#[test]
fn several_checkpointers_at_once_are_no_fault() {
    let place = Place::new();
    let path = place.wal("a.db", 400);
    let runs: Vec<_> = (0..6)
        .map(|_| {
            place
                .tool()
                .args(["--json", "--deadline", "60s", "a.db"])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
    }
    assert_eq!((wal_bytes(&path), rows(&path)), (0, 400));
    intact(&path);
}

#[test]
fn a_stopped_writer_is_named_and_a_busy_one_is_not_harmed() {
    let place = Place::new();
    let path = place.wal("a.db", 20);
    let writer = Other::start("writer", &path);
    writer.signal(rustix::process::Signal::STOP);
    let pid = i32::try_from(writer.pid()).unwrap();
    common::until("it is stopped", || agor_common::process::is_stopped(pid));
    let output = place.run(&["--json", "--deadline", "300ms", "a.db"]);
    assert_eq!(code(&output), 75);
    let line = &objects(&output)[0];
    // Its frames are not committed; all others were moved.
    assert_eq!((line["outcome"].as_str(), &line["frames"]), (Some("partial"), &line["frames_moved"]));
    let who = line["in_the_way"].as_array().unwrap();
    assert!(
        who.iter().any(|one| one["pid"].as_i64() == Some(writer.pid()) && one["stopped"] == true),
        "{line}"
    );
    drop(writer);

    let mut busy = [Other::start("busy", &path), Other::start("busy", &path)];
    for _ in 0..5 {
        // On a slow disk even a few frames may take longer than the usual budget to copy.
        let output = place.run(&["--json", "--deadline", "60s", "--stall-budget", "10s", "a.db"]);
        // Emptied each time, or not written to since.
        assert_eq!(code(&output), 0, "{output:?}");
    }
    let mut committed = 20;
    for writer in &mut busy {
        writer.go_on();
        committed += writer.said().split(' ').next().unwrap().parse::<i64>().unwrap();
    }
    drop(busy);
    assert_eq!(rows(&path), committed);
    assert_eq!(code(&place.run(&["a.db"])), 0);
    assert_eq!(wal_bytes(&path), 0);
    intact(&path);
}

#[test]
fn status_shows_everything_and_changes_nothing() {
    let place = Place::new();
    let path = place.wal("a.db", 20);
    let output = place.run(&["status", "--json", "a.db"]);
    assert_eq!(code(&output), 0);
    let line = &objects(&output)[0];
    assert_eq!((line["state"].as_str(), line["wal_bytes"].as_u64()), (Some("wal"), Some(wal_bytes(&path))));
    // No process keeps the index up to date now.
    assert!(line["frames"].is_null() && line["holders"].as_array().unwrap().is_empty(), "{line}");
    let conn = open(&path);
    fill(&conn, 1);
    let reader = Other::start("reader", &path);
    let before = fs::read(place.path("a.db-wal")).unwrap();
    let output = place.run(&["status", "--json", "a.db", "nope.db"]);
    assert_eq!(code(&output), 66);
    let line = &objects(&output)[0];
    assert_eq!(line["frames_moved"].as_u64(), Some(0));
    assert_eq!(line["holders"][0]["pid"].as_i64(), Some(reader.pid()));
    let output = place.run(&["status", "a.db"]);
    assert!(text(&output.stdout).contains(&format!("\n  pid {} (", reader.pid())), "{output:?}");
    assert_eq!(fs::read(place.path("a.db-wal")).unwrap(), before);
    drop(conn);
    let output = place.run(&["status"]);
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout).contains("sessions.db: missing"), "{output:?}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a released tool has no such variable")]
fn a_vulnerable_sqlite_is_refused() {
    let place = Place::new();
    let path = place.wal("a.db", 3);
    let before = wal_bytes(&path);
    let output = place.tool().arg("a.db").env("AGOR_TEST_SQLITE_VERSION", "3045001").output().unwrap();
    assert_eq!(code(&output), 78);
    assert!(text(&output.stderr).contains("SQLite 3.45.1 can corrupt a database"), "{output:?}");
    assert_eq!(wal_bytes(&path), before);
    // The variable can make it look older only.
    let output = place.tool().arg("a.db").env("AGOR_TEST_SQLITE_VERSION", "9999999").output().unwrap();
    assert_eq!(code(&output), 0);
}

/// Runs a shell script with the tool as `$TOOL` in a mount namespace of its own; `None` where that is not
/// possible here.
fn with_mounts(place: &Place, script: &str) -> Option<Output> {
    let root = rustix::process::geteuid().is_root();
    let unshare = |script: &str| {
        Command::new("unshare")
            .args(if root { &["-m"][..] } else { &["-r", "-m"] })
            .args(["sh", "-euc", script])
            .env("TOOL", env!("CARGO_BIN_EXE_agor-checkpoint"))
            .current_dir(place.path("x").parent().unwrap())
            .output()
    };
    if !unshare("mount -t tmpfs none /mnt").is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none(),
            "mount namespaces are needed and not to be had"
        );
        eprintln!("skipped: no mount namespaces here");
        return None;
    }
    Some(unshare(script).unwrap())
}

#[test]
fn a_read_only_place_is_said_and_left_alone() {
    let place = Place::new();
    place.wal("a.db", 5);
    fs::create_dir(place.path("m")).unwrap();
    let script = "mount -t tmpfs none m; cp a.db a.db-wal m; mount -o remount,bind,ro m
        ls m; code=0; $TOOL m/a.db || code=$?; echo code $code; ls m";
    let Some(output) = with_mounts(&place, script) else { return };
    let said = text(&output.stdout);
    assert_eq!(said, "a.db\na.db-wal\ncode 77\na.db\na.db-wal\n", "{output:?}");
    assert!(text(&output.stderr).contains("m/a.db: read-only"), "{output:?}");
}

#[test]
fn a_full_disk_loses_nothing() {
    let place = Place::new();
    place.wal("a.db", 400);
    fs::create_dir(place.path("m")).unwrap();
    // Room for the log and the index, but not for the rows in the main file.
    let script = "mount -t tmpfs -o size=6m none m; cp a.db a.db-wal m
        dd if=/dev/zero of=m/ballast bs=4k 2>/dev/null || true
        truncate -s -40k m/ballast
        code=0; $TOOL --json m/a.db || code=$?; echo code $code
        rm m/ballast; $TOOL --json m/a.db; cp m/a.db b.db; stat -c %s m/a.db-wal";
    let Some(output) = with_mounts(&place, script) else { return };
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{output:?}");
    let failed: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((failed["outcome"].as_str(), lines[1]), (Some("failed"), "code 74"), "{failed}");
    assert!(failed["frames"].as_u64().unwrap() > 100 && !failed["row"].is_null(), "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("disk full"), "{failed}");
    assert!(failed["error"]["hint"].as_str().unwrap().contains("free some space"), "{failed}");
    let later: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!((later["outcome"].as_str(), lines[3]), (Some("truncated"), "0"));
    assert_eq!(rows(&place.path("b.db")), 400);
    intact(&place.path("b.db"));
}

#[test]
fn overlayfs_is_warned_of() {
    let place = Place::new();
    place.wal("a.db", 5);
    let script = "mount -t tmpfs none /mnt; mkdir /mnt/low /mnt/up /mnt/work /mnt/all; cp a.db a.db-wal /mnt/up
        mount -t overlay none -o lowerdir=/mnt/low,upperdir=/mnt/up,workdir=/mnt/work /mnt/all || { echo none; exit; }
        $TOOL /mnt/all/a.db; cp a.db-wal /mnt/all; $TOOL --any-filesystem /mnt/all/a.db
        cp a.db-wal /mnt/all; AGOR_ANY_FILESYSTEM= $TOOL /mnt/all/a.db
        cp a.db-wal /mnt/all; AGOR_ANY_FILESYSTEM=1 $TOOL /mnt/all/a.db";
    let Some(output) = with_mounts(&place, script) else { return };
    if text(&output.stdout) == "none\n" {
        assert!(std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none(), "overlayfs is needed and not to be had");
        eprintln!("skipped: no overlayfs here");
        return;
    }
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(text(&output.stdout).lines().count(), 4, "{output:?}");
    assert_eq!(text(&output.stderr).matches("overlayfs").count(), 2, "{output:?}");
}

#[test]
fn a_fifo_is_not_waited_for() {
    let place = Place::new();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.path("pipe.db"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    for args in [&["pipe.db"][..], &["status", "pipe.db"]] {
        let output = place.run(args);
        assert_eq!(code(&output), 65, "{output:?}");
    }
    assert!(Path::new(&place.path("pipe.db")).exists());
}
