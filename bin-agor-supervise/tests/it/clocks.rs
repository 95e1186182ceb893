//! Clocks that are set, numbers of processes that come again.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{World, skip, text};

/// What `faketime` preloads, where it is installed.
fn preload() -> Option<String> {
    let output = Command::new("faketime").args(["-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]).output().ok()?;
    let list = text(&output.stdout).trim().to_owned();
    (output.status.success() && !list.is_empty()).then_some(list)
}

#[test]
fn a_wall_clock_that_is_set_moves_no_backoff() {
    let Some(preload) = preload() else { return skip("there is no faketime") };
    let delay = Duration::from_secs(3);
    for (step, sign) in [("+3600", 1.0), ("-3600", -1.0)] {
        let world = World::new();
        let clock = world.path("clock");
        std::fs::write(&clock, "+0\n").unwrap();
        let script = "echo $AGOR_INCARNATION; [ $AGOR_INCARNATION = 2 ] || exit 1; exec sleep 1000";
        let faked = |args: &[&str]| {
            let mut command = world.command(args);
            command.env("LD_PRELOAD", &preload).env("FAKETIME_TIMESTAMP_FILE", &clock);
            command
                .env("FAKETIME_DISABLE_SHM", "1")
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command
        };
        let args = ["--name", "c", "--backoff-base", "3", "--", "sh", "-c", script];
        let since = Instant::now();
        let mut supervisor = world.spawn(&mut faked(&args));
        assert_eq!(supervisor.line(), "1");
        crate::support::until("it is in backoff", || world.status("c")["attempt"] == 1);
        let crashed = world.status("c");
        // At once: others read it all the time.
        std::fs::write(world.path("step"), format!("{step}\n")).unwrap();
        std::fs::rename(world.path("step"), &clock).unwrap();
        // Who asks has the new time too, and is told how long it really is.
        let asked = faked(&["status", "c", "--json"]).output().unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
        // On a machine so slow that the backoff is over there is nothing to be seen.
        if [&crashed, &shown].iter().all(|status| status["next_retry"].is_string()) {
            let left = shown["next_retry_s"].as_f64().unwrap();
            assert!((-60.0..=3.0).contains(&left), "{step}: {left}");
            let by = seconds(&shown["next_retry"]) - seconds(&crashed["next_retry"]);
            assert!((by - sign * 3600.0).abs() < 60.0, "{step}: next_retry went {by} s");
        }
        assert_eq!(supervisor.line(), "2", "with {step} an hour is not waited for");
        assert!(since.elapsed() >= delay, "{step}: cut short");
        assert_eq!(supervisor.stop().code(), Some(0));
    }
}

/// Seconds since 1970 of a time in JSON.
fn seconds(time: &serde_json::Value) -> f64 {
    agor_common::time::parse_ms(time.as_str().unwrap()).unwrap() as f64 / 1000.0
}

/// In a PID namespace of its own, where the next number can be chosen: `script`, with `$BIN` for the tool
/// and `take N`, which starts a process that is no concern of ours with the number N.
fn with_chosen_pids(world: &World, script: &str) -> Option<(i32, String, String)> {
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let probe = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", "echo 100 > /proc/sys/kernel/ns_last_pid"])
        .output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            skip(&format!("no number to be chosen: {}", text(&output.stderr).trim()));
            return None;
        }
        Err(error) => {
            skip(&format!("unshare: {error}"));
            return None;
        }
    }
    let take = "take() {\n\
                    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n\
                        echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid\n\
                        sleep 1000 & other=$!\n\
                        [ $other = $1 ] && return 0\n\
                        kill $other\n\
                    done\n\
                    echo \"number $1 cannot be had\"; exit 3\n\
                }\n";
    let mut command = world.command(&[]);
    let env: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    command = Command::new("unshare");
    command.args(unshare).args(["sh", "-c", &format!("{take}{script}")]).current_dir(world.dir.path());
    for (name, value) in env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.env("BIN", env!("CARGO_BIN_EXE_agor-supervise")).output().unwrap();
    Some((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
}

#[test]
fn a_number_that_is_anothers_now_is_not_signalled() {
    let world = World::new();
    let script = "\
        $BIN --name n --backoff-base 1000 --backoff-cap 1000 -- sh -c 'echo $$ > number; exit 1' & supervisor=$!\n\
        $BIN status n --wait restarting --timeout 60s > /dev/null || exit 4\n\
        until $BIN status n | grep -q 'attempt 1'; do :; done\n\
        take $(cat number)\n\
        $BIN stop n > /dev/null || exit 5\n\
        wait $supervisor; echo \"ended with $?\"\n\
        kill -0 $other && echo untouched\n";
    let Some((code, out, err)) = with_chosen_pids(&world, script) else { return };
    assert_eq!((code, out.as_str()), (0, "ended with 0\nuntouched\n"), "{err}");
}

#[test]
fn a_dead_supervisors_number_is_no_supervisor() {
    let world = World::new();
    let script = "\
        $BIN --name n -- sleep 1000 & supervisor=$!\n\
        $BIN status n --wait healthy --timeout 60s > /dev/null || exit 4\n\
        kill -9 $supervisor; wait $supervisor\n\
        take $supervisor\n\
        $BIN status n; echo \"status $?\"\n\
        $BIN stop n; echo \"stop $?\"\n\
        kill -0 $other && echo untouched\n\
        $BIN --name n -- true; echo \"next $?\"\n";
    let Some((code, out, err)) = with_chosen_pids(&world, script) else { return };
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("failed: supervisor lost") && !out.contains("healthy"), "{out}");
    for line in ["status 1\n", "stop 1\n", "untouched\n", "next 0\n"] {
        assert!(out.contains(line), "{line}: {out}{err}");
    }
}
