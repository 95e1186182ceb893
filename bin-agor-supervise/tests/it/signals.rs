//! Every signal has an effect that the manual names, and none leaves the command behind.

use crate::support::{World, is_running, skip, text, until};
use rustix::process::Signal;

/// Says which signals it gets.
const TELL: &str = "for s in TERM INT QUIT HUP USR1 USR2 ALRM WINCH; do trap \"echo $s\" $s; done; \
     trap 'echo TERM; exit 0' TERM; echo up $AGOR_INCARNATION; while :; do sleep 0.01; done";

#[test]
fn term_and_int_stop_it_with_one_term() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::new();
        let mut supervisor = world.start(&["--name", "s", "--", "sh", "-c", TELL]);
        assert_eq!(supervisor.line(), "up 1");
        supervisor.signal(signal);
        let (status, out, _) = supervisor.finish();
        assert_eq!((status.code(), out.as_str()), (Some(0), "TERM\n"));
    }
}

#[test]
fn hup_restarts_and_others_are_handed_on() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "s", "--", "sh", "-c", TELL]);
    assert_eq!(supervisor.line(), "up 1");
    for (signal, name) in
        [(Signal::USR1, "USR1"), (Signal::USR2, "USR2"), (Signal::ALARM, "ALRM"), (Signal::WINCH, "WINCH")]
    {
        supervisor.signal(signal);
        assert_eq!(supervisor.line(), name);
    }
    supervisor.signal(Signal::HUP);
    assert_eq!(supervisor.line(), "TERM");
    assert_eq!(supervisor.line(), "up 2");
    supervisor.stop();
}

#[test]
fn no_signal_leaves_the_command_behind() {
    for number in 1..=64 {
        if matches!(number, 19 | 20 | 32 | 33) {
            continue; // STOP, TSTP: see `stopped_together`; 32 and 33 belong to the C library.
        }
        let world = World::new();
        let script = "trap '' HUP INT QUIT USR1 USR2 ALRM; echo $$; exec sleep 1000";
        let mut supervisor = world.start(&["--name", "s", "--stop-grace", "0.05", "--", "sh", "-c", script]);
        let child: i32 = supervisor.line().parse().unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(supervisor.pid()).unwrap(),
            // Every number is one that kill(2) takes.
            Signal::from_named_raw(number).unwrap_or(Signal::USR1),
        )
        .unwrap();
        if supervisor.child.try_wait().unwrap().is_none() {
            supervisor.signal(Signal::CONT);
            supervisor.signal(Signal::TERM);
        }
        supervisor.wait();
        until(&format!("the command is gone after signal {number}"), || !is_running(child));
    }
}

#[test]
fn nohup_holds() {
    let world = World::new();
    let mut command = std::process::Command::new("nohup");
    command
        .args([
            env!("CARGO_BIN_EXE_agor-supervise"),
            "--name",
            "n",
            "--",
            "sh",
            "-c",
            "echo $$; exec sleep 1000",
        ])
        .env("AGOR_DATA_DIR", world.path("data"));
    let mut supervisor = world.spawn(&mut command);
    let child = supervisor.line();
    supervisor.signal(Signal::HUP);
    supervisor.signal(Signal::HUP);
    // An order is answered after the signals were seen.
    assert_eq!(world.run(&["reset", "n"]).status.code(), Some(0));
    assert_eq!(world.pid("n", 1).to_string(), child);
    supervisor.stop();
}

/// `SigBlk` and `SigIgn` of the child, by /proc.
const MASKS: &str = "grep -E '^Sig(Blk|Ign)' /proc/self/status";

#[test]
fn mask_and_dispositions_are_the_callers() {
    let world = World::new();
    let direct = |setup: &str| {
        let script = format!("{setup} exec {MASKS}");
        text(&std::process::Command::new("python3").args(["-c", &python(&script)]).output().unwrap().stdout)
    };
    let supervised = |setup: &str| {
        let script = format!("{setup} exec {} -- {MASKS}", env!("CARGO_BIN_EXE_agor-supervise"));
        let mut command = std::process::Command::new("python3");
        command.args(["-c", &python(&script)]).env("AGOR_DATA_DIR", world.path("data"));
        text(&command.output().unwrap().stdout)
    };
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return skip("no python3 to block signals with");
    }
    for setup in ["", "trap '' INT PIPE HUP USR1;"] {
        let expected = direct(setup);
        assert!(expected.contains("SigBlk:\t0000000000000200"), "{expected}");
        assert_eq!(supervised(setup), expected, "after: {setup}");
    }
}

/// Blocks USR1, sets SIGPIPE back to its default, and becomes a shell.
fn python(script: &str) -> String {
    format!(
        "import os, signal; signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1]); \
         signal.signal(signal.SIGPIPE, signal.SIG_DFL); os.execvp('sh', ['sh', '-c', {script:?}])"
    )
}

#[test]
fn a_stopped_command_can_be_stopped() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "s", "--", "sh", "-c", "echo $$; exec sleep 1000"]);
    let child: i32 = supervisor.line().parse().unwrap();
    crate::support::kill(child, Signal::STOP);
    until("it is suspended", || world.status("s")["reason"] == "suspended");
    assert_eq!(supervisor.stop().code(), Some(0));
    assert!(!is_running(child));
}

#[test]
fn grace_ends_with_sigkill() {
    let world = World::new();
    let script = "trap '' TERM; echo $$; while :; do sleep 0.01; done";
    let mut supervisor = world.start(&["--name", "g", "--stop-grace", "0.1", "--", "sh", "-c", script]);
    let child: i32 = supervisor.line().parse().unwrap();
    assert_eq!(supervisor.stop().code(), Some(137));
    assert!(!is_running(child));
    assert_eq!(world.history("g")[0]["signal"], 9);
}

#[test]
fn stopped_together() {
    let world = World::new();
    let mut supervisor = world.start(&["--name", "t", "--", "sh", "-c", "echo $$; exec sleep 1000"]);
    let child: i32 = supervisor.line().parse().unwrap();
    let state = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
    };
    supervisor.signal(Signal::TSTP);
    until("both are stopped", || state(child) == Some('T') && state(supervisor.pid()) == Some('T'));
    supervisor.signal(Signal::CONT);
    until("both go on", || state(child) == Some('S') && state(supervisor.pid()) == Some('S'));
    assert_eq!(supervisor.stop().code(), Some(0));
}
