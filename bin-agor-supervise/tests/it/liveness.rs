//! READY, the watchdog, stalls, heartbeats and hooks.

use std::os::unix::net::UnixDatagram;

use crate::support::{World, text, until};

/// Prints where it listens, then waits.
const SOCKET: &str = "echo $NOTIFY_SOCKET; exec sleep 1000";

fn say(address: &str, words: &str) {
    UnixDatagram::unbound().unwrap().send_to(words.as_bytes(), address).unwrap();
}

#[test]
fn ready_is_when_it_says_so() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "r", "--ready", "notify", "--", "sh", "-c", SOCKET]);
    let address = supervisor.line();
    assert_eq!(world.status("r")["health"], "restarting");
    assert!(crate::support::is_running(world.pid("r", 1)), "it runs, and is not ready");
    say(&address, "STATUS=warming up\n");
    until("its words are shown", || world.status("r")["status_text"] == "warming up");
    say(&address, "READY=1\n");
    world.wait_for("r", "healthy");
    supervisor.stop();
}

#[test]
fn one_that_never_was_ready_is_not_healthy_while_it_is_stopped() {
    let world = World::new();
    let script = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    let args = ["--name", "r", "--ready", "notify", "--stop-grace", "1000", "--", "sh", "-c", script];
    let mut supervisor = world.start(&args);
    assert_eq!(supervisor.line(), "up");
    supervisor.signal(rustix::process::Signal::TERM);
    until("it is being stopped", || world.status("r")["reason"] == "stopping");
    let output = world.run(&["status", "r"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("r: restarting (stopping)"), "{}", text(&output.stdout));
    supervisor.signal(rustix::process::Signal::TERM);
    assert_eq!(supervisor.wait().code(), Some(137));
}

#[test]
fn not_ready_in_time_is_a_failure() {
    let world = World::new();
    let output = world.run(&[
        "--name",
        "r",
        "--ready",
        "notify",
        "--ready-timeout",
        "0.05",
        "--max-attempts",
        "1",
        "--backoff-base",
        "0",
        "--",
        "sleep",
        "1000",
    ]);
    assert_eq!(output.status.code(), Some(143));
    let error = world.status("r")["last_error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("not ready in time"), "{error}");
    assert!(world.history("r").iter().all(|row| row["reason"] == "not ready"));
}

#[test]
fn the_watchdog_bites() {
    let world = World::new();
    let mut supervisor = world.start(&[
        "--name",
        "w",
        "--watchdog",
        "5",
        "--backoff-base",
        "0.01",
        "--",
        "sh",
        "-c",
        "echo $NOTIFY_SOCKET; echo $WATCHDOG_USEC; exec sleep 1000",
    ]);
    let address = supervisor.line();
    assert_eq!(supervisor.line(), "5000000");
    std::thread::scope(|scope| {
        let (over, end) = std::sync::mpsc::channel::<()>();
        let address = &address;
        scope.spawn(move || {
            // Until the other end is dropped.
            let beat = std::time::Duration::from_millis(100);
            while end.recv_timeout(beat) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                say(address, "WATCHDOG=1\n");
            }
        });
        std::thread::sleep(std::time::Duration::from_secs(6));
        assert_eq!(world.status("w")["incarnation"], 1, "fed, it is left alone");
        drop(over);
    });
    assert_eq!(supervisor.line(), address, "not fed, it is started anew");
    until("recorded", || world.history("w").first().is_some_and(|end| end["reason"] == "watchdog"));
    supervisor.stop();
}

#[test]
fn silence_is_a_stall_and_output_is_not() {
    let world = World::new();
    let script = "[ $AGOR_INCARNATION = 1 ] && { echo one; exec sleep 1000; }; \
         while :; do echo busy; sleep 0.05; done";
    let mut supervisor = world.start(&[
        "--name",
        "s",
        "--stall-after",
        "5",
        "--backoff-base",
        "0.01",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(supervisor.line(), "one");
    assert_eq!(supervisor.line(), "busy");
    let since = std::time::Instant::now();
    while since.elapsed() < std::time::Duration::from_secs(6) {
        assert_eq!(supervisor.line(), "busy");
    }
    assert_eq!(world.status("s")["incarnation"], 2);
    until("recorded", || world.history("s").first().is_some_and(|end| end["reason"] == "stall"));
    supervisor.stop();
}

#[test]
fn a_stall_can_be_only_reported() {
    let world = World::new();
    let mut supervisor =
        world.start(&["--name", "s", "--stall-after", "0.1", "--on-stall", "report", "--", "sleep", "1000"]);
    until("it is reported", || world.status("s")["reason"] == "stalled");
    assert_eq!(world.status("s")["health"], "healthy");
    supervisor.stop();
    assert!(supervisor.finish().2.contains("no output and no heartbeat"));
}

#[test]
fn hooks_get_every_event_and_hold_nothing_up() {
    let world = World::new();
    let output = world.run(&[
        "--name",
        "h",
        "--backoff-base",
        "0.01",
        "--max-attempts",
        "1",
        "--on-event",
        "cat >> events",
        "--",
        "sh",
        "-c",
        "exit 7",
    ]);
    assert_eq!(output.status.code(), Some(7));
    let events = std::fs::read_to_string(world.path("events")).unwrap();
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["started", "healthy", "crashed", "started", "healthy", "failed"]);
    assert_eq!(events[2]["exit"], "exit 7");
    assert_eq!(events[5]["health"], "failed");
    // One that hangs and one that fails.
    for hook in ["sleep 1000", "exit 1", "no-such-command"] {
        let output =
            world.run(&["--on-event", hook, "--backoff-base", "0", "--max-attempts", "1", "--", "false"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    }
}

#[test]
fn our_own_manager_is_told() {
    let world = World::new();
    let path = world.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::support::HANG)).unwrap();
    let mut command =
        world.command(&["--name", "m", "--", "sh", "-c", "echo ${NOTIFY_SOCKET-none}; exec sleep 1000"]);
    let mut supervisor = world.spawn(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000"));
    assert_eq!(supervisor.line(), "none", "it cannot speak in our place");
    let mut buffer = [0; 1024];
    let mut heard = String::new();
    let mut listen = |word: &str| {
        while !heard.contains(word) {
            let n = manager.recv(&mut buffer).unwrap();
            heard.push_str(&text(&buffer[..n]));
            heard.push('\n');
        }
        heard.clone()
    };
    assert!(listen("READY=1").contains("STATUS=m: healthy"));
    listen("WATCHDOG=1");
    supervisor.signal(rustix::process::Signal::TERM);
    listen("STOPPING=1");
    supervisor.wait();
}

#[test]
fn a_manager_that_has_much_to_read_is_told_again() {
    let world = World::new();
    let path = world.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::support::HANG)).unwrap();
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"X=1", &path).is_ok() {}
    let mut command = world.command(&["--name", "m", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    let mut supervisor = world.spawn(command.env("NOTIFY_SOCKET", &path));
    assert_eq!(supervisor.line(), "up");
    world.wait_for("m", "healthy");
    let mut buffer = [0; 1024];
    loop {
        let n = manager.recv(&mut buffer).unwrap();
        if text(&buffer[..n]).contains("READY=1\nSTATUS=m: healthy") {
            break;
        }
    }
    supervisor.stop();
}

#[test]
fn a_manager_hears_of_every_attempt_and_is_not_asked_for_more_when_it_is_given_up() {
    let world = World::new();
    let path = world.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::support::HANG)).unwrap();
    // As the units that we ship start it.
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/system/agor-supervise@.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let start = value("ExecStart=");
    let given_up = start.split("--failed-exit").nth(1).unwrap().trim_start_matches(['=', ' ']);
    let given_up = given_up.split(' ').next().unwrap();
    assert_eq!(value("Type="), "notify");
    assert!(value("RestartPreventExitStatus=").split(' ').any(|status| status == given_up));
    let args = ["--name", "m", "--max-attempts", "2", "--backoff-base", "0.01", "--failed-exit", given_up];
    let mut command = world.command(&args);
    command.args(["--", "sh", "-c", "exit 3"]);
    // Read as it comes: a socket has room for ten messages.
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        let mut heard = String::new();
        while let Some(n) = manager.recv(&mut buffer).ok().filter(|n| buffer[..*n] != *b"over") {
            heard.push_str(&text(&buffer[..n]));
            heard.push('\n');
        }
        heard
    });
    let output = command.env("NOTIFY_SOCKET", &path).stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(given_up.parse().unwrap()));
    UnixDatagram::unbound().unwrap().send_to(b"over", &path).unwrap();
    let heard = reader.join().unwrap();
    assert_eq!(heard.matches("READY=1").count(), 1, "{heard}");
    for words in ["STATUS=m: restarting (attempt 1 of 2", "STATUS=m: restarting (attempt 2 of 2"] {
        assert!(heard.contains(words), "{words}: {heard}");
    }
    assert!(heard.contains("STATUS=m: failed after 2 attempts: exit 3"), "{heard}");
    assert!(heard.contains("STOPPING=1"), "{heard}");
}
