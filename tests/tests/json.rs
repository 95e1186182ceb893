//! `--json`: every command that has it prints objects led by `"schema":1`, and its errors are such objects too.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use agor_tests::{World, pages, stderr, stdout};
use serde_json::Value;

/// What a command answers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Answer {
    /// One object, also where there is nothing to tell.
    One,
    /// An object a line, at least one here.
    Rows,
    /// An object a line, and here nothing.
    Nothing,
    /// One object that is an error.
    Error,
}
use Answer::{Error, Nothing, One, Rows};

/// The commands that have `--json`, as they are typed.
fn commands_with_json() -> BTreeSet<String> {
    fn walk(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        let mut leaf = true;
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            leaf = false;
            walk(sub, &format!("{path} {}", sub.get_name()), found);
        }
        let answers = leaf || !command.is_subcommand_required_set();
        if answers && command.get_arguments().any(|arg| arg.get_long() == Some("json")) {
            found.insert(path.to_owned());
        }
    }
    let mut found = BTreeSet::new();
    for command in pages::commands() {
        walk(&command, command.get_name(), &mut found);
    }
    found
}

/// stdout as objects, each of which is led by its schema.
fn objects(what: &str, text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            assert!(line.starts_with("{\"schema\":1,"), "{what}: {line}");
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{what}: {error}: {line}"))
        })
        .collect()
}

struct Session {
    world: World,
    seen: BTreeSet<String>,
    known: BTreeSet<String>,
}

impl Session {
    /// Types `line` with `--json` (behind it where it has none), and checks the answer.
    fn ask(&mut self, line: &str, answer: Answer) -> Vec<Value> {
        let words: Vec<&str> = line.split(' ').collect();
        // The longest command that the words begin with; who speaks stands before it.
        let bare = line.replace(" --as coder ", " ");
        let plain: Vec<&str> = bare.split(' ').filter(|word| !word.starts_with('-')).collect();
        let name =
            (1..=plain.len()).rev().map(|n| plain[..n].join(" ")).find(|name| self.known.contains(name));
        self.seen.insert(name.unwrap_or_else(|| panic!("{line}: no such command has --json")));
        let json: &[&str] = if words.contains(&"--json") { &[] } else { &["--json"] };
        let output = self
            .world
            .tool(words[0])
            .args(&words[1..])
            .args(json)
            .env("BTMSG_AGENT_ID", "boss")
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let what = format!("{line}: {:?}: {}{}", output.status.code(), stdout(&output), stderr(&output));
        let found = objects(&what, &stdout(&output));
        match answer {
            One => assert_eq!(found.len(), 1, "{what}"),
            Rows => assert!(!found.is_empty(), "{what}"),
            Nothing => assert_eq!((found.len(), output.status.code()), (0, Some(0)), "{what}"),
            Error => {
                assert_eq!(found.len(), 1, "{what}");
                let code = found[0]["error"]["code"].as_i64().map(|code| i32::try_from(code).expect("small"));
                assert_eq!(code, output.status.code(), "{what}");
                let message = found[0]["error"]["message"].as_str().expect("a message");
                assert!(stderr(&output).starts_with(&format!("{}: {message}\n", words[0])), "{what}");
            }
        }
        let failed =
            found.iter().any(|object| object.get("error").is_some_and(|error| error.get("code").is_some()));
        assert_eq!(failed, answer == Error, "{what}");
        found
    }
}

#[test]
fn every_command_answers_in_objects_led_by_their_schema() {
    let world = World::new();
    // A command that says when it runs, so that orders to its supervisor have somebody to take them.
    let mut supervised = world
        .tool("agor-supervise")
        .args(["--name", "coder", "--", "sh", "-c", "echo up; exec sleep 1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut up = String::new();
    // Kept to the end: a command whose reader is gone is not started again.
    let mut answers = BufReader::new(supervised.stdout.take().expect("a pipe"));
    answers.read_line(&mut up).expect("its first line");
    assert_eq!(up, "up\n");
    // It records that a moment later.
    let end = Instant::now() + Duration::from_secs(60);
    while world.run("agor-supervise", &["history", "coder", "--json"]).stdout.is_empty() {
        assert!(Instant::now() < end, "it has no history");
        std::thread::sleep(Duration::from_millis(20));
    }

    let known = commands_with_json();
    let mut session = Session { world, seen: BTreeSet::new(), known };
    let script: &[(&str, Answer)] = &[
        // No database, then one with nobody in it.
        ("btmsg agents", Error),
        ("btmsg sweep", One),
        ("btmsg agents", One),
        ("btmsg health", One),
        ("btmsg stats", One),
        ("btmsg status", One),
        ("btmsg doctor", One),
        ("btmsg audit", Nothing),
        ("btmsg audit verify", One),
        ("btmsg export", Nothing),
        ("btmsg dlq list", One),
        ("btmsg whoami", Error),
        ("btmsg register boss Boss manager team", One),
        ("btmsg register coder Coder project team", One),
        ("btmsg inbox", One),
        ("btmsg unread", One),
        // Its whole point is to be silent when there is no mail, for hooks and prompts.
        ("btmsg notify", Nothing),
        ("btmsg feed", One),
        ("btmsg search anything", One),
        ("btmsg recv", Error),
        ("btmsg channel list", One),
        ("btmsg watch --timeout 1ms", Nothing),
        // The main road.
        ("btmsg whoami", One),
        ("btmsg agents", One),
        ("btmsg allow boss coder", One),
        ("btmsg deny nobody coder", Error),
        ("btmsg deny coder boss", One),
        ("btmsg allow coder boss", One),
        ("btmsg graph", One),
        ("btmsg contacts", One),
        ("btmsg send nobody hello", Error),
        ("btmsg send coder hello", One),
        ("btmsg --as coder inbox", One),
        ("btmsg --as coder notify", One),
        ("btmsg --as coder unread", One),
        ("btmsg history coder", One),
        ("btmsg feed", One),
        ("btmsg search hello", One),
        ("btmsg channel create news", One),
        ("btmsg channel add news coder", One),
        ("btmsg channel post news tests-pass", One),
        ("btmsg channel history news", One),
        ("btmsg channel list", One),
        ("btmsg channel remove news coder", One),
        ("btmsg channel leave news", One),
        ("btmsg channel join news", One),
        ("btmsg --as coder watch --max 1", Rows),
        ("btmsg heartbeat", One),
        ("btmsg health", One),
        ("btmsg log info something", One),
        ("btmsg sweep", One),
        ("btmsg audit", Rows),
        ("btmsg audit verify", One),
        ("btmsg stats", One),
        ("btmsg status", One),
        ("btmsg export", Rows),
        ("btmsg prune --dry-run", One),
        ("btmsg unregister coder", One),
        ("btmsg dlq redrive --all", One),
        ("btmsg dlq purge --all", One),
        ("btmsg dlq show 4711", Error),
        ("btmsg ack 4711", Error),
        ("btmsg nack 4711", Error),
        ("btmsg extend 4711", Error),
        ("btmsg read 4711", Error),
        ("btmsg reply 4711 yes", Error),
        ("agor-supervise list", Rows),
        ("agor-supervise status", Rows),
        ("agor-supervise status coder", One),
        ("agor-supervise history coder", Rows),
        ("agor-supervise reset coder", One),
        ("agor-supervise restart coder", One),
        ("agor-supervise kill coder CONT", One),
        ("agor-supervise explain", One),
        ("agor-supervise status nobody", Error),
        ("agor-supervise stop coder", One),
        ("agor-supervise stop coder", Error),
        ("agor-checkpoint status", Rows),
        ("agor-checkpoint", Rows),
        ("agor-checkpoint --interval 1ms --config /nowhere.toml", Error),
        ("agor-relay token new --out token", One),
        ("agor-relay token hash token", One),
        ("agor-relay token hash nowhere", Error),
        ("agor-relay cert new", One),
        ("agor-relay cert new", Error),
        ("agor-relay pin cert.pem", One),
        ("agor-relay pin nowhere", Error),
        ("agor-sandbox explain --json -- true", One),
        ("agor-sandbox explain --json --profile nowhere -- true", Error),
        ("agor-sandbox doctor", One),
    ];
    for (line, answer) in script {
        session.ask(line, *answer);
    }
    supervised.wait().expect("it was stopped");
    drop(answers);
    // Those that need an id from before: a letter to somebody who is gone, and messages under a lease.
    let sent = |session: &mut Session, line: &str| {
        let found = session.ask(line, One);
        found[0]["deliveries"][0]["id"].as_str().expect("an id").to_owned()
    };
    let parked = {
        let output = session.world.run("btmsg", &["--as", "boss", "send", "coder", "late", "--json"]);
        let found = objects("send to one that is gone", &stdout(&output));
        found[0]["deliveries"][0]["dead_letter"].as_i64().expect("a letter")
    };
    session.ask(&format!("btmsg dlq show {parked}"), One);
    session.ask("btmsg register coder", One);
    let id = sent(&mut session, "btmsg send coder again");
    session.ask(&format!("btmsg --as coder read {id}"), One);
    session.ask(&format!("btmsg --as coder reply {id} yes"), One);
    sent(&mut session, "btmsg send coder more");
    let leased = session.ask("btmsg --as coder recv", Rows)[0]["id"].as_str().expect("an id").to_owned();
    session.ask(&format!("btmsg --as coder extend {leased}"), One);
    session.ask(&format!("btmsg --as coder nack {leased}"), One);
    session.ask(&format!("btmsg --as coder ack {leased}"), One);

    let missing: Vec<&String> = session.known.difference(&session.seen).collect();
    assert!(missing.is_empty(), "not asked: {missing:?}");
}

#[test]
fn a_list_of_nothing_in_lines_is_empty() {
    let known = commands_with_json();
    let mut session = Session { world: World::new(), seen: BTreeSet::new(), known };
    for line in ["agor-supervise list", "agor-supervise status"] {
        session.ask(line, Nothing);
    }
}

#[test]
fn a_usage_error_is_an_object_too() {
    let known = commands_with_json();
    assert!(known.len() > 50, "{known:?}");
    let names: Vec<String> = known.iter().cloned().collect();
    let mut session = Session { world: World::new(), seen: BTreeSet::new(), known };
    for name in names {
        let found = session.ask(&format!("{name} --json --no-such-flag"), Error);
        let usage = if name.starts_with("agor-s") { 125 } else { 2 };
        assert_eq!(found[0]["error"]["code"], usage, "{name}");
    }
    // After `--` it is the command's.
    let output = session.world.run("agor-supervise", &["--no-such-flag", "--", "true", "--json"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(125)), "{}", stderr(&output));
}
