//! On a terminal: job control, Ctrl-C once, and a terminal that is left as it was.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::pty::OpenptFlags;

use crate::support::{World, skip, text};

/// A session leader on a new pseudo-terminal that runs `script`.
fn open_session(world: &World, script: &str) -> Option<(std::process::Child, OwnedFd)> {
    if Command::new("setsid").arg("--version").output().is_err() {
        skip("no setsid");
        return None;
    }
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let open =
        || -> OwnedFd { std::fs::OpenOptions::new().read(true).write(true).open(&name).unwrap().into() };
    let child = Command::new("setsid")
        .args(["--ctty", "--wait", "bash", "--norc", "-c", script])
        .env("AGOR_DATA_DIR", world.path("data"))
        .env("S", env!("CARGO_BIN_EXE_agor-supervise"))
        .current_dir(world.dir.path())
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    Some((child, master))
}

/// What it writes until it ends, while the test types what belongs to the `prompts` that show up.
fn session(world: &World, script: &str, prompts: &[(&str, &[u8])]) -> Option<String> {
    let (mut child, master) = open_session(world, script)?;
    let mut terminal = std::fs::File::from(master);
    let mut seen = Vec::new();
    let mut prompts = prompts.iter();
    let mut next = prompts.next();
    let mut buffer = [0; 4096];
    let mut from = 0;
    // The read fails with EIO when the last process has closed the terminal.
    while let Ok(count) = terminal.read(&mut buffer) {
        if count == 0 {
            break;
        }
        seen.extend_from_slice(&buffer[..count]);
        while let Some((prompt, keys)) = next {
            let text = text(&seen[from..]);
            let Some(at) = text.find(prompt) else { break };
            from += at + prompt.len();
            terminal.write_all(keys).unwrap();
            next = prompts.next();
        }
    }
    child.wait().unwrap();
    Some(text(&seen))
}

const SANE: &str = "before=$(stty -g); ";
const CHECK: &str = "[ \"$(stty -g)\" = \"$before\" ] && echo terminal is sane";

#[test]
fn ctrl_c_reaches_the_command_once() {
    let world = World::new();
    let agent = "trap 'echo got INT; exit 0' INT; echo ready; while :; do sleep 0.05; done";
    let script = format!("{SANE} $S --name t -- sh -c \"{agent}\"; echo rc=$?; {CHECK}");
    let Some(seen) = session(&world, &script, &[("ready", b"\x03")]) else { return };
    assert_eq!(seen.matches("got INT").count(), 1, "{seen}");
    assert!(seen.contains("rc=0") && seen.contains("terminal is sane"), "{seen}");
}

#[test]
fn ctrl_c_that_kills_is_not_a_crash() {
    let world = World::new();
    let script = format!(
        "{SANE} trap : INT; $S --name t -- sh -c 'stty -echo; echo ready; exec sleep 1000'; echo rc=$?; {CHECK}"
    );
    let Some(seen) = session(&world, &script, &[("ready", b"\x03")]) else { return };
    assert!(seen.contains("rc=130") && seen.contains("terminal is sane"), "{seen}");
    let status = world.status("t");
    assert_eq!((&status["health"], &status["reason"]), (&"stopped".into(), &"interrupted".into()));
}

#[test]
fn ctrl_c_without_the_terminal_on_stdin_comes_once_too() {
    let world = World::new();
    let agent = "trap 'echo got INT; exit 0' INT; trap 'echo got TERM; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let script = format!("trap : INT; $S --name t -- sh -c \"{agent}\" </dev/null; echo rc=$?");
    let Some(seen) = session(&world, &script, &[("ready", b"\x03")]) else { return };
    assert_eq!((seen.matches("got INT").count(), seen.matches("got TERM").count()), (1, 0), "{seen}");
    assert!(seen.contains("rc=0"), "{seen}");
}

#[test]
fn ctrl_z_and_fg() {
    let world = World::new();
    let script = format!(
        "set -m; {SANE} $S --name t -- sh -c 'echo ready; read x; echo got $x; exec sleep 1000'; echo stopped=$?; fg; echo rc=$?; {CHECK}"
    );
    let keys: &[(&str, &[u8])] = &[("ready", b"\x1a"), ("stopped=147", b"hello\n"), ("got hello", b"\x03")];
    let Some(seen) = session(&world, &script, keys) else { return };
    assert!(seen.contains("stopped=147") && seen.contains("rc=130"), "{seen}");
    assert!(seen.contains("terminal is sane"), "{seen}");
}

#[test]
fn the_terminal_is_the_commands_own_and_comes_back_after_a_crash() {
    let world = World::new();
    let agent = "[ -t 0 ] && [ -t 2 ] && read x && echo $AGOR_INCARNATION $x; [ $AGOR_INCARNATION = 1 ] && exit 1; exit 0";
    let script =
        format!("{SANE} $S --name t --backoff-base 0.01 -- sh -c 'echo ready; {agent}'; echo rc=$?; {CHECK}");
    let Some(seen) = session(&world, &script, &[("ready", b"a\n"), ("ready", b"b\n")]) else { return };
    assert!(seen.contains("1 a") && seen.contains("2 b"), "{seen}");
    assert!(seen.contains("rc=0") && seen.contains("terminal is sane"), "{seen}");
}

#[test]
fn in_the_background_the_terminal_is_left_alone_until_fg() {
    let world = World::new();
    let script = format!(
        "set -m; {SANE} $S --name t -- sh -c 'echo ready; read x; echo got $x; exec sleep 1000' & \
         until $S status t 2>/dev/null | grep -q suspended; do sleep 0.05; done; read y; echo shell $y; fg; \
         echo rc=$?; {CHECK}"
    );
    let keys: &[(&str, &[u8])] =
        &[("ready", b"to-the-shell\n"), ("shell to-the-shell", b"hello\n"), ("got hello", b"\x03")];
    let Some(seen) = session(&world, &script, keys) else { return };
    assert!(seen.contains("rc=130") && seen.contains("terminal is sane"), "{seen}");
}

#[test]
fn a_closed_terminal_is_a_stop() {
    for stdin in ["", "</dev/null"] {
        let world = World::new();
        let script = format!("$S --name t -- sh -c 'echo ready; exec sleep 1000' {stdin} >>out");
        let Some((mut child, master)) = open_session(&world, &script) else { return };
        world.wait_for("t", "healthy");
        drop(master);
        child.wait().unwrap();
        crate::support::until("it has stopped", || world.status("t")["supervisor"] == "ended");
        let status = world.status("t");
        assert_eq!(
            (&status["health"], status["incarnation"].as_i64()),
            (&"stopped".into(), Some(1)),
            "{status}"
        );
    }
}
