//! Orders: restart, stop, kill, reset, hold, one supervisor per name.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::support::{World, is_running, kill, mark, marked, text, until};
use rustix::process::Signal;

const COUNT: &str = "echo $AGOR_INCARNATION; exec sleep 1000";

#[test]
fn restart_and_stop() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "a", "--", "sh", "-c", COUNT]);
    assert_eq!(supervisor.line(), "1");
    let first = world.pid("a", 1);
    let output = world.run(&["restart", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(supervisor.line(), "2");
    let status = world.status("a");
    assert_ne!(status["pid"].as_i64().unwrap(), i64::from(first));
    assert_eq!((&status["health"], status["attempt"].as_i64()), (&"healthy".into(), Some(0)));
    assert_eq!(world.run(&["stop", "a"]).status.code(), Some(0));
    assert_eq!(supervisor.wait().code(), Some(0));
    assert_eq!(world.status("a")["health"], "stopped");
    let reasons: Vec<_> = world.history("a").iter().map(|row| row["reason"].clone()).collect();
    assert_eq!(reasons, ["restart", "stop"]);
    for verb in ["stop", "restart", "reset", "kill"] {
        assert_eq!(world.run(&[verb, "a"]).status.code(), Some(1), "{verb} what is over");
        let output = world.run(&[verb, "nobody"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("no supervised command is named nobody"));
    }
}

#[test]
fn a_restart_of_what_then_ends_with_success_is_a_restart() {
    let world = World::new();
    let script = "echo $AGOR_INCARNATION; [ $AGOR_INCARNATION = 1 ] && exec sleep 1000; exit 0";
    // Never seen healthy, since it never says so.
    let mut supervisor = world.start(&["--name", "a", "--ready", "notify", "--", "sh", "-c", script]);
    assert_eq!(supervisor.line(), "1");
    let output = world.run(&["restart", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "a: restarted\n");
    assert_eq!(supervisor.wait().code(), Some(0));
}

/// By the time that a stop is seen to be done somebody may have started the next supervisor of the name.
#[test]
fn a_stop_is_of_the_supervisor_that_it_was_for() {
    let world = World::new();
    let binary = env!("CARGO_BIN_EXE_agor-supervise");
    let script = format!("while [ ! -e over ]; do {binary} --name a -- sleep 1000; done");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(world.dir.path()).env("AGOR_DATA_DIR", world.path("data"));
    let mut shell = world.spawn(&mut shell);
    // `status --wait` gives up one that has ended when no other follows within a second.
    let up = || until("it is healthy", || world.run(&["status", "a"]).status.success());
    for _ in 0..10 {
        up();
        let output = world.run(&["stop", "a"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    up();
    std::fs::write(world.path("over"), "").unwrap();
    assert_eq!(world.run(&["stop", "a"]).status.code(), Some(0));
    shell.wait();
}

#[test]
fn a_stop_that_comes_too_late_is_a_stop() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "t", "--", "sleep", "1000"]);
    world.wait_for("t", "healthy");
    supervisor.signal(Signal::STOP);
    std::fs::remove_file(world.path("data/run/t.control")).unwrap();
    let order = world.start(&["stop", "t"]);
    // It finds no FIFO and says so to the supervisor, which does not hear it.
    let status = format!("/proc/{}/status", supervisor.pid());
    until("the order waits", || {
        let text = std::fs::read_to_string(&status).unwrap();
        let pending = text.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
        u64::from_str_radix(pending.trim(), 16).unwrap() & 1 << (libc::SIGCHLD - 1) != 0
    });
    supervisor.signal(Signal::KILL);
    supervisor.wait();
    let (status, out, err) = order.finish();
    assert_eq!((status.code(), out.as_str()), (Some(0), "t: stopped\n"), "{err}");
}

#[test]
fn an_answer_is_there_also_where_the_next_supervisor_has_the_name() {
    let world = World::new();
    let args = ["--name", "n", "--restart", "never", "--", "sleep", "1000"];
    let mut first = world.start(&args);
    world.wait_for("n", "healthy");
    std::fs::write(world.path("data/run/n.control"), "kill TERM #1\n").unwrap();
    assert_eq!(first.wait().code(), Some(143));
    let mut second = world.start(&args);
    world.wait_for("n", "healthy");
    let state = std::fs::read_to_string(world.path("data/run/n.state")).unwrap();
    // What was longer before may still follow.
    let first = serde_json::Deserializer::from_str(state.split_once('\n').unwrap().1).into_iter().next();
    let state: serde_json::Value = first.unwrap().unwrap();
    assert_eq!(state["answers"][0]["id"], "#1", "{state}");
    second.stop();
}

#[test]
fn restart_leaves_backoff_at_once_and_only_once() {
    let world = World::new();
    let script = "echo $AGOR_INCARNATION; [ $AGOR_INCARNATION -gt 1 ] && exec sleep 1000; exit 1";
    let mut supervisor =
        world.start(&["--name", "b", "--backoff-base", "8", "--backoff-cap", "8", "--", "sh", "-c", script]);
    assert_eq!(supervisor.line(), "1");
    world.wait_for_backoff("b");
    let status = world.status("b");
    assert_eq!((status["attempt"].as_i64(), status["max_attempts"].as_i64()), (Some(1), Some(5)));
    let left = status["next_retry_s"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 8.0, "{left}");
    assert_eq!(world.run(&["restart", "b"]).status.code(), Some(0));
    assert_eq!(supervisor.line(), "2");
    // Past the time at which the old timer would have been due.
    std::thread::sleep(Duration::from_secs_f64(left + 0.2));
    assert_eq!(world.status("b")["incarnation"], 2);
    supervisor.stop();
}

#[test]
fn stop_in_backoff_starts_nothing_more() {
    for by_signal in [false, true] {
        let world = World::new();
        let args = ["--name", "b", "--backoff-base", "1000", "--backoff-cap", "1000"];
        let mut command = world.command(&args);
        let mut supervisor = world.spawn(command.args(["--", "sh", "-c", "echo x; exit 1"]));
        assert_eq!(supervisor.line(), "x");
        world.wait_for_backoff("b");
        if by_signal {
            supervisor.signal(Signal::TERM);
        } else {
            assert_eq!(world.run(&["stop", "b"]).status.code(), Some(0));
        }
        // Nor is the end of the pause waited for.
        let (status, out, _) = supervisor.finish();
        assert_eq!((status.code(), out.as_str()), (Some(0), ""));
        let status = world.status("b");
        assert_eq!((&status["health"], &status["reason"]), (&"stopped".into(), &"stop".into()));
    }
}

/// A stop at the very moment of a crash, at a hundred different moments.
#[test]
fn stop_against_crash_never_restarts() {
    let world = World::new();
    for round in 0..100u64 {
        let mut supervisor = world.start(&[
            "--name",
            "race",
            "--backoff-base",
            "0",
            "--max-attempts",
            "0",
            "--stderr",
            "inherit",
            "--",
            "sh",
            "-c",
            "echo x; sleep 0.003; exit 1",
        ]);
        assert_eq!(supervisor.line(), "x");
        std::thread::sleep(Duration::from_micros(2000 + round * 60));
        let status = supervisor.stop();
        assert!(status.code().is_some_and(|code| code == 0 || code == 1), "{status:?}");
        let after = world.status("race");
        assert_eq!((&after["health"], &after["supervisor"]), (&"stopped".into(), &"ended".into()));
        let keeper_gone = supervisor.finish().1;
        // Its stdout is at its end: nobody is left that could write.
        assert!(keeper_gone.lines().all(|line| line == "x"));
    }
}

#[test]
fn one_name_one_supervisor() {
    let world = World::new();
    let mut first = world.start(&["--name", "n", "--", "sh", "-c", COUNT]);
    assert_eq!(first.line(), "1");
    world.wait_for("n", "healthy");
    let second = world.run(&["--name", "n", "--", "echo", "never"]);
    assert_eq!((second.status.code(), text(&second.stdout).as_str()), (Some(75), ""));
    assert!(text(&second.stderr).contains(&format!("pid {}", first.pid())), "{}", text(&second.stderr));
    assert_eq!(world.status("n")["health"], "healthy");
    first.stop();
    assert_eq!(world.run(&["--name", "n", "--", "true"]).status.code(), Some(0));
}

#[test]
fn a_killed_supervisor_is_succeeded() {
    let world = World::new();
    let marker = &(mark(31415) + "1");
    let script = format!(
        "[ $AGOR_INCARNATION = 1 ] && exit 1; echo $AGOR_INCARNATION $AGOR_ATTEMPT; exec sleep {marker}"
    );
    let args = ["--name", "k", "--backoff-base", "0.01", "--", "sh", "-c", &script];
    let mut first = world.start(&args);
    assert_eq!(first.line(), "2 1");
    let child = world.pid("k", 2);
    // The database follows a moment later; what it does not have yet the successor adds of the last one only.
    until("the crash is recorded", || world.history("k").iter().any(|row| row["incarnation"] == 1));
    first.signal(Signal::KILL);
    first.wait();
    // Whatever the moment: never healthy.
    let status = world.status("k");
    assert_eq!((&status["health"], &status["supervisor"]), (&"failed".into(), &"lost".into()));
    assert_eq!(world.run(&["status", "k"]).status.code(), Some(1));
    let mut second = world.start(&args);
    assert_eq!(second.line(), "3 1", "the count of attempts and incarnations goes on");
    assert!(!is_running(child));
    // It says so a moment before its last exec, during which it has no arguments.
    let running = || marked(&format!("sleep\0{marker}")).len();
    until("it is executed", || running() > 0);
    assert_eq!(running(), 1, "no duplicate");
    second.stop();
    let history = world.history("k");
    assert_eq!(history.iter().map(|row| row["incarnation"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(history[1]["reason"], "supervisor lost");
}

#[test]
fn the_history_of_a_killed_supervisor_runs_no_more() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "h", "--", "sleep", "1000"]);
    until("the start is recorded", || world.history("h").iter().any(|row| row["incarnation"] == 1));
    let shown = text(&world.run(&["history", "h"]).stdout);
    assert!(shown.ends_with(" running\n"), "{shown}");
    supervisor.signal(Signal::KILL);
    supervisor.wait();
    let shown = text(&world.run(&["history", "h"]).stdout);
    assert!(shown.ends_with(" supervisor lost\n"), "{shown}");
    assert_eq!(world.history("h")[0]["reason"], "supervisor lost");
}

#[test]
fn hold_waits_failed_until_a_restart() {
    let world = World::new();
    let ok = world.path("ok");
    let script = format!("[ -e {} ] && exec sleep 1000; exit 5", ok.display());
    let mut supervisor = world.start(&[
        "--name",
        "h",
        "--hold",
        "--max-attempts",
        "1",
        "--backoff-base",
        "0.01",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    world.wait_for("h", "failed");
    let status = world.status("h");
    assert_eq!((&status["supervisor"], status["attempts"].as_i64()), (&"alive".into(), Some(1)));
    let refused = world.run(&["kill", "h"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("not running"));
    std::fs::write(ok, "").unwrap();
    assert_eq!(world.run(&["restart", "h"]).status.code(), Some(0));
    assert_eq!(world.status("h")["health"], "healthy");
    supervisor.stop();
}

#[test]
fn a_stop_of_what_was_given_up_and_held_has_the_failed_exit() {
    let world = World::new();
    let mut supervisor =
        world.start(&["--name", "g", "--restart", "never", "--hold", "--failed-exit", "42", "--", "false"]);
    world.wait_for("g", "failed");
    assert_eq!(world.run(&["stop", "g"]).status.code(), Some(0));
    assert_eq!(supervisor.wait().code(), Some(42));
}

#[test]
fn only_a_first_start_is_called_one() {
    let world = World::new();
    let mut supervisor =
        world.start(&["--name", "f", "--backoff-base", "1000", "--backoff-cap", "1000", "--", "false"]);
    world.wait_for_backoff("f");
    assert_eq!(world.run(&["reset", "f"]).status.code(), Some(0));
    let shown = text(&world.run(&["status", "f"]).stdout);
    assert!(shown.starts_with("f: restarting (next in "), "{shown}");
    supervisor.stop();
    let script = "trap '' TERM; echo up; exec sleep 1000";
    let mut supervisor = world.start(&["--name", "s", "--stop-grace", "1000", "--", "sh", "-c", script]);
    assert_eq!(supervisor.line(), "up");
    world.wait_for("s", "healthy");
    assert_eq!(world.run(&["restart", "s", "--no-wait"]).status.code(), Some(0));
    let shown = text(&world.run(&["status", "s"]).stdout);
    assert!(shown.starts_with("s: restarting (now)"), "{shown}");
    assert_eq!(world.status("s")["reason"], "restart");
    assert_eq!(world.run(&["stop", "s", "--no-wait"]).status.code(), Some(0));
    supervisor.stop();
}

#[test]
fn kill_and_reset() {
    let world = World::new();
    let script = "trap 'echo usr1' USR1; echo up; while :; do sleep 0.01; done";
    let mut supervisor = world.start(&["--name", "k", "--backoff-base", "0.01", "--", "sh", "-c", script]);
    assert_eq!(supervisor.line(), "up");
    world.healthy("k", 1);
    assert_eq!(world.run(&["kill", "k", "USR1"]).status.code(), Some(0));
    assert_eq!(supervisor.line(), "usr1");
    assert_eq!(world.run(&["kill", "k", "9"]).status.code(), Some(0));
    assert_eq!(supervisor.line(), "up");
    assert_eq!(world.healthy("k", 2)["attempt"], 1);
    assert_eq!(world.run(&["reset", "k"]).status.code(), Some(0));
    assert_eq!(world.status("k")["attempt"], 0);
    supervisor.stop();
}

#[test]
fn orders_by_hand_and_nonsense() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "o", "--", "sh", "-c", COUNT]);
    assert_eq!(supervisor.line(), "1");
    world.wait_for("o", "healthy");
    let fifo = world.path("data/run/o.control");
    until("the FIFO is there", || fifo.exists());
    std::fs::write(&fifo, "\n\u{0}\nfrobnicate\nkill\nkill NOSIG\nrestart now\n").unwrap();
    std::fs::write(&fifo, "x".repeat(4000)).unwrap();
    std::fs::write(&fifo, "\nrestart\n").unwrap();
    assert_eq!(supervisor.line(), "2");
    // An order without an end does not spoil the next one.
    std::fs::write(&fifo, "kill").unwrap();
    let output = world.run(&["reset", "o"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    supervisor.stop();
}

#[test]
fn many_orders_at_once_are_all_answered() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "m", "--", "sh", "-c", COUNT]);
    assert_eq!(supervisor.line(), "1");
    world.wait_for("m", "healthy");
    supervisor.signal(Signal::STOP);
    let orders: Vec<_> = (0..40).map(|_| world.start(&["reset", "m", "--timeout", "50"])).collect();
    let fifo = File::options().read(true).write(true).open(world.path("data/run/m.control")).unwrap();
    let all = 40 * "\nreset #0123456789abcdef\n".len() as u64;
    until("all have given their order", || rustix::io::ioctl_fionread(&fifo).unwrap() == all);
    supervisor.signal(Signal::CONT);
    for order in orders {
        let (status, _, err) = order.finish();
        assert_eq!(status.code(), Some(0), "{err}");
    }
    supervisor.stop();
}

#[test]
fn waiting_has_a_deadline_and_an_answer() {
    let world = World::new();
    let start = Instant::now();
    let output = world.run(&["status", "ghost", "--wait", "healthy", "--timeout", "0.2"]);
    assert_eq!(output.status.code(), Some(124));
    assert!(start.elapsed() >= Duration::from_millis(200));
    let mut supervisor =
        world.start(&["--name", "w", "--backoff-base", "0.1", "--max-attempts", "1", "--", "false"]);
    let output = world.run(&["status", "w", "--wait", "stopped", "--timeout", "30"]);
    assert_eq!(output.status.code(), Some(1), "it fails, so it will not be stopped");
    assert_eq!(supervisor.wait().code(), Some(1));
    assert_eq!(world.run(&["status", "ghost"]).status.code(), Some(1));
}

#[test]
fn list_shows_all() {
    let world = World::new();
    world.run(&["--name", "one", "--", "true"]);
    world.run(&["--name", "two", "--restart", "never", "--", "false"]);
    world.run(&["--", "true"]);
    let output = text(&world.run(&["list"]).stdout);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 3, "{output}");
    assert!(lines[0].starts_with("one ") && lines[0].ends_with("stopped (completed)"));
    assert!(lines[2].starts_with("two ") && lines[2].contains("failed after 1 attempt: exit 1"));
    let json = text(&world.run(&["list", "--json"]).stdout);
    assert_eq!(json.lines().count(), 3);
    assert!(json.lines().all(|line| line.starts_with("{\"schema\":1,")), "{json}");
}

#[test]
fn names_are_lined_up_by_what_a_terminal_shows() {
    let world = World::new();
    for name in ["作業者", "é\u{301}"] {
        world.run(&["--name", name, "--", "true"]);
    }
    let output = text(&world.run(&["list"]).stdout);
    for shown in ["作業者  ", "é\u{301}       "] {
        let line = output.lines().find(|line| line.starts_with(shown));
        assert!(line.is_some_and(|line| line[shown.len()..].starts_with("stopped")), "{output}");
    }
}

#[test]
fn readers_never_see_a_torn_state() {
    let world = World::new();
    let mut supervisor = world.start(&[
        "--name",
        "t",
        "--backoff-base",
        "0.001",
        "--backoff-cap",
        "0.002",
        "--max-attempts",
        "0",
        "--",
        "false",
    ]);
    world.wait_for("t", "restarting");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let status = world.status("t");
                    let health = status["health"].as_str().unwrap();
                    assert!(["healthy", "restarting"].contains(&health), "{status}");
                }
            });
        }
    });
    supervisor.stop();
    let (_, _, err) = supervisor.finish();
    assert!(!err.contains("cannot record"), "{err}");
}

#[test]
fn a_second_stop_kills_at_once() {
    let world = World::new();
    let script = "trap '' TERM; echo up; while :; do sleep 1000; done";
    let mut supervisor = world.start(&["--name", "z", "--stop-grace", "1000", "--", "sh", "-c", script]);
    assert_eq!(supervisor.line(), "up");
    supervisor.signal(Signal::TERM);
    until("stopping", || world.status("z")["reason"] == "stopping");
    supervisor.signal(Signal::TERM);
    assert_eq!(supervisor.wait().code(), Some(137));
    let _ = kill as fn(i32, Signal);
}
