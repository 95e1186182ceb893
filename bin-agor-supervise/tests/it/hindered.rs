//! Pieces that somebody has stopped, starts that come to nothing, and ends that wait for a reader.

use std::io::{BufRead as _, BufReader};

use crate::support::{Supervisor, World, children_of, kill, skip, text, until};
use rustix::process::Signal;

fn is_stopped(pid: i32) -> bool {
    agor_common::process::is_stopped(pid)
}

#[test]
fn a_stopped_keeper_goes_on_whenever_it_is_stopped() {
    let world = World::new();
    let args = ["--name", "k", "--backoff-base", "1000", "--backoff-cap", "1000", "--", "false"];
    let mut supervisor = world.start(&args);
    world.wait_for_backoff("k");
    let keeper = children_of(supervisor.pid())[0];
    kill(keeper, Signal::STOP);
    // There is no order for it now that it could go on with.
    until("it goes on", || !is_stopped(keeper));
    assert_eq!(supervisor.stop().code(), Some(0));
}

#[test]
fn what_is_stopped_while_it_ends_goes_on() {
    let world = World::new();
    let script = "trap 'echo term; read x; exit 0' TERM; echo up; while :; do read x; done";
    let mut supervisor = world.start(&["--name", "s", "--stop-grace", "1000", "--", "sh", "-c", script]);
    assert_eq!(supervisor.line(), "up");
    let child = world.pid("s", 1);
    supervisor.signal(Signal::TERM);
    assert_eq!(supervisor.line(), "term");
    kill(child, Signal::STOP);
    until("it goes on", || !is_stopped(child));
    drop(supervisor.stdin.take());
    assert_eq!(supervisor.wait().code(), Some(0));
}

/// A supervisor whose command was stopped before it executed its program, for which the keeper waits. A search
/// along very many directories makes that long enough to stop it in the middle of it.
fn with_an_unborn_command(world: &World, grace: &str) -> Option<(Supervisor, i32)> {
    // Not always at the first try, on a machine that has much to do.
    let caught = (0..20).find_map(|_| try_unborn_command(world, grace));
    if caught.is_none() {
        skip("it was executed already");
    }
    caught
}

fn try_unborn_command(world: &World, grace: &str) -> Option<(Supervisor, i32)> {
    let path = format!("{}:/usr/bin:/bin", ["/n"; 40_000].join(":"));
    let mut command = world.command(&["--name", "e", "--stop-grace", grace, "--", "sleep", "1000"]);
    let mut supervisor = world.spawn(command.env("PATH", path));
    let mut child = None;
    until("it is being executed", || {
        let keeper = children_of(supervisor.pid()).first().copied();
        child = keeper.and_then(|keeper| children_of(keeper).first().copied());
        child.is_some()
    });
    let child = child.unwrap();
    kill(child, Signal::STOP);
    if std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap().trim() == "agor-keeper" {
        return Some((supervisor, child));
    }
    supervisor.stop();
    None
}

#[test]
fn what_was_stopped_before_it_began_ends_by_the_stop_signal() {
    let world = World::new();
    let Some((mut supervisor, child)) = with_an_unborn_command(&world, "1000") else { return };
    assert_eq!(supervisor.stop().code(), Some(0));
    assert!(!crate::support::is_running(child));
    assert_eq!(world.history("e")[0]["signal"], 15);
}

#[test]
fn what_was_stopped_before_it_began_is_killed_without_a_grace() {
    let world = World::new();
    let Some((mut supervisor, child)) = with_an_unborn_command(&world, "0") else { return };
    assert_eq!(supervisor.stop().code(), Some(137));
    assert!(!crate::support::is_running(child));
    assert!(!supervisor.finish().2.contains("did not answer"));
}

/// Neither SIGCONT nor an order reaches one that is traced.
#[test]
fn a_keeper_that_does_not_answer_is_given_up() {
    let tracer = "import ctypes, sys, time; trace = ctypes.CDLL(None).ptrace; pid = int(sys.argv[1]); \
                  seize, interrupt = 0x4206, 0x4207; \
                  print(trace(seize, pid, None, None) or trace(interrupt, pid, None, None), flush=True); \
                  time.sleep(1000)";
    let world = World::new();
    let args = ["--name", "g", "--stop-grace", "0", "--", "sh", "-c", "echo $$; exec sleep 1000"];
    let mut supervisor = world.start(&args);
    let child: i32 = supervisor.line().parse().unwrap();
    world.wait_for("g", "healthy");
    let keeper = children_of(supervisor.pid())[0].to_string();
    let mut python = std::process::Command::new("python3");
    let mut python = match python.args(["-c", tracer, &keeper]).stdout(std::process::Stdio::piped()).spawn() {
        Ok(python) => python,
        Err(error) => return skip(&format!("no python3 to trace with: {error}")),
    };
    let mut said = String::new();
    BufReader::new(python.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    let status = supervisor.stop();
    python.kill().unwrap();
    python.wait().unwrap();
    if said.trim() != "0" {
        return skip("nobody may be traced here");
    }
    assert_eq!(status.code(), Some(137));
    assert!(!crate::support::is_running(child));
    assert!(supervisor.finish().2.contains("did not answer"));
}

#[test]
fn a_caller_that_does_not_want_to_hear_of_children_changes_nothing() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return skip("no python3 to ignore SIGCHLD with");
    }
    let world = World::new();
    let script = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); \
                  os.execv(sys.argv[1], sys.argv[1:])";
    let mut python = std::process::Command::new("python3");
    python.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_agor-supervise"),
        "--",
        "grep",
        "SigIgn",
        "/proc/self/status",
    ]);
    python.env("AGOR_DATA_DIR", world.path("data"));
    let (status, out, err) = world.spawn(&mut python).finish();
    assert_eq!(status.code(), Some(0), "{err}");
    // Signal 17 is bit 16: the command ignores what its caller ignored.
    let ignored = out.trim().rsplit('\t').next().map(|hex| u64::from_str_radix(hex, 16).unwrap());
    assert_eq!(ignored.unwrap() >> 16 & 1, 1, "{out}");
}

#[test]
fn starts_that_come_to_nothing_at_once_are_no_deeper_than_one() {
    let world = World::new();
    let args = "--name e --backoff-base 0 --max-attempts 20000 -- true";
    let Some(mut command) = world.without_processes(args) else { return };
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said:.2000}");
    assert!(said.contains("failed after 20000 attempts"), "{said:.2000}");
}

/// A command that ends with more written than the pipes to its reader hold.
const UNREAD: &str = "head -c 100000 /dev/zero; exit 0";

#[test]
fn a_stop_ends_the_wait_for_a_reader() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "f", "--observe", "--", "sh", "-c", UNREAD]);
    until("it has ended", || world.status("f")["health"] == "stopped");
    assert_eq!(world.status("f")["supervisor"], "alive", "what it wrote is still to be read");
    let refused = world.run(&["restart", "f"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    let output = world.run(&["stop", "f"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(supervisor.wait().code(), Some(0));
}

#[test]
fn a_stop_before_a_start_that_waits_for_a_reader_is_told_once() {
    let world = World::new();
    let script = "head -c 100000 /dev/zero; exit 3";
    let args = ["--name", "o", "--observe", "--backoff-base", "0", "--stop-grace", "0"];
    let mut command = world.command(&args);
    command.args(["--on-event", "cat >> events", "--", "sh", "-c", script]);
    let mut supervisor = world.spawn(&mut command);
    until("it waits to be started again", || world.status("o")["attempt"] == 1);
    assert_eq!(supervisor.stop().code(), Some(0));
    let events = std::fs::read_to_string(world.path("events")).unwrap();
    assert_eq!(events.matches("\"event\":\"stopped\"").count(), 1, "{events}");
}

/// The runtime directory of a user goes with the last logout.
#[test]
fn a_runtime_directory_that_was_removed_is_made_again() {
    let world = World::new();
    let args = ["--name", "r", "--ready", "notify", "--backoff-base", "0.01", "--", "sh", "-c"];
    let mut command = world.command(&args);
    let mut supervisor = world.spawn(command.arg("echo $NOTIFY_SOCKET; exec sleep 1000"));
    let socket = supervisor.line();
    // Whatever it makes is there by then.
    world.pid("r", 1);
    std::fs::remove_dir_all(world.path("data/run")).unwrap();
    kill(world.pid("r", 1), Signal::KILL);
    assert_eq!(supervisor.line(), socket);
    until("it is there again", || world.path("data/run/r.state").exists());
    let second = world.run(&["--name", "r", "--", "echo", "never"]);
    assert_eq!((second.status.code(), text(&second.stdout).as_str()), (Some(75), ""));
    std::os::unix::net::UnixDatagram::unbound().unwrap().send_to(b"READY=1", &socket).unwrap();
    world.wait_for("r", "healthy");
    let output = world.run(&["stop", "r"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(supervisor.wait().code(), Some(0));
}

#[test]
fn a_name_stays_taken_while_its_runtime_directory_is_gone() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "r", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    assert_eq!(supervisor.line(), "up");
    world.pid("r", 1);
    std::fs::remove_dir_all(world.path("data/run")).unwrap();
    until("the database knows it", || world.run(&["status", "r"]).status.success());
    let is_refused = || {
        let second = world.run(&["--name", "r", "--", "echo", "never"]);
        assert_eq!((second.status.code(), text(&second.stdout).as_str()), (Some(75), ""));
        let said = text(&second.stderr);
        assert!(said.contains(&format!("pid {}", supervisor.pid())), "{said}");
    };
    // Nor does the second one that asks get it, however long the first one's reminder takes.
    supervisor.signal(Signal::STOP);
    is_refused();
    is_refused();
    supervisor.signal(Signal::CONT);
    until("its files are there again", || world.path("data/run/r.state").exists());
    is_refused();
    assert_eq!(world.run(&["reset", "r"]).status.code(), Some(0));
    std::fs::remove_file(world.path("data/run/r.lock")).unwrap();
    is_refused();
    // Nothing happens to the command that would bring the files back: the order itself does.
    let lost = || std::fs::remove_dir_all(world.path("data/run")).unwrap();
    let lost_pipe = || std::fs::remove_file(world.path("data/run/r.control")).unwrap();
    for (order, lose) in [("reset", &lost as &dyn Fn()), ("reset", &lost_pipe), ("stop", &lost)] {
        lose();
        let output = world.run(&[order, "r"]);
        assert_eq!(output.status.code(), Some(0), "{order}: {}", text(&output.stderr));
    }
    assert_eq!(supervisor.wait().code(), Some(0));
}

#[test]
fn a_file_in_the_place_of_the_pipe_for_orders_gives_way() {
    let world = World::new();
    std::fs::create_dir_all(world.path("data/run")).unwrap();
    std::fs::write(world.path("data/run/f.control"), "stop\n").unwrap();
    let mut supervisor = world.start(&["--name", "f", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    assert_eq!(supervisor.line(), "up");
    world.wait_for("f", "healthy");
    let output = world.run(&["reset", "f"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(supervisor.stop().code(), Some(0));
}

#[test]
fn a_name_that_somebody_took_meanwhile_is_his() {
    let world = World::new();
    let script = "echo up; exec sleep 1000";
    let args = ["--name", "r", "--backoff-base", "0.01", "--", "sh", "-c", script];
    let mut first = world.start(&args);
    assert_eq!(first.line(), "up");
    let child = world.pid("r", 1);
    // The database too: it would say who has the name.
    std::fs::rename(world.path("data"), world.path("old")).unwrap();
    let mut second = world.start(&args);
    assert_eq!(second.line(), "up");
    world.wait_for("r", "healthy");
    kill(child, Signal::KILL);
    assert_eq!(first.line(), "up");
    assert_eq!(world.status("r")["supervisor_pid"], second.pid());
    // It finds that a moment later, and must not find the name free.
    let mut said = BufReader::new(first.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("already supervised by pid") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it has ended");
    }
    assert_eq!(world.run(&["stop", "r"]).status.code(), Some(0));
    assert_eq!(second.wait().code(), Some(0));
    first.stop();
}

#[test]
fn a_place_that_could_not_be_had_is_taken_later() {
    let world = World::new();
    std::fs::create_dir(world.path("data")).unwrap();
    std::fs::write(world.path("data/run"), "in the way").unwrap();
    let script = "echo $$; exec sleep 1000";
    let args = ["--name", "l", "--backoff-base", "0.01", "--", "sh", "-c", script];
    let mut supervisor = world.start(&args);
    let child: i32 = supervisor.line().parse().unwrap();
    std::fs::remove_file(world.path("data/run")).unwrap();
    kill(child, Signal::KILL);
    assert_ne!(supervisor.line(), child.to_string());
    world.wait_for("l", "healthy");
    assert_eq!(world.run(&["stop", "l"]).status.code(), Some(0));
    assert_eq!(supervisor.wait().code(), Some(0));
}

#[test]
fn what_is_in_the_place_of_its_files_is_neither_written_through_nor_waited_for() {
    let world = World::new();
    let run = world.path("data/run");
    std::fs::create_dir_all(&run).unwrap();
    let victim = world.path("victim");
    std::fs::write(&victim, "of somebody else\n").unwrap();
    let fifo = |path: &std::path::Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    for kind in ["state", "lock"] {
        let file = run.join(format!("p.{kind}"));
        // Of the run before, where there was one.
        let _ = std::fs::remove_file(&file);
        std::os::unix::fs::symlink(&victim, &file).unwrap();
        let (status, out, _) = world.start(&["--name", "p", "--", "echo", "ran"]).finish();
        assert_eq!((status.code(), out.as_str()), (Some(0), "ran\n"), "{kind}: a link");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "of somebody else\n", "{kind}");
        // A state that cannot be written is removed, which is not for a lock.
        let _ = std::fs::remove_file(&file);
        fifo(&file);
        let (status, out, _) = world.start(&["--name", "p", "--", "echo", "ran"]).finish();
        assert_eq!((status.code(), out.as_str()), (Some(0), "ran\n"), "{kind}: a FIFO");
        assert_eq!(world.status("p")["health"], "stopped");
    }
}
