//! The examples do what they say. `demo` has a suite of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use agor_tests::{World, bin_dir, executable, skip, stderr, stdout, top};

fn example(world: &World, name: &str) -> Command {
    let path =
        format!("{}:{}:{}", world.path("bin").display(), bin_dir().display(), std::env::var("PATH").unwrap());
    // Nothing that hangs may hang the suite.
    let mut command = world.command("timeout");
    command.args(["--foreground", "300"]).arg(top().join("examples").join(name)).env("PATH", path);
    command
}

fn script(world: &World, name: &str, text: &str) {
    let bin = world.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    executable::write(bin.join(name), text);
}

fn feed(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without having read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn ok(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}\n{}", stdout(output), stderr(output));
    stdout(output)
}

fn btmsg(world: &World, args: &[&str]) -> String {
    ok(&world.run("btmsg", args))
}

#[test]
fn the_pipeline_goes_on_after_its_agent_died() {
    let world = World::new();
    let mut command = example(&world, "pipeline");
    // An agent that dies at the first request and answers the others.
    script(
        &world,
        "mortal",
        "#!/bin/sh\nwhile IFS= read -r line; do\n  [ \"$line\" != die ] || kill -9 $$\n  \
         echo \"$AGOR_INCARNATION: $line\"\ndone\n",
    );
    let output = feed(command.arg("mortal"), "one\n");
    assert_eq!(ok(&output), "1: one\n");
    let mut command = example(&world, "pipeline");
    let mut child = command
        .arg("mortal")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"die\n").unwrap();
    // What is read ahead by a shell that dies is lost with it: wait for the next one.
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_up(&world, 2) {
        assert!(Instant::now() < deadline, "no second incarnation");
        std::thread::sleep(Duration::from_millis(50));
    }
    stdin.write_all(b"two\n").unwrap();
    drop(stdin);
    assert_eq!(ok(&child.wait_with_output().unwrap()), "2: two\n");
}

fn is_up(world: &World, number: u64) -> bool {
    let output = world.run("agor-supervise", &["status", "pipeline", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    value["incarnation"] == number && value["health"] == "healthy"
}

#[test]
fn without_an_agent_the_pipeline_runs_the_echo_agent() {
    let world = World::new();
    let output = feed(&mut example(&world, "pipeline"), "{\"id\":7,\"op\":\"echo\",\"arg\":\"hello\"}\n");
    let answer = ok(&output);
    assert!(answer.contains("\"id\":7") && answer.contains("\"text\":\"hello\""), "{answer}");
}

#[test]
fn the_nightly_job_is_silent_when_all_is_well() {
    let world = World::new();
    script(&world, "agent", "#!/bin/sh\ncat; echo done >result\n");
    let prompt = world.path("home/prompt.md");
    std::fs::write(&prompt, "fix it\n").unwrap();
    let output =
        example(&world, "nightly").arg(world.path("work")).arg(&prompt).arg("agent").output().unwrap();
    assert_eq!(ok(&output), "");
    assert_eq!(stderr(&output), "");
    assert_eq!(std::fs::read_to_string(world.path("work/result")).unwrap(), "done\n");
    let logs: Vec<_> = std::fs::read_dir(world.path("home/.local/state/agor/nightly")).unwrap().collect();
    let out =
        logs.iter().flatten().find(|log| log.path().extension().is_some_and(|end| end == "out")).unwrap();
    assert_eq!(std::fs::read_to_string(out.path()).unwrap(), "fix it\n");
}

#[test]
fn the_nightly_job_says_what_went_wrong_and_every_attempt_reads_the_prompt() {
    let world = World::new();
    script(&world, "agent", "#!/bin/sh\ncat; echo no luck >&2; exit 3\n");
    let prompt = world.path("home/prompt.md");
    std::fs::write(&prompt, "fix it\n").unwrap();
    let run = |limit: &str, agent: &str| {
        let mut command = example(&world, "nightly");
        command.arg(world.path("work")).arg(&prompt).arg(agent).env("NIGHTLY_LIMIT", limit);
        command.env("AGOR_SUPERVISE_BACKOFF_BASE", "0.1s").output().unwrap()
    };
    let output = run("1m", "agent");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("ended with 3") && stdout(&output).contains("no luck"),
        "{}",
        stdout(&output)
    );
    let logs = std::fs::read_dir(world.path("home/.local/state/agor/nightly")).unwrap();
    let out = logs.flatten().find(|log| log.path().extension().is_some_and(|end| end == "out")).unwrap();
    assert_eq!(
        std::fs::read_to_string(out.path()).unwrap(),
        "fix it\n".repeat(3),
        "first run and two restarts"
    );
    script(&world, "slow", "#!/bin/sh\nsleep 60\n");
    let output = run("1s", "slow");
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    assert!(stdout(&output).contains("not done in 1s"), "{}", stdout(&output));
}

#[test]
fn the_manager_gets_every_task_done_by_its_three_workers() {
    let world = World::new();
    let output = feed(example(&world, "manager").args(["tr", "a-z", "A-Z"]), "one\ntwo\nthree\nfour\nfive\n");
    let mut lines: Vec<_> = ok(&output).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["team-1: FOUR", "team-1: ONE", "team-2: FIVE", "team-2: TWO", "team-3: THREE"]);
    // Nothing is left behind: no worker, no unread mail.
    for worker in ["team-1", "team-2", "team-3"] {
        let status = stdout(&world.run("agor-supervise", &["status", worker]));
        assert!(status.contains("stopped"), "{status}");
        assert_eq!(world.run("btmsg", &["--as", worker, "recv"]).status.code(), Some(1), "{worker} has mail");
    }
}

#[test]
fn a_worker_that_dies_in_the_middle_loses_no_task() {
    let world = World::new();
    // Dies the first time it sees a task, so that the task is delivered again.
    script(
        &world,
        "clumsy",
        "#!/bin/sh\nread -r task\nif [ ! -e \"seen-$task\" ]; then : >\"seen-$task\"; exit 1; fi\necho \"$task done\"\n",
    );
    let output = feed(example(&world, "manager").arg("clumsy"), "one\ntwo\n");
    let mut lines: Vec<_> = ok(&output).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["team-1: one done", "team-2: two done"]);
}

#[test]
fn the_alert_comes_once_for_every_change() {
    let world = World::new();
    btmsg(&world, &["register", "coder"]);
    let alerts = world.path("work/alerts");
    let alert = || {
        let output = example(&world, "alert").args(["sh", "-c", "cat >>alerts"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::read_to_string(&alerts).unwrap_or_default()
    };
    assert_eq!(alert(), "", "all is well");
    btmsg(&world, &["--as", "coder", "heartbeat", "--status", "busy"]);
    // An agent whose supervised command was given up is in error.
    let output = world
        .tool("agor-supervise")
        .args([
            "--name",
            "coder",
            "--agent",
            "coder",
            "--max-attempts",
            "1",
            "--backoff-base",
            "0s",
            "--",
            "false",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let first = alert();
    assert!(first.contains("coder"), "{first}");
    assert_eq!(alert(), first, "the same again is no news");
    btmsg(&world, &["register", "coder"]);
    let output = world
        .tool("agor-supervise")
        .args(["--name", "coder", "--agent", "coder", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let last = alert();
    assert!(last.starts_with(&first) && last.contains("well again"), "{last}");
}

#[test]
fn an_alert_that_could_not_be_sent_is_tried_again() {
    let world = World::new();
    btmsg(&world, &["register", "coder"]);
    let output = world
        .tool("agor-supervise")
        .args([
            "--name",
            "coder",
            "--agent",
            "coder",
            "--max-attempts",
            "1",
            "--backoff-base",
            "0s",
            "--",
            "false",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let failing = example(&world, "alert").arg("false").output().unwrap();
    assert_ne!(failing.status.code(), Some(0));
    let output = example(&world, "alert").arg("cat").output().unwrap();
    assert!(ok(&output).contains("coder"), "{}", stdout(&output));
}

fn hook(world: &World, agent: &str, event: &str, more: &str) -> Output {
    let input = format!("{{\"session_id\":\"s\",\"hook_event_name\":\"{event}\"{more},\"cwd\":\"/\"}}\n");
    feed(example(world, "claude-hook").env("BTMSG_AGENT_ID", agent), &input)
}

#[test]
fn the_hook_beats_and_delivers_mail() {
    let world = World::new();
    btmsg(&world, &["register", "boss", "Boss", "manager", "team"]);
    btmsg(&world, &["register", "coder", "Coder", "project", "team"]);
    btmsg(&world, &["--as", "boss", "send", "coder", "run the tests"]);
    let output = hook(&world, "coder", "UserPromptSubmit", ",\"prompt\":\"hello\"");
    assert!(ok(&output).contains("run the tests"), "{}", stdout(&output));
    assert_eq!(ok(&hook(&world, "coder", "UserPromptSubmit", "")), "", "it was delivered once");
    assert_eq!(ok(&hook(&world, "coder", "PostToolUse", ",\"tool_name\":\"Bash\"")), "");
    let health = btmsg(&world, &["health", "--json"]);
    assert!(health.contains("\"note\":\"Bash\"") && health.contains("\"activity\":\"busy\""), "{health}");
    // At its end it rests, unless there is mail.
    btmsg(&world, &["--as", "boss", "send", "coder", "one more thing"]);
    let output = hook(&world, "coder", "Stop", ",\"stop_hook_active\":false");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("one more thing"), "{}", stderr(&output));
    assert_eq!(ok(&hook(&world, "coder", "Stop", ",\"stop_hook_active\":true")), "");
    assert!(btmsg(&world, &["health", "--json"]).contains("\"activity\":\"idle\""));
}

#[test]
fn the_hook_is_never_in_the_way() {
    let world = World::new();
    for event in ["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd", "SomethingNew"] {
        let output =
            feed(&mut example(&world, "claude-hook"), &format!("{{\"hook_event_name\":\"{event}\"}}"));
        assert_eq!(ok(&output), "", "{event} without an agent");
        std::fs::write(world.path("data/btmsg.db"), "no database at all, for a hook to stumble over")
            .unwrap();
        let output = hook(&world, "coder", event, "");
        assert_eq!(ok(&output) + &stderr(&output), "", "{event} with a damaged database");
        std::fs::remove_file(world.path("data/btmsg.db")).unwrap();
    }
}

#[test]
fn the_settings_name_the_hook_for_events_that_it_knows() {
    let text = std::fs::read_to_string(top().join("examples/claude-settings.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&text).unwrap();
    let hook = std::fs::read_to_string(top().join("examples/claude-hook")).unwrap();
    let events = settings["hooks"].as_object().unwrap();
    assert!(events.len() >= 4);
    for (event, entries) in events {
        assert!(hook.contains(event.as_str()), "{event}");
        let command = entries[0]["hooks"][0]["command"].as_str().unwrap();
        assert!(command.ends_with("/share/doc/agor/examples/claude-hook"), "{command}");
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[test]
fn the_remote_agent_answers_across_connections() {
    let world = World::new();
    let port = world.path("work/port");
    let relay = world.path("home/relay");
    let mut serve = example(&world, "remote-agent");
    serve.arg("serve").env("PORT", "0").env("PORT_FILE", &port).env("RELAY_DIR", &relay);
    let _server =
        Server(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(90);
    while std::fs::read_to_string(&port).unwrap_or_default().is_empty() {
        assert!(Instant::now() < deadline, "the relay does not say its port");
        std::thread::sleep(Duration::from_millis(50));
    }
    let address = format!("localhost:{}", std::fs::read_to_string(&port).unwrap().trim());
    for number in 1..3 {
        let request = format!("{{\"id\":{number},\"op\":\"echo\",\"arg\":\"from afar\"}}\n");
        let mut connect = example(&world, "remote-agent");
        let output = feed(connect.args(["connect", &address]).env("RELAY_DIR", &relay), &request);
        let answer = ok(&output);
        assert!(answer.contains(&format!("\"id\":{number},")) && answer.contains("from afar"), "{answer}");
    }
    let mode = |name: &str| std::fs::metadata(relay.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("token"), mode("key.pem")), (0o600, 0o600));
}

#[test]
fn examples_are_for_people_to_copy() {
    for entry in std::fs::read_dir(top().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            continue;
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert!(mode & 0o111 != 0, "{} is not executable", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("jq "), "{} needs jq", path.display());
        usage_is_said(&path);
    }
    match Command::new("shellcheck").arg("--version").output() {
        Ok(_) => {
            let scripts: Vec<_> = std::fs::read_dir(top().join("examples"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_none())
                .collect();
            let output = Command::new("shellcheck").args(&scripts).output().unwrap();
            assert!(output.status.success(), "{}", stdout(&output));
        }
        Err(_) => skip("shellcheck is not installed: examples are not linted"),
    }
}

/// The head of a script says what it is for.
fn usage_is_said(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(
        text.lines().nth(1).is_some_and(|line| line.starts_with("# ") && line.len() > 30),
        "{}",
        path.display()
    );
}
