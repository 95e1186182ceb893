//! One pass: what it does, what it says, and how it ends.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use common::{Other, Place, code, fill, intact, objects, open, rows, text, wal_bytes};

/// Not a test of its own: what the other processes do.
#[test]
fn role() {
    common::play();
}

#[test]
fn a_log_is_emptied() {
    let place = Place::new();
    let path = place.wal("a.db", 50);
    let before = wal_bytes(&path);
    assert!(before > 50_000);
    let output = place.run(&["--json", "a.db"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let line = &objects(&output)[0];
    assert_eq!(line["outcome"], "truncated");
    assert_eq!(line["row"], serde_json::json!({ "busy": 0, "log": 0, "checkpointed": 0 }));
    assert_eq!(
        (line["frames"].as_u64(), line["frames_moved"].as_u64()),
        (Some(before / 4120), Some(before / 4120))
    );
    assert_eq!(
        (line["wal_bytes_before"].as_u64(), line["wal_bytes_after"].as_u64()),
        (Some(before), Some(0))
    );
    assert_eq!(wal_bytes(&path), 0);
    assert_eq!(rows(&path), 50);
    intact(&path);
}

#[test]
fn an_empty_log_is_nothing_to_do() {
    let place = Place::new();
    let path = place.wal("a.db", 3);
    for expected in ["truncated", "nothing_to_do", "nothing_to_do"] {
        let output = place.run(&["--json", "a.db"]);
        assert_eq!(code(&output), 0);
        assert_eq!(objects(&output)[0]["outcome"], expected);
    }
    let output = place.run(&["a.db"]);
    assert!(text(&output.stdout).starts_with("a.db: nothing to do: 0 frames"), "{output:?}");
    assert_eq!(text(&place.run(&["-q", "a.db"]).stdout), "");
    assert_eq!(rows(&path), 3);
}

#[test]
fn the_default_databases_may_be_missing_and_named_ones_not() {
    let place = Place::new();
    let output = place.run(&["--json"]);
    assert_eq!(code(&output), 0);
    let lines = objects(&output);
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["missing", "missing"]);
    let path = place.wal("btmsg.db", 3);
    let output = place.run(&["--json"]);
    assert_eq!((code(&output), objects(&output)[1]["outcome"].as_str()), (0, Some("truncated")));
    assert_eq!(wal_bytes(&path), 0);
    // Named, and neither it nor its directory is made.
    for name in ["nope.db", "no/such/dir/x.db"] {
        let output = place.run(&["--json", name]);
        assert_eq!(code(&output), 66);
        assert_eq!(objects(&output)[0]["error"]["code"], 66);
        assert!(text(&output.stderr).contains(&format!("open {name}: no such file")), "{output:?}");
        assert!(!place.path(name).exists() && !place.path("no").exists());
    }
}

#[test]
fn a_reader_is_named_and_nothing_is_claimed() {
    let place = Place::new();
    let path = place.wal("a.db", 20);
    let conn = open(&path);
    let reader = Other::start("reader", &path);
    fill(&conn, 20);
    // Time to look at it twice.
    let output = place.run(&["--json", "--deadline", "5s", "a.db"]);
    assert_eq!(code(&output), 75);
    let line = &objects(&output)[0];
    assert_eq!(line["outcome"], "partial");
    let (frames, moved) = (line["frames"].as_u64().unwrap(), line["frames_moved"].as_u64().unwrap());
    assert!(0 < moved && moved < frames, "{line}");
    assert_eq!(line["wal_bytes_after"], line["wal_bytes_before"]);
    let who = &line["in_the_way"][0];
    assert_eq!(who["pid"].as_i64(), Some(reader.pid()));
    assert_eq!(who["read_mark"].as_u64(), Some(moved));
    assert!(who["held_s"].as_f64().unwrap() > 0.1, "{who}");
    // Again: this time nothing can be moved.
    let output = place.run(&["--deadline", "300ms", "a.db"]);
    assert_eq!(code(&output), 75);
    let said = text(&output.stdout);
    assert!(said.starts_with(&format!("a.db: blocked: {moved} of {frames} frames moved")), "{said}");
    assert!(said.contains(&format!("in the way: pid {} (", reader.pid())), "{said}");
    drop(reader);
    assert_eq!(code(&place.run(&["a.db"])), 0);
    assert_eq!((wal_bytes(&path), rows(&path)), (0, 40));
}

#[test]
fn a_reader_that_ends_in_time_is_waited_for() {
    let place = Place::new();
    let path = place.wal("a.db", 20);
    let mut reader = Other::start("reader", &path);
    let run = place.tool().args(["--deadline", "60s", "a.db"]).stdout(Stdio::piped()).spawn().unwrap();
    // Only when the frames were moved and the reader is all that is left.
    common::until("the frames are moved", || {
        agor_common::db::files::Index::read(&path).is_some_and(|index| index.moved >= index.frames)
    });
    reader.go_on();
    let output = run.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(wal_bytes(&path), 0);
}

#[test]
fn what_is_no_database_is_left_alone() {
    let place = Place::new();
    let path = place.wal("a.db", 20);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..8].fill(0xff);
    let junk = place.path("junk.db");
    fs::write(&junk, &bytes).unwrap();
    fs::write(place.path("short.db"), "SQLite").unwrap();
    fs::write(place.path("empty.db"), "").unwrap();
    for (name, expected) in [("junk.db", 65), ("short.db", 65), ("empty.db", 0)] {
        let output = place.run(&[name]);
        assert_eq!(code(&output), expected, "{output:?}");
        assert!(!place.path(&format!("{name}-wal")).exists() && !place.path(&format!("{name}-shm")).exists());
    }
    assert_eq!(fs::read(&junk).unwrap(), bytes);
    // A directory.
    let output = place.run(&["."]);
    assert_eq!((code(&output), text(&output.stdout).as_str()), (77, ""));
    assert!(text(&output.stderr).contains("open .: is a directory"), "{output:?}");
    // A rollback journal: nothing is changed, and nothing is claimed.
    let conn = agor_common::db::rusqlite::Connection::open(place.path("old.db")).unwrap();
    conn.execute_batch("CREATE TABLE t (x)").unwrap();
    let bytes = fs::read(place.path("old.db")).unwrap();
    let output = place.run(&["--json", "old.db"]);
    assert_eq!((code(&output), objects(&output)[0]["outcome"].as_str()), (65, Some("not_wal")));
    assert_eq!(fs::read(place.path("old.db")).unwrap(), bytes);
}

#[test]
fn who_keeps_everybody_out_is_named_in_the_object_too() {
    let place = Place::new();
    let path = place.wal("a.db", 5);
    let holder = Other::start("alone", &path);
    let output = place.run(&["--json", "--deadline", "100ms", "a.db"]);
    assert_eq!(code(&output), 75, "{output:?}");
    let line = &objects(&output)[0];
    assert_eq!((line["outcome"].as_str(), line["error"]["code"].as_u64()), (Some("blocked"), Some(75)));
    let who = &line["in_the_way"][0];
    assert_eq!((who["pid"].as_i64(), who["lock"].as_str()), (Some(holder.pid()), Some("file")), "{line}");
}

#[test]
fn the_mode_is_said_also_where_nothing_was_done() {
    let place = Place::new();
    fs::write(place.path("empty.db"), "").unwrap();
    fs::write(place.path("bad.db"), "x").unwrap();
    let output = place.run(&["--json", "--mode", "passive", "empty.db", "bad.db", "nope.db"]);
    assert_eq!(code(&output), 65);
    assert!(objects(&output).iter().all(|line| line["mode"] == "passive"), "{output:?}");
}

#[test]
fn a_log_without_its_database_is_not_nothing() {
    let place = Place::new();
    let path = place.wal("a.db", 5);
    let before = wal_bytes(&path);
    fs::write(&path, "").unwrap();
    let output = place.run(&["a.db"]);
    assert_eq!((code(&output), text(&output.stdout).as_str()), (65, ""), "{output:?}");
    assert!(text(&output.stderr).contains("it is empty, but its log is not"), "{output:?}");
    assert_eq!(wal_bytes(&path), before);
}

#[test]
fn a_log_that_was_deleted_in_use_is_not_nothing() {
    let place = Place::new();
    let path = place.wal("a.db", 5);
    let reader = Other::start("reader", &path);
    let log = fs::read(place.path("a.db-wal")).unwrap();
    for left in ["no log", "an empty one"] {
        let _ = fs::remove_file(place.path("a.db-wal"));
        if left == "an empty one" {
            fs::write(place.path("a.db-wal"), "").unwrap();
        }
        let output = place.run(&["--json", "a.db"]);
        assert_eq!(code(&output), 74, "{left}: {output:?}");
        let said = &objects(&output)[0]["error"]["message"];
        assert!(said.as_str().unwrap().contains("the log was deleted while"), "{left}: {output:?}");
    }
    // The index alone, which nobody has open any more, says nothing.
    drop(reader);
    assert_eq!(code(&place.run(&["a.db"])), 0);
    fs::write(place.path("a.db-wal"), log).unwrap();
    assert_eq!((code(&place.run(&["a.db"])), rows(&path)), (0, 5));
}

#[test]
fn one_bad_database_does_not_keep_the_others_from_their_pass() {
    let place = Place::new();
    let path = place.wal("good.db", 5);
    fs::write(place.path("bad.db"), "x".repeat(8192)).unwrap();
    let output = place.run(&["--json", "bad.db", "nope.db", "good.db"]);
    assert_eq!(code(&output), 65);
    let lines = objects(&output);
    let of = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("outcome"), ["failed", "missing", "truncated"]);
    assert_eq!(of("exit"), [65, 66, 0]);
    assert_eq!(wal_bytes(&path), 0);
}

#[test]
fn what_cannot_be_printed_is_done_all_the_same() {
    let place = Place::new();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    for (stdout, want) in [(Stdio::from(closed), 0), (Stdio::from(full), 74)] {
        let paths = ["a.db", "b.db", "c.db"].map(|name| place.wal(name, 5));
        let output = place.tool().args(&paths).stdout(stdout).output().unwrap();
        assert_eq!(code(&output), want, "{output:?}");
        assert_eq!(paths.map(|path| wal_bytes(&path)), [0; 3]);
    }
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    place.wal("a.db", 5);
    let output = place.tool().args(["a.db", "nope.db"]).stdout(closed).output().unwrap();
    assert_eq!(code(&output), 66, "{output:?}");
    assert!(text(&output.stderr).contains("nope.db: no such file"), "{output:?}");
}

#[test]
fn usage_errors() {
    let place = Place::new();
    for (args, words) in [
        (&["--stall-bugdet", "1s"][..], "unexpected argument '--stall-bugdet'"),
        (&["--interval", "soon"], "expected a duration"),
        (&["--wal-max", "1MiB"], "--interval"),
        (&["status", "--mode", "passive"], "--mode"),
        (&["--mode", "passive", "status"], "--mode does not go with status"),
    ] {
        let output = place.run(args);
        assert_eq!((code(&output), text(&output.stdout).as_str()), (2, ""), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{args:?}: {output:?}");
    }
    let output = place.tool().env("AGOR_CHECKPOINT_DEADLINE", "never").output().unwrap();
    assert_eq!(code(&output), 78);
    let output = place.tool().env("AGOR_CHECKPOINT_MODE", OsStr::from_bytes(b"\xff")).output().unwrap();
    assert_eq!(code(&output), 78);
    assert!(text(&output.stderr).contains("AGOR_CHECKPOINT_MODE: it is not text"), "{output:?}");
    fs::write(place.path("agor.toml"), "[checkpoint]\ndeadlien = '1s'\n").unwrap();
    let output = place.tool().env("AGOR_CONFIG", place.path("agor.toml")).output().unwrap();
    assert_eq!(code(&output), 78);
    assert!(text(&output.stderr).contains("agor.toml:2: unknown field `deadlien`"), "{output:?}");
    for args in [&["--help"][..], &["--version"], &["status", "--help"]] {
        assert_eq!(code(&place.run(args)), 0, "{args:?}");
    }
}
