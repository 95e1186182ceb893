//! What a client, a signal or a moment badly chosen must not break: who a connection is, which life of a session
//! something was meant for, and what is still there at the end.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::process::Stdio;

use common::{Client, Place, Server, TOKEN, eventually};
use rustix::process::Signal;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

const STUBBORN: &str = "trap '' TERM; echo $$; while :; do sleep 1; done";

fn is_gone(pid: &str) -> bool {
    !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A relay that reads its token from `--token-fd 3` or from stdin, which give it once only.
fn with_token_from(option: &str, redirection: &str) -> Server {
    Server::start_with(Place::new(), false, &[], &["cat"], |command| {
        let program = command.get_program().to_owned();
        let dir = command.get_current_dir().unwrap().to_owned();
        let mut shell = common::clean("sh");
        let run =
            format!("exec \"$0\" --insecure --port 0 --port-file port {option} -- cat {redirection} 2>log");
        shell.args(["-c", &run]).arg(program).current_dir(&dir).env("AGOR_CONFIG", dir.join("agor.toml"));
        shell.env("AGOR_DATA_DIR", dir.join("data")).stdout(Stdio::null());
        *command = shell;
    })
}

#[test]
fn a_token_that_can_be_read_once_survives_a_reload() {
    for (option, redirection) in
        [("--token-fd 3", "3<token"), ("--token-fd 0", "<token"), ("--token-file -", "<token")]
    {
        let mut server = with_token_from(option, redirection);
        let mut client = server.client();
        for n in 1..=2 {
            server.signal(Signal::HUP);
            eventually("a reload", || server.log().matches("reload").count() >= n);
        }
        assert_eq!(server.log().matches(": reloaded").count(), 2, "{option}: {}", server.log());
        assert_eq!(client.ask("ping", "default", &json!({}))["type"], "pong");
        server.client();
        assert_eq!(server.stop(), Some(0), "{option}: {}", server.log());
    }
}

#[test]
fn a_connection_is_one_client_and_leaves_nothing_behind() {
    let server = Server::plain(&[], &["cat"]);
    let hello = |client: &mut Client, name: &str| {
        let payload = json!({"client": format!("client-{name}-0123456789")});
        client.ask("hello", "default", &payload)["type"] == "result"
    };
    // It has written before it says who it is, and then says that it is somebody else.
    let mut client = server.client();
    client.ok("session_write", "default", &json!({"data": "x\n"}));
    assert!(hello(&mut client, "one"));
    client.ok("session_write", "default", &json!({"data": "x\n"}));
    assert!(hello(&mut client, "one"));
    assert!(!hello(&mut client, "two"));
    drop(client);
    let mut other = server.client();
    eventually("the next may write", || {
        other.ask("session_write", "default", &json!({"data": "y\n"}))["type"] == "result"
    });
}

#[test]
fn taking_over_is_writing_and_detaching_ends_it() {
    let server = Server::plain(&[], &["cat"]);
    let (mut one, mut two) = (server.client(), server.client());
    one.ok("session_attach", "default", &json!({"write": true}));
    two.ok("session_attach", "default", &json!({"take": true}));
    let listed = two.ok("session_list", "default", &json!({}));
    assert_eq!(listed["sessions"][0]["controllers"], 2, "{listed}");
    two.ok("session_detach", "default", &json!({}));
    one.ok("session_write", "default", &json!({"data": "x\n"}));
}

#[test]
fn a_stop_after_a_restart_is_a_stop() {
    let server = Server::plain(&[], &["sh", "-c", STUBBORN]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    client.ok("session_restart", "default", &json!({"eof_s": 600}));
    client.ok("session_stop", "default", &json!({"eof_s": 0, "term_s": 0}));
    // Of a session that is started again nothing says that it is closed.
    assert_eq!(client.events_to("closed").pop().unwrap()["reason"], "stopped");
    eventually("it has ended", || {
        client.ok("session_list", "default", &json!({}))["sessions"][0]["state"] == "ended"
    });
}

#[test]
fn input_for_one_life_does_not_reach_a_child_of_the_life_before() {
    // The first life leaves a child behind that holds its stdin and begins to read it when it is told to.
    let script = "if test -e second; then exec cat; fi; touch second; exec 3<&0
        (while ! test -e read; do sleep 0.1; done; cat > leaked; touch all) <&3 >/dev/null 2>&1 &
        while ! test -e die; do sleep 0.1; done";
    let server = Server::plain(&[], &["sh", "-c", script]);
    let place = &server.place;
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    eventually("the first life", || place.path("second").exists());
    // More than the pipe holds, so that the relay waits for room in it.
    let block = format!("{}\n", "1".repeat(500_000));
    let waiting = client.send("session_write", "default", &json!({"data": block}));
    // What is answered later has come later.
    assert_eq!(client.ask("ping", "default", &json!({}))["type"], "pong");
    place.write("die", "");
    let before = client.events_to("closed");
    assert!(before.iter().any(|event| event["id"] == waiting && event["code"] == "not_running"));
    client.ok("session_start", "default", &json!({}));
    client.ok("session_signal", "default", &json!({"signal": "STOP"}));
    let second = client.send("session_write", "default", &json!({"data": "2".repeat(900_000) + "\n"}));
    place.write("read", "");
    eventually("the child has read to the end", || place.path("all").exists());
    client.ok("session_signal", "default", &json!({"signal": "CONT"}));
    client.answer(&second.into());
    assert_eq!(client.output(900_001).len(), 900_001);
    let leaked = std::fs::read(place.path("leaked")).unwrap();
    let twos = leaked.iter().filter(|byte| **byte == b'2').count();
    assert!(!leaked.is_empty() && twos == 0, "{twos} of {} bytes", leaked.len());
}

#[test]
fn commands_that_cannot_be_started_use_up_no_session() {
    let server = Server::plain(&["--allow-exec", "--max-sessions", "2"], &["cat"]);
    let mut client = server.client();
    for name in ["a", "b", "c"] {
        let payload = json!({"command": ["/nonexistent/program"]});
        assert_eq!(client.refused("session_start", name, &payload), "failed", "{name}");
    }
    client.ok("session_start", "d", &json!({"command": ["cat"]}));
}

#[test]
fn a_raw_session_does_not_outlive_the_relay() {
    for second in [false, true] {
        let drain = if second { "9s" } else { "800ms" };
        let mut server = Server::plain(&["--drain", drain], &["sh", "-c", STUBBORN]);
        let mut raw = common::upgrade(server.port, "/raw/default", TOKEN).unwrap();
        let Message::Text(pid) = common::said(&mut raw) else { panic!("no pid") };
        server.signal(Signal::TERM);
        if second {
            server.wait_log("ending");
            server.signal(Signal::TERM);
        }
        assert_eq!(common::wait(&mut server.child), Some(0));
        eventually("the raw session is gone", || is_gone(pid.trim()));
    }
}

#[test]
fn a_raw_session_says_its_last_words() {
    let mut server = Server::plain(&["--drain", "9s"], &["sh", "-c", "trap '' TERM; cat; seq 20000"]);
    let mut raw = common::upgrade(server.port, "/raw/default", TOKEN).unwrap();
    raw.send(Message::text("hello")).unwrap();
    assert_eq!(common::said(&mut raw), Message::text("hello"));
    server.signal(Signal::TERM);
    for n in 1..=20_000 {
        assert_eq!(common::said(&mut raw), Message::text(n.to_string()));
    }
    let Message::Close(Some(frame)) = common::said(&mut raw) else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1001);
    assert_eq!(common::wait(&mut server.child), Some(0));
}

/// A relay beside which stands a `btmsg` that is this script.
fn with_btmsg(script: &str) -> Server {
    let place = Place::new();
    let bin = place.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let relay = bin.join("agor-relay");
    common::executable::copy(common::RELAY, &relay);
    for tool in ["btmsg", "agor-supervise"] {
        common::executable::write(bin.join(tool), format!("#!/bin/sh\n{script}\n"));
    }
    Server::start_with(place, false, &[], &["cat"], |command| {
        let mut own = common::clean(&relay);
        let dir = command.get_current_dir().unwrap().to_owned();
        own.args(command.get_args()).current_dir(&dir).env("AGOR_CONFIG", dir.join("agor.toml"));
        own.stderr(std::fs::File::create(dir.join("log")).unwrap());
        *command = own;
    })
}

#[test]
fn one_client_cannot_fill_the_machine_with_tools() {
    let server = with_btmsg("echo x >> started; while ! test -e go; do sleep 0.1; done; echo '{}'");
    let mut client = server.client();
    let ids: Vec<u64> = (0..100).map(|_| client.send("health", "default", &json!({}))).collect();
    // A later command is answered, so all of them have been looked at.
    assert_eq!(client.ask("ping", "default", &json!({}))["type"], "pong");
    let refused = client.events.iter().filter(|answer| answer["code"] == "limit").count();
    assert!(refused >= 80, "{refused} of 100");
    server.place.write("go", "");
    let mut answers: Vec<_> = std::mem::take(&mut client.events).into();
    while answers.len() < ids.len() {
        answers.push(client.receive());
    }
    assert!(answers.iter().any(|answer| answer["type"] == "result"));
    let started = std::fs::read_to_string(server.place.path("started")).unwrap().lines().count();
    assert!(started <= 40, "{started}");
    // It passes.
    client.ok("health", "default", &json!({}));
}

#[test]
fn a_tools_answer_that_is_too_long_is_an_error() {
    let server =
        with_btmsg("echo '{\"id\":1}'; head -c 1100000 /dev/zero | tr '\\0' ' '; echo; echo '{\"id\":2}'");
    let mut client = server.client();
    let answer = client.ask("btmsg", "default", &json!({"op": "recv", "agent": "me"}));
    assert_eq!(answer["code"], "failed", "{answer:.300}");
    assert!(answer["message"].as_str().unwrap().contains("max"), "{answer}");
}
