//! Many processes at once.

use std::process::Stdio;

use crate::world::{LOCK_WAIT, World, freeze, stderr, stdout};

#[test]
fn fifty_processes_create_the_database_at_once() {
    for _ in 0..3 {
        let world = World::new();
        let children: Vec<_> = (0..50)
            .map(|n| {
                let id = format!("agent-{n}");
                world.btmsg(&["register", &id]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
        }
        assert_eq!(world.number("SELECT count(*) FROM agents"), 50);
        world.assert_sound();
    }
}

#[test]
fn thirty_two_senders_lose_nothing_and_nobody_sees_busy() {
    const SENDERS: usize = 32;
    const EACH: usize = 25;
    let world = World::with_peers();
    let script =
        "i=0; while [ $i -lt $1 ]; do \"$0\" --as alice send bob \"$2-$i\" || exit 1; i=$((i+1)); done";
    let children: Vec<_> = (0..SENDERS)
        .map(|n| {
            world
                .command("sh")
                .args(["-c", script, env!("CARGO_BIN_EXE_btmsg"), &EACH.to_string(), &n.to_string()])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut ids = std::collections::HashSet::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(stderr(&output), "");
        assert!(output.status.success());
        ids.extend(stdout(&output).lines().map(str::to_owned));
    }
    assert_eq!(ids.len(), SENDERS * EACH);
    assert_eq!(world.number("SELECT count(*) FROM messages"), (SENDERS * EACH) as i64);
    assert_eq!(world.number("SELECT count(DISTINCT content) FROM messages"), (SENDERS * EACH) as i64);
    // Each sender's own order is kept.
    assert_eq!(
        world.number(
            "SELECT count(*) FROM (SELECT substr(content, 1, instr(content, '-')) AS s,
                 CAST(substr(content, instr(content, '-') + 1) AS INTEGER) AS n,
                 row_number() OVER (PARTITION BY substr(content, 1, instr(content, '-')) ORDER BY seq) - 1 AS place
                 FROM messages) WHERE n <> place"
        ),
        0
    );
    world.assert_sound();
}

#[test]
fn a_short_hold_is_waited_out_and_a_long_one_is_75_naming_who() {
    let world = World::with_peers();
    let holder = |seconds: &str| {
        let script = "import sqlite3, sys, time\n\
            db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            db.execute('BEGIN IMMEDIATE')\n\
            print('held', flush=True)\n\
            time.sleep(float(sys.argv[2]))";
        let mut child = world
            .command("python3")
            .args(["-c", script])
            .arg(world.db())
            .arg(seconds)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
            .unwrap();
        child
    };
    let mut short = holder("1");
    world.ok(&["--as", "alice", "send", "bob", "patience"]);
    short.wait().unwrap();
    // A writer that is stopped in the middle never lets go.
    let mut long = holder("1000");
    assert!(freeze(&long));
    let start = std::time::Instant::now();
    let output = world.btmsg(&["--as", "alice", "send", "bob", "no"]).env_remove(LOCK_WAIT).output().unwrap();
    assert!(start.elapsed().as_secs_f64() > 4.5, "it waited for its deadline");
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(75), "{error}");
    assert!(error.contains(&format!("pid {}", long.id())), "{error}");
    // Reading needs nobody's leave.
    assert!(world.ok(&["agents"]).contains("bob"));
    long.kill().unwrap();
    long.wait().unwrap();
    assert_eq!(world.inbox("bob"), ["patience"]);
    world.ok(&["--as", "alice", "send", "bob", "again"]);
    world.assert_sound();
}
