//! The restart rule from outside, exit codes, and what is said.

use crate::executable;
use crate::support::{World, text};

#[test]
fn crashes_are_retried_and_then_it_is_failed() {
    let world = World::new();
    let output = world.run(&[
        "--name",
        "f",
        "--backoff-base",
        "0.02",
        "--max-attempts",
        "3",
        "--",
        "sh",
        "-c",
        "echo run $AGOR_INCARNATION $AGOR_ATTEMPT \"$AGOR_LAST_EXIT\"; echo boom >&2; exit 3",
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "run 1 0 \nrun 2 1 exit 3\nrun 3 2 exit 3\nrun 4 3 exit 3\n");
    let status = world.status("f");
    assert_eq!(status["health"], "failed");
    assert_eq!(status["attempts"], 3);
    assert_eq!(status["last_error"], "exit 3: boom");
    assert_eq!(status["supervisor"], "ended");
    assert_eq!(world.run(&["status", "f"]).status.code(), Some(1));
    let history = world.history("f");
    assert_eq!(history.len(), 4);
    for (row, attempt) in history.iter().zip(0..) {
        assert_eq!(row["attempt"], attempt);
        assert_eq!(row["exit_code"], 3);
        assert_eq!(row["reason"], "crash");
        assert!(row["max_rss_bytes"].as_i64().unwrap() > 0);
    }
}

#[test]
fn budget_with_no_delay_is_exact() {
    let world = World::new();
    let output =
        world.run(&["--backoff-base", "0", "--max-attempts", "20", "--", "sh", "-c", "echo x; exit 1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().count(), 21);
}

#[test]
fn success_is_not_restarted_unless_always() {
    let world = World::new();
    let output = world.run(&["--name", "ok", "--", "echo", "once"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "once\n"));
    assert_eq!(text(&output.stderr), "");
    let status = world.status("ok");
    assert_eq!((&status["health"], &status["reason"]), (&"stopped".into(), &"completed".into()));
    let output = world.run(&[
        "--restart",
        "always",
        "--backoff-base",
        "0",
        "--max-attempts",
        "2",
        "--",
        "echo",
        "again",
    ]);
    assert_eq!(text(&output.stdout), "again\nagain\nagain\n");
    let output = world.run(&["--restart", "never", "--", "sh", "-c", "echo x; exit 4"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(4), "x\n"));
    let output = world.run(&["--success-codes", "0,143", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.code(), Some(143));
}

#[test]
fn hopeless_codes_fail_at_once() {
    let world = World::new();
    let output = world.run(&["--name", "h", "--", "sh", "-c", "echo x; exit 78"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(78), "x\n"));
    let status = world.status("h");
    assert_eq!((&status["health"], status["attempts"].as_i64()), (&"failed".into(), Some(1)));
    let output = world.run(&["--failed-exit", "99", "--", "sh", "-c", "exit 78"]);
    assert_eq!(output.status.code(), Some(99));
}

#[test]
fn every_exit_code_comes_through() {
    let world = World::new();
    for code in [0, 1, 2, 42, 77, 124, 125, 126, 127, 128, 200, 255] {
        let output = world.run(&["--restart", "never", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code));
    }
    for (signal, code) in [("SEGV", 139), ("KILL", 137), ("ABRT", 134)] {
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let output = world.run(&["--name", "s", "--restart", "never", "--", "sh", "-c", &script]);
        assert_eq!(output.status.code(), Some(code));
        let error = world.status("s")["last_error"].as_str().unwrap().to_owned();
        assert!(error.contains(&format!("SIG{signal}")), "{error}");
    }
}

#[test]
fn what_cannot_be_executed_is_not_retried() {
    let world = World::new();
    std::fs::write(world.path("plain"), "hello\n").unwrap();
    executable::write(world.path("lost"), "#!/no/such/interpreter\n");
    executable::write(world.path("foreign"), "\x7fELF\x02\x01\x01\0nonsense");
    for (program, code, why) in [
        ("/no/such/program", 127, "No such file"),
        ("no-such-program-anywhere", 127, "No such file"),
        ("./plain", 126, "Permission denied"),
        ("/tmp", 126, "directory"),
        ("./lost", 126, "interpreter /no/such/interpreter"),
        ("./foreign", 126, "not a program for this machine"),
    ] {
        let output = world.run(&["--name", "x", "--", program]);
        assert_eq!(output.status.code(), Some(code), "{program}: {}", text(&output.stderr));
        let said = text(&output.stderr);
        assert!(said.contains(why), "{program}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(world.status("x")["incarnation"].as_i64().unwrap(), 1);
        let rows = world.history("x");
        assert_eq!(rows.last().unwrap()["reason"], "exec failed");
    }
}

#[test]
fn usage_errors_are_125() {
    let world = World::new();
    for args in [
        &[][..],
        &["--"],
        &["--no-such-flag", "--", "true"],
        &["sleep", "5"],
        &["--jitter", "2", "--", "true"],
        &["--name", "", "--", "true"],
        &["--max-attempts", "-1", "--", "true"],
        &["--ready-timeout", "5s", "--", "true"],
        &["--stall-after", "0", "--", "true"],
        &["kill", "x", "NOSIG"],
    ] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(125), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).starts_with("agor-supervise: "), "{args:?}");
        assert!(output.stdout.is_empty());
    }
    for args in [["--help"], ["--version"]] {
        let output = world.run(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn the_file_and_the_environment_configure_it() {
    let world = World::new();
    let file = world.path("agor.toml");
    std::fs::write(&file, "[supervise]\nmax_attempts = 1\nbackoff_base = 0.01\n").unwrap();
    let runs = |command: &mut std::process::Command| text(&command.output().unwrap().stdout).lines().count();
    let args = ["--", "sh", "-c", "echo x; exit 1"];
    assert_eq!(runs(world.command(&args).env("AGOR_CONFIG", &file)), 2);
    let both = ["AGOR_CONFIG", "AGOR_SUPERVISE_MAX_ATTEMPTS"];
    let mut command = world.command(&args);
    assert_eq!(runs(command.env(both[0], &file).env(both[1], "2")), 3);
    let args = ["--max-attempts", "3", "--", "sh", "-c", "echo x; exit 1"];
    let mut command = world.command(&args);
    assert_eq!(runs(command.env(both[0], &file).env(both[1], "2")), 4);
    for line in ["max_atempts = 1", "jitter = 1.5", "jitter = nan", "stall_after = 0", "heartbeat = \"0s\""] {
        std::fs::write(&file, format!("[supervise]\n{line}\n")).unwrap();
        let output = world.command(&args).env("AGOR_CONFIG", &file).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{line}");
        assert!(text(&output.stderr).contains("agor.toml:2"), "{}", text(&output.stderr));
    }
}

#[test]
fn explain_adds_up() {
    let world = World::new();
    let plan = world.json(&["explain", "--json"]);
    let delays: Vec<f64> =
        plan["attempts"].as_array().unwrap().iter().map(|a| a["delay_s"].as_f64().unwrap()).collect();
    assert_eq!(delays, [1.0, 2.0, 4.0, 8.0, 16.0]);
    assert_eq!(plan["failed_after_s"], 31.0);
    let endless = text(&world.run(&["explain", "--max-attempts", "0"]).stdout);
    assert!(endless.contains("every 30 s; never given up"), "{endless}");
    let never = world.json(&["explain", "--json", "--restart", "never"]);
    assert_eq!((&never["restart"], never["failed_after_s"].as_f64()), (&"never".into(), Some(0.0)));
    assert_eq!(never["attempts"].as_array().unwrap().len(), 0);
    let long = text(&world.run(&["explain", "--max-attempts", "4000000000"]).stdout);
    assert!(long.contains("and 3999900000 more, every 30 s"), "{long:.300}");
    assert!(long.contains("failed 119999999881 s after the first crash"), "{long:.300}");
    // The jitter of a seed is the one that the supervisor of that seed has.
    let seed = ["--backoff-base", "0.01", "--jitter", "1", "--jitter-seed", "7", "--max-attempts", "3"];
    let mut explain = vec!["explain", "--json"];
    explain.extend(seed);
    let attempts = world.json(&explain)["attempts"].clone();
    let expected: Vec<_> = attempts.as_array().unwrap().iter().map(|step| step["delay_s"].clone()).collect();
    let mut run = vec!["--on-event", "cat >> events"];
    run.extend(seed);
    run.extend(["--", "false"]);
    world.run(&run);
    let events = std::fs::read_to_string(world.path("events")).unwrap();
    let delays: Vec<serde_json::Value> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["delay_s"].clone())
        .filter(|delay| !delay.is_null())
        .collect();
    assert_eq!(delays, expected);
}

#[test]
fn works_with_next_to_no_environment() {
    let world = World::new();
    let home = world.path("home");
    std::fs::create_dir(&home).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_agor-supervise"))
        .args(["--name", "cron", "--", "/bin/echo", "hi"])
        .env_clear()
        .env("XDG_DATA_HOME", &home)
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "hi\n"));
    assert_eq!(text(&output.stderr), "");
    assert!(home.join("agor/sessions.db").exists());
}

#[test]
fn the_agents_id_is_the_childs() {
    let world = World::new();
    let output = world
        .command(&["--agent", "a1", "--", "sh", "-c", "echo $BTMSG_AGENT_ID $NOTIFY_SOCKET"])
        .env("BTMSG_AGENT_ID", "somebody-else")
        .env("NOTIFY_SOCKET", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "a1\n");
    assert_eq!(world.status("a1")["agent"], "a1");
    // What btmsg does not register is not registered here.
    for id in [" a", "a\nb", "\u{1b}[1m", &"x".repeat(256)] {
        let output = world.run(&["--name", "n", "--agent", id, "--", "true"]);
        assert_eq!(output.status.code(), Some(125), "{id:?}");
        assert!(text(&output.stderr).starts_with("agor-supervise: --agent: it "), "{}", text(&output.stderr));
    }
}
