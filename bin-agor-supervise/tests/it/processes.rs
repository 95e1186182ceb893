//! Nothing that comes of the command outlives it.

use std::time::Duration;

use crate::support::{World, children_of, is_running, kill, mark, marked, skip, text, until};
use rustix::process::Signal;

/// A command that leaves a helper, a daemon (setsid) and a double-forked daemon behind. `mark` is in their
/// command lines, so that they can be found.
fn family(mark: &str, last: &str) -> String {
    format!(
        "sleep {mark}1 & setsid sleep {mark}2 & (setsid sh -c 'sleep {mark}3 & sleep {mark}4 & wait' &) ; \
         while [ $(pgrep -fc 'sleep {mark}[1-4]$') -lt 4 ]; do :; done; echo up; {last}"
    )
}

fn survivors(mark: &str) -> Vec<i32> {
    (1..=5).flat_map(|i| marked(&format!("sleep\0{mark}{i}"))).collect()
}

fn check(isolate: &str, mark: &str) {
    let world = World::new();
    let base = ["--name", "p", "--isolate", isolate, "--restart", "never", "--", "sh", "-c"];
    let with = |script: &str| {
        let mut args: Vec<String> = base.iter().map(|arg| (*arg).to_owned()).collect();
        args.push(script.to_owned());
        args
    };
    let start = |script: &str| {
        let args = with(script);
        let mut supervisor = world.start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(supervisor.line(), "up");
        supervisor
    };
    // A stop.
    let mut supervisor = start(&family(mark, &format!("exec sleep {mark}5")));
    world.wait_for("p", "healthy");
    let level = world.status("p")["isolation"].as_str().unwrap().to_owned();
    assert!(level.starts_with(isolate), "{level}");
    // It says "up" a moment before its last exec.
    until("all five are there", || survivors(mark).len() == 5);
    supervisor.stop();
    assert!(survivors(mark).is_empty(), "after a stop");
    // A crash.
    let mut supervisor = start(&family(mark, "exit 9"));
    assert_eq!(supervisor.wait().code(), Some(9));
    assert!(survivors(mark).is_empty(), "after a crash");
    // An end with success.
    let mut supervisor = start(&family(mark, "exit 0"));
    assert_eq!(supervisor.wait().code(), Some(0));
    assert!(survivors(mark).is_empty(), "after success");
    // SIGKILL of the supervisor.
    let mut supervisor = start(&family(mark, &format!("exec sleep {mark}5")));
    supervisor.signal(Signal::KILL);
    supervisor.wait();
    until("nothing survives the supervisor", || survivors(mark).is_empty());
}

#[test]
fn nothing_survives_with_a_keeper() {
    check("keeper", &mark(86111));
}

#[test]
fn nothing_survives_in_a_cgroup() {
    let world = World::new();
    let probe = world.run(&["--isolate", "cgroup", "--", "true"]);
    if probe.status.code() == Some(125) {
        return skip(&format!("cgroup: {}", text(&probe.stderr).lines().next().unwrap_or_default()));
    }
    check("cgroup", &mark(86222));
}

#[test]
fn nothing_survives_in_a_pid_namespace() {
    let world = World::new();
    let probe = world.run(&["--isolate", "pid", "--", "true"]);
    if probe.status.code() != Some(0) {
        return skip(&format!("pid namespace: {}", text(&probe.stderr).lines().next().unwrap_or_default()));
    }
    check("pid", &mark(86333));
    let output = world.run(&["--isolate", "pid", "--", "sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l"]);
    let said = text(&output.stdout);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("2"), "its pids are its own");
    assert!(lines.next().unwrap().trim().parse::<u32>().unwrap() < 10, "and so is its /proc");
}

#[test]
fn supervisor_and_keeper_killed_together() {
    // In a PID namespace nothing is left; in a cgroup the next supervisor of the name ends it.
    for (isolate, mark) in [("pid", mark(86666)), ("cgroup", mark(86777))] {
        let mark = mark.as_str();
        let world = World::new();
        if world.run(&["--isolate", isolate, "--", "true"]).status.code() != Some(0) {
            skip(&format!("no isolation by {isolate} here"));
            continue;
        }
        let script = family(mark, &format!("exec sleep {mark}5"));
        let mut supervisor =
            world.start(&["--name", "both", "--isolate", isolate, "--", "sh", "-c", &script]);
        assert_eq!(supervisor.line(), "up");
        let keeper = children_of(supervisor.pid())[0];
        supervisor.signal(Signal::STOP);
        kill(keeper, Signal::KILL);
        supervisor.signal(Signal::KILL);
        supervisor.wait();
        if isolate == "cgroup" {
            let next = world.run(&["--name", "both", "--isolate", isolate, "--", "true"]);
            assert_eq!(next.status.code(), Some(0), "{}", text(&next.stderr));
        }
        until("nothing survives", || survivors(mark).is_empty());
    }
}

#[test]
fn the_keeper_killed_is_a_crash_and_no_more() {
    let world = World::new();
    let mark = &mark(86444);
    let script = family(mark, &format!("exec sleep {mark}5"));
    let mut supervisor = world.start(&["--name", "k", "--backoff-base", "0.01", "--", "sh", "-c", &script]);
    assert_eq!(supervisor.line(), "up");
    let before = survivors(mark);
    let keeper = children_of(supervisor.pid());
    assert_eq!(keeper.len(), 1);
    assert_eq!(std::fs::read_to_string(format!("/proc/{}/comm", keeper[0])).unwrap().trim(), "agor-keeper");
    kill(keeper[0], Signal::KILL);
    assert_eq!(supervisor.line(), "up");
    assert!(before.iter().all(|pid| !is_running(*pid)));
    // It says "up" a moment before its last exec.
    until("all five are back", || survivors(mark).len() == 5);
    supervisor.stop();
    assert!(survivors(mark).is_empty());
    assert_eq!(world.history("k").len(), 2);
}

#[test]
fn a_stopped_keeper_keeps_no_stop_waiting() {
    let world = World::new();
    let mark = &mark(86888);
    let script = family(mark, &format!("exec sleep {mark}5"));
    let mut supervisor = world.start(&["--name", "s", "--", "sh", "-c", &script]);
    assert_eq!(supervisor.line(), "up");
    world.wait_for("s", "healthy");
    kill(children_of(supervisor.pid())[0], Signal::STOP);
    assert_eq!(supervisor.stop().code(), Some(0));
    assert!(survivors(mark).is_empty());
}

#[test]
fn a_supervisor_killed_while_it_starts_leaves_nothing() {
    let world = World::new();
    let mark = &(mark(86555) + "1");
    for round in 0..200u64 {
        let mut supervisor = world.start(&["--name", "early", "--", "sleep", mark]);
        std::thread::sleep(Duration::from_micros(round * 20));
        supervisor.signal(Signal::KILL);
        supervisor.wait();
    }
    until("nothing survives", || marked(&format!("sleep\0{mark}")).is_empty());
    until("no keeper either", || marked("agor-keeper").iter().all(|pid| world_of(*pid) != data(&world)));
}

fn data(world: &World) -> String {
    world.path("data").display().to_string()
}

/// `AGOR_DATA_DIR` in a process's environment.
fn world_of(pid: i32) -> String {
    let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let env = text(&env);
    let value = env.split('\0').find_map(|entry| entry.strip_prefix("AGOR_DATA_DIR="));
    value.unwrap_or_default().to_owned()
}

#[test]
fn orphans_are_reaped_and_the_status_is_the_commands() {
    let world = World::new();
    // Each subshell starts a grandchild and ends: 2000 orphans for the keeper.
    let script = "i=0; while [ $i -lt 2000 ]; do (true & ) ; i=$((i+1)); done; echo up; read x; exit 42";
    let mut supervisor = world.start(&["--name", "o", "--restart", "never", "--", "sh", "-c", script]);
    assert_eq!(supervisor.line(), "up");
    let keeper = children_of(supervisor.pid())[0];
    until("no zombie", || {
        children_of(keeper).iter().all(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.contains(") Z ")
        })
    });
    supervisor.write("\n");
    assert_eq!(supervisor.wait().code(), Some(42));
}

#[test]
fn an_orphan_that_holds_stdout_does_not_delay_the_end() {
    let world = World::new();
    for observe in [&[][..], &["--observe"]] {
        let mut args = observe.to_vec();
        args.extend(["--", "sh", "-c", "setsid sleep 1000 & echo x; exit 0"]);
        let output = world.run(&args);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "x\n"));
    }
}

/// What is open in a process, by number.
fn open_files(pid: i32) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn descriptors_do_not_leak() {
    let world = World::new();
    let script =
        "[ $AGOR_INCARNATION -lt 1000 ] && exit 1; ls /proc/self/fd | wc -l; echo up; exec sleep 1000";
    let mut supervisor = world.start(&[
        "--name",
        "fds",
        "--backoff-base",
        "0",
        "--max-attempts",
        "0",
        "--observe",
        "--",
        "sh",
        "-c",
        script,
    ]);
    // What our own caller may have left open is not ours to close.
    let direct = std::process::Command::new("sh").args(["-c", "ls /proc/self/fd | wc -l"]).output().unwrap();
    assert_eq!(supervisor.line(), text(&direct.stdout).trim(), "the command inherits nothing of ours");
    assert_eq!(supervisor.line(), "up");
    let count = open_files(supervisor.pid()).len();
    assert!(count < 32, "{count} open after 1000 incarnations");
    let keeper = children_of(supervisor.pid())[0];
    assert!(open_files(keeper).len() < 12);
    assert_eq!(supervisor.stop().code(), Some(0));
    assert_eq!(world.history("fds").len(), 1000);
}

#[test]
fn listening_sockets_are_passed_on() {
    let world = World::new();
    // A launcher that becomes the supervisor, with a descriptor 3, as systemd does.
    let script = format!(
        "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec {} -- sh -c \
         '[ $LISTEN_PID = $$ ] && [ $LISTEN_FDS = 1 ] && [ -e /proc/$$/fd/3 ] && echo passed'",
        env!("CARGO_BIN_EXE_agor-supervise")
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("AGOR_DATA_DIR", world.path("data"))
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "passed\n");
}

#[test]
fn no_process_to_be_had_is_an_attempt() {
    let world = World::new();
    let args = "--name e --backoff-base 0.01 --max-attempts 2 -- true";
    let Some(mut command) = world.without_processes(args) else { return };
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("Resource temporarily unavailable"), "{said}");
    assert!(said.contains("attempt 2 of 2") && said.contains("failed after 2 attempts"), "{said}");
}
