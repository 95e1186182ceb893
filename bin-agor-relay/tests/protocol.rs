//! The protocol as a foreign client sees it. Every message is checked against the schema on its way.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::time::Duration;

use common::{Client, Server, TOKEN, data, eventually, schema};
use serde_json::{Value, json};

const NONE: &[&str] = &[];

#[test]
fn the_schema_refuses_what_it_should() {
    for good in
        [json!({"id":1,"type":"ping"}), json!({"id":"x","type":"session_write","payload":{"data":"a"}})]
    {
        assert!(schema::is_valid("command", &good), "{good}");
    }
    for bad in [
        json!({"type":"ping"}),
        json!({"id":1.5,"type":"ping"}),
        json!({"id":1,"type":"dance"}),
        json!({"id":1,"type":"session_write","payload":{"text":"a"}}),
        json!({"id":1,"type":"ping","session":"../x"}),
    ] {
        assert!(!schema::is_valid("command", &bad), "{bad}");
    }
    assert!(!schema::is_valid("event", &json!({"type":"output","session":"a","seq":1,"stream":"stdout"})));
    assert!(!schema::is_valid("event", &json!({"type":"error","id":null,"code":"oops","message":""})));
}

#[test]
fn lines_go_both_ways_and_are_numbered() {
    let server = Server::plain(NONE, &["cat"]);
    let mut client = server.client();
    assert_eq!(client.ready["sessions"], json!(["default"]));
    let attached = client.ok("session_attach", "default", &json!({"write": true}));
    assert_eq!(attached["from"], 1);
    assert_eq!(client.events_to("state_sync").last().unwrap()["state"], "running");
    for n in 1..=3 {
        client.ok("session_write", "default", &json!({"data": format!("line {n} ü\n")}));
        let event = client.event();
        assert_eq!((event["seq"].as_u64(), data(&event)), (Some(n), format!("line {n} ü\n").into_bytes()));
    }
    client.ok("session_write", "default", &json!({"data_base64": "/wAK"}));
    assert_eq!(data(&client.event()), [0xff, 0, b'\n']);
    assert_eq!(client.ask("ping", "default", &json!({}))["type"], "pong");
}

#[test]
fn every_bad_message_gets_a_typed_error() {
    let server = Server::plain(NONE, &["cat"]);
    let mut client = server.client();
    for (text, id, code) in [
        ("{", Value::Null, "bad_json"),
        ("", Value::Null, "bad_json"),
        ("42", Value::Null, "bad_json"),
        ("{}", Value::Null, "missing_field"),
        (r#"{"id":1}"#, json!(1), "missing_field"),
        (r#"{"id":[],"type":"ping"}"#, Value::Null, "bad_field"),
        (r#"{"id":2,"type":"dance"}"#, json!(2), "unknown_type"),
        (r#"{"id":3,"type":"session_write"}"#, json!(3), "missing_field"),
        (r#"{"id":4,"type":"session_write","payload":{"data":7}}"#, json!(4), "bad_field"),
        (r#"{"id":5,"type":"session_write","session":"nobody","payload":{"data":""}}"#, json!(5), "gone"),
        (r#"{"id":6,"type":"session_attach","payload":{"from":99}}"#, json!(6), "bad_field"),
        (r#"{"id":7,"type":"session_attach","payload":{"epoch":"another"}}"#, json!(7), "gone"),
        (r#"{"id":8,"type":"session_attach","payload":{"colour":"red"}}"#, json!(8), "bad_field"),
        (r#"{"id":9,"type":"session_signal","payload":{"signal":"NONSENSE"}}"#, json!(9), "bad_field"),
        (r#"{"id":10,"type":"session_stop","payload":{"eof_s":-1}}"#, json!(10), "bad_field"),
        (r#"{"id":11,"type":"pty_resize","payload":{"cols":1,"rows":1}}"#, json!(11), "not_running"),
        (r#"{"id":12,"type":"session_start"}"#, json!(12), "already_running"),
        (r#"{"id":13,"type":"session_start","payload":{"command":["id"]}}"#, json!(13), "forbidden"),
        (r#"{"id":14,"type":"hello","payload":{"client":"short"}}"#, json!(14), "bad_field"),
        (r#"{"id":15,"type":"ping","payload":{"x":1}}"#, json!(15), "bad_field"),
        (r#"{"id":16,"type":"session_list","payload":{"x":1}}"#, json!(16), "bad_field"),
        (r#"{"id":17,"type":"session_detach","payload":{"x":1}}"#, json!(17), "bad_field"),
        (r#"{"id":18,"type":"session_ack","payload":{"seq":1,"x":1}}"#, json!(18), "bad_field"),
        (r#"{"id":19,"type":"session_write","payload":{"data":"","x":1}}"#, json!(19), "bad_field"),
        (r#"{"id":20,"type":"session_start","payload":{"cwd":"/"}}"#, json!(20), "bad_field"),
        (r#"{"id":21,"type":"session_start","payload":{"env":{"A":"b"}}}"#, json!(21), "bad_field"),
        (r#"{"id":22,"type":"session_start","payload":{"cols":9}}"#, json!(22), "bad_field"),
        (r#"{"id":23,"type":"session_attach","payload":{"hold":true}}"#, json!(23), "bad_field"),
    ] {
        client.send_text(text);
        let answer = client.receive();
        assert_eq!(
            (&answer["type"], &answer["id"], &answer["code"]),
            (&json!("error"), &id, &json!(code)),
            "{text}"
        );
    }
    client.ws.send(tokio_tungstenite::tungstenite::Message::binary(vec![1, 2])).unwrap();
    assert_eq!(client.receive()["code"], "bad_json");
}

#[test]
fn a_command_is_executed_once() {
    let server = Server::plain(NONE, &["cat"]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    let command = r#"{"id":"once","type":"session_write","payload":{"data":"x\n"}}"#;
    client.send_text(command);
    let first = client.answer(&json!("once"));
    client.send_text(command);
    assert_eq!(client.answer(&json!("once")), first);
    client.ok("session_write", "default", &json!({"data": "end\n"}));
    assert_eq!(client.output(6), b"x\nend\n");
}

#[test]
fn an_answer_is_in_the_trace_of_its_command() {
    let server = Server::plain(NONE, &["cat"]);
    let mut client = server.client();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let names = r#"{"client":"0123456789abcdef"}"#;
    for (id, kind, payload) in [
        (1, "ping", "{}"),
        (2, "hello", names),
        (3, "session_list", "{}"),
        (4, "nonsense", "{}"),
        (5, "session_write", r#"{"data":"x"}"#),
    ] {
        let command = format!(
            r#"{{"id":{id},"type":"{kind}","payload":{payload},"_meta":{{"traceparent":"{trace}"}}}}"#
        );
        client.send_text(&command);
        assert_eq!(client.answer(&json!(id))["_meta"]["traceparent"], trace, "{kind}");
    }
    // None, and one that is none, is not made up.
    client.send_text(r#"{"id":6,"type":"ping","_meta":{"traceparent":"nonsense","other":1}}"#);
    assert_eq!(client.answer(&json!(6)).get("_meta"), None);
}

#[test]
fn a_client_with_a_name_gets_its_answers_again_on_another_connection() {
    let server = Server::plain(NONE, &["cat"]);
    let hello = json!({"client": "0123456789abcdef"});
    let command = r#"{"id":"w","type":"session_write","payload":{"data":"x\n"}}"#;
    let mut one = server.client();
    assert_eq!(one.ok("hello", "default", &hello)["known"], false);
    one.send_text(command);
    let first = one.answer(&json!("w"));
    let mut two = server.client();
    assert_eq!(two.ok("hello", "default", &hello)["known"], true);
    assert_eq!(one.close_code(), Some(4000));
    two.send_text(command);
    assert_eq!(two.answer(&json!("w")), first);
    two.ok("session_attach", "default", &json!({"from": 1}));
    assert_eq!(two.output(2), b"x\n");
    two.ok("session_write", "default", &json!({"data": "y\n"}));
    assert_eq!(two.output(2), b"y\n");
}

#[test]
fn attach_replays_from_where_it_is_told_and_names_what_is_lost() {
    let server = Server::plain(&["--ring", "64K"], &["cat"]);
    let mut writer = server.client();
    writer.ok("session_attach", "default", &json!({}));
    for n in 0..100 {
        writer.ok("session_write", "default", &json!({"data": format!("{n:02000}\n")}));
        // One by one: nobody waits for a viewer, and what `cat` gives back at once may be more than the ring holds.
        assert_eq!(writer.output(1).len(), 2001);
    }
    let next = writer.ok("session_attach", "default", &json!({"from": "now"}))["next_seq"].as_u64().unwrap();
    let mut late = server.client();
    late.ok("session_attach", "default", &json!({"from": next - 5}));
    assert_eq!(late.events_to("output").last().unwrap()["seq"], next - 5);
    let mut early = server.client();
    early.ok("session_attach", "default", &json!({"from": "start"}));
    let events = early.events_to("output");
    let gap = &events[events.len() - 2];
    assert_eq!((&gap["type"], &gap["from"]), (&json!("gap"), &json!(1)));
    let first = events.last().unwrap()["seq"].as_u64().unwrap();
    assert_eq!(gap["to"], first - 1);
    assert!(gap["bytes"].as_u64().unwrap() > 100_000, "{gap}");
    assert_eq!(early.output(1).len(), 2001);
}

#[test]
fn what_a_client_was_sent_and_has_not_acknowledged_is_kept_over_its_connections() {
    let options = ["--ring", "64K", "--stall", "0s"];
    let server = Server::plain(&options, &["sh", "-c", "read go; seq 1 200000; read end"]);
    let attach = |from: u64, ids: u64| {
        let mut client = server.client();
        // The ids of one client, over all its connections.
        client.next = ids;
        client.ok("hello", "default", &json!({ "client": "a-client-with-a-name" }));
        client.ok("session_attach", "default", &json!({ "write": true, "hold": true, "from": from }));
        client
    };
    let mut client = attach(1, 100);
    client.ok("session_write", "default", &json!({ "data": "go\n" }));
    let first = client.events_to("output").pop().unwrap();
    assert_eq!(first["seq"], 1);
    drop(client);
    // It has not said that the first event arrived: it may have been killed with it in hand.
    let mut client = attach(2, 200);
    let mut last = json!(null);
    eventually("the session waits", || {
        std::thread::sleep(Duration::from_millis(100));
        let next = client.ok("session_list", "default", &json!({}))["sessions"][0]["next_seq"].clone();
        std::mem::replace(&mut last, next.clone()) == next
    });
    drop(client);
    let mut client = attach(1, 300);
    let again = client.event();
    let again = if again["type"] == "state_sync" { client.event() } else { again };
    assert!(again == first, "{} from {}", again["type"], again["from"]);
}

#[test]
fn spilled_events_are_replayed_from_the_file() {
    let server = Server::plain(&["--ring", "64K", "--spill", "8M"], &["cat"]);
    let mut writer = server.client();
    writer.ok("session_attach", "default", &json!({}));
    for n in 0..200 {
        writer.ok("session_write", "default", &json!({"data": format!("{n:02000}\n")}));
    }
    writer.output(200 * 2001);
    let mut early = server.client();
    early.ok("session_attach", "default", &json!({"from": "start"}));
    let bytes = early.output(200 * 2001);
    let lines: Vec<usize> =
        String::from_utf8(bytes).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines, (0..200).collect::<Vec<_>>());
}

#[test]
fn exit_and_closed_are_replayed_to_late_joiners() {
    let server = Server::plain(NONE, &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    server.wait_log("exited with 3");
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    let events = client.events_to("closed");
    let exit = &events[events.len() - 2];
    assert_eq!((&exit["type"], &exit["code"], &exit["signal"]), (&json!("exit"), &json!(3), &Value::Null));
    assert_eq!(events.last().unwrap()["reason"], "exited");
    let mut all = server.client();
    all.ok("session_attach", "default", &json!({"from": "start"}));
    let streams: Vec<Value> = all
        .events_to("closed")
        .iter()
        .filter(|event| event["type"] == "output")
        .map(|event| event["stream"].clone())
        .collect();
    assert!(streams.contains(&json!("stdout")) && streams.contains(&json!("stderr")), "{streams:?}");
    assert_eq!(all.refused("session_write", "default", &json!({"data": "x"})), "not_running");
    all.ok("session_start", "default", &json!({}));
    assert_eq!(all.events_to("exit").last().unwrap()["code"], 3);
}

#[test]
fn many_view_and_one_writes() {
    let server = Server::plain(NONE, &["cat"]);
    let mut writer = server.client();
    writer.ok("session_attach", "default", &json!({"write": true}));
    let mut viewers: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for viewer in &mut viewers {
        viewer.ok("session_attach", "default", &json!({}));
        assert_eq!(viewer.refused("session_write", "default", &json!({"data": "no\n"})), "writer_taken");
        assert_eq!(viewer.refused("session_attach", "default", &json!({"write": true})), "writer_taken");
    }
    writer.ok("session_write", "default", &json!({"data": "yes\n"}));
    for viewer in &mut viewers {
        assert_eq!(viewer.output(4), b"yes\n");
    }
    viewers[0].ok("session_attach", "default", &json!({"write": true, "take": true}));
    assert_eq!(writer.refused("session_write", "default", &json!({"data": "no\n"})), "writer_taken");
    drop(viewers);
    eventually("the writer's place is free", || {
        writer.ask("session_write", "default", &json!({"data": "mine\n"}))["type"] == "result"
    });
}

#[test]
fn signals_and_stops_arrive_while_output_floods() {
    let server = Server::plain(NONE, &["sh", "-c", "trap 'echo got-usr1; exit 7' USR1; yes & wait"]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    client.output(1 << 20);
    client.ok("session_signal", "default", &json!({"signal": "USR1"}));
    let exit = client.events_to("exit").pop().unwrap();
    assert_eq!(exit["code"], 7);

    let server = Server::plain(NONE, &["yes"]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    client.output(1 << 20);
    client.ok("session_stop", "default", &json!({"eof_s": 0, "term_s": 60}));
    let events = client.events_to("closed");
    assert_eq!(events[events.len() - 2]["signal"], 15);
    assert_eq!(events.last().unwrap()["reason"], "stopped");
}

#[test]
fn stop_goes_from_eof_to_term_to_kill_and_takes_the_group_along() {
    // Ends on EOF.
    let server = Server::plain(NONE, &["cat"]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    client.ok("session_stop", "default", &json!({"eof_s": 60}));
    assert_eq!(client.events_to("exit").last().unwrap()["code"], 0);
    // Ignores both EOF and TERM, and so does its child, which holds stdout.
    let script = "trap '' TERM; (trap '' TERM; echo child $(exec sh -c 'echo $PPID'); while :; do sleep 1; done) & while :; do sleep 1; done";
    let server = Server::plain(NONE, &["sh", "-c", script]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({"from": "start"}));
    let line = String::from_utf8(client.output(7)).unwrap();
    let pid: i32 = line.trim().strip_prefix("child ").unwrap().parse().unwrap();
    client.ok("session_stop", "default", &json!({"eof_s": 0.05, "term_s": 0.05}));
    assert_eq!(client.events_to("exit").last().unwrap()["signal"], 9);
    eventually("the group is gone", || !alive(pid));
}

fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_grandchild_that_holds_stdout_does_not_hold_up_the_end() {
    let server = Server::plain(NONE, &["sh", "-c", "sleep 90 & echo done"]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({"from": "start"}));
    assert_eq!(client.events_to("closed").iter().find(|event| event["type"] == "exit").unwrap()["code"], 0);
}

#[test]
fn five_hundred_lives_leave_no_zombie() {
    let server = Server::plain(NONE, &["true"]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({"from": "start"}));
    for _ in 0..500 {
        client.events_to("closed");
        eventually("started again", || {
            client.ask("session_start", "default", &json!({}))["type"] == "result"
        });
    }
    client.events_to("closed");
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.child.id())).unwrap();
    assert_eq!(children.trim(), "");
}

#[test]
fn a_terminal_has_a_size_and_a_controlling_process() {
    let place = common::Place::new();
    let toml = "[relay.session.term]\ncommand = ['sh']\npty = true\nenv = { PS1 = '', TERM = 'dumb' }\n";
    place.write("agor.toml", toml);
    let server = Server::start(place, false, NONE, &[]);
    let mut client = server.client();
    client.ok("pty_create", "term", &json!({"cols": 100, "rows": 30}));
    client.ok("session_attach", "term", &json!({"from": "start", "write": true}));
    let mut ask = |input: &str, want: &str| {
        client.ok("pty_write", "term", &json!({"data": input}));
        let mut seen = String::new();
        while !seen.contains(want) {
            let event = client.event();
            if event["type"] == "output" {
                seen.push_str(&String::from_utf8_lossy(&data(&event)));
            }
        }
    };
    ask("stty size; tty -s && echo is-a-tty\n", "30 100");
    client.ok("pty_resize", "term", &json!({"cols": 77, "rows": 11}));
    client.ok("pty_write", "term", &json!({"data": "stty size; exec 3</dev/tty && echo control''ling\n"}));
    let mut seen = String::new();
    while !(seen.contains("11 77") && seen.contains("controlling")) {
        seen.push_str(&String::from_utf8_lossy(&client.output(1)));
    }
    client.ok("pty_write", "term", &json!({"data": "", "eof": true}));
    assert_eq!(client.events_to("closed").iter().find(|event| event["type"] == "exit").unwrap()["code"], 0);
    assert_eq!(client.refused("pty_resize", "term", &json!({"cols": 1, "rows": 1})), "not_running");
}

#[test]
fn a_process_that_does_not_read_makes_its_writer_busy_and_nobody_else() {
    let place = common::Place::new();
    place.write("agor.toml", "[relay.session.deaf]\ncommand = ['sleep', '600']\nautostart = true\n");
    let server = Server::start(place, false, NONE, &["cat"]);
    let mut client = server.client();
    let block = "x".repeat(512 << 10);
    let mut codes = Vec::new();
    let ids: Vec<u64> =
        (0..12).map(|_| client.send("session_write", "deaf", &json!({"data": block}))).collect();
    client.ok("session_attach", "default", &json!({}));
    client.ok("session_write", "default", &json!({"data": "alive\n"}));
    let mut seen = Vec::new();
    while seen.is_empty() || codes.is_empty() {
        let event = client.event();
        match event["type"].as_str().unwrap() {
            "error" => codes.push(event["code"].as_str().unwrap().to_owned()),
            "output" => seen.extend(data(&event)),
            _ => {}
        }
    }
    assert!(ids.len() > codes.len() && codes.iter().all(|code| code == "busy"), "{codes:?}");
    client.ok("session_stop", "deaf", &json!({"eof_s": 0}));
}

#[test]
fn dead_mans_policy_stops_and_pauses() {
    let server = Server::plain(
        &["--alone", "stop", "--alone-after", "200ms"],
        &["sh", "-c", "trap '' HUP; while :; do sleep 0.1; done"],
    );
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({"write": true}));
    drop(client);
    server.wait_log("stopping it");
    // By TERM; where that takes it 5 s, by KILL.
    server.wait_log("was killed by signal ");

    let server = Server::plain(&["--alone", "pause", "--alone-after", "200ms"], &["sleep", "60"]);
    let mut client = server.client();
    let pid = client.ok("session_list", "default", &json!({}))["sessions"][0]["pid"].as_i64().unwrap();
    let is_stopped =
        || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "));
    client.ok("session_attach", "default", &json!({"write": true}));
    drop(client);
    eventually("paused", is_stopped);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({"write": true}));
    eventually("continued", || !is_stopped());
}

#[test]
fn scopes_sessions_and_expiry_bound_a_token() {
    let place = common::Place::new();
    let hash = |token: &str| {
        let out = common::run(common::relay().args(["token", "hash"]), token.as_bytes());
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let names = [
        "watcher-watcher-watcher",
        "writer-writer-writer",
        "starter-starter-starter",
        "expired-expired-expired",
        "narrow-narrow-narrow",
    ];
    let toml = format!(
        "[relay.session.idle]\ncommand = ['cat']\n\
         [relay.token.watcher]\nhash = '{}'\nscope = 'observe'\n\
         [relay.token.writer]\nhash = '{}'\nscope = 'write'\n\
         [relay.token.starter]\nhash = '{}'\nscope = 'start'\n\
         [relay.token.old]\nhash = '{}'\nscope = 'exec'\nexpires = '2020-01-01T00:00:00Z'\n\
         [relay.token.narrow]\nhash = '{}'\nscope = 'start'\nsessions = ['idle']\n",
        hash(names[0]),
        hash(names[1]),
        hash(names[2]),
        hash(names[3]),
        hash(names[4])
    );
    place.write("agor.toml", &toml);
    let server = Server::start(place, false, NONE, &["cat"]);
    let mut watcher = server.client_as(names[0]);
    assert_eq!(watcher.ready["scope"], "observe");
    watcher.ok("session_attach", "default", &json!({}));
    for (kind, payload) in [
        ("session_write", json!({"data": "x"})),
        ("session_signal", json!({"signal": "TERM"})),
        ("session_stop", json!({})),
        ("session_start", json!({})),
        ("session_restart", json!({})),
        ("session_attach", json!({"write": true})),
        ("btmsg", json!({"op": "recv", "agent": "a"})),
        ("frontend_log", json!({"level": "info", "event": "e"})),
    ] {
        assert_eq!(watcher.refused(kind, "default", &payload), "forbidden", "{kind}");
    }
    let mut writer = server.client_as(names[1]);
    writer.ok("session_write", "default", &json!({"data": "x\n"}));
    assert_eq!(writer.refused("session_start", "idle", &json!({})), "forbidden");
    assert_eq!(writer.refused("session_attach", "idle", &json!({"start": true})), "forbidden");
    let mut starter = server.client_as(names[2]);
    starter.ok("session_start", "idle", &json!({}));
    assert_eq!(starter.refused("session_start", "new", &json!({"command": ["id"]})), "forbidden");
    assert_eq!(common::status(common::upgrade(server.port, "/", names[3])), 401);
    let mut narrow = server.client_as(names[4]);
    assert_eq!(narrow.ready["sessions"], json!(["idle"]));
    assert_eq!(narrow.refused("session_attach", "default", &json!({})), "gone");
    assert_eq!(narrow.refused("health", "idle", &json!({})), "forbidden");
    narrow.ok("session_attach", "idle", &json!({}));
}

#[test]
fn a_command_of_ones_own_needs_scope_and_flag() {
    let server = Server::plain(&["--allow-exec"], &[]);
    let mut client = server.client();
    assert_eq!(client.ready["scope"], "exec");
    client.ok(
        "session_start",
        "mine",
        &json!({"command": ["sh", "-c", "echo $WHO; exit 4"], "env": {"WHO": "me"}}),
    );
    client.ok("session_attach", "mine", &json!({"from": "start"}));
    assert_eq!(client.output(3), b"me\n");
    client.events_to("closed");
    assert_eq!(
        client.refused("session_start", "bad", &json!({"command": ["/nonexistent/program"]})),
        "failed"
    );
}

#[test]
fn a_revoked_or_changed_token_is_cut_and_a_new_one_works() {
    let place = common::Place::new();
    let server = Server::start(place, false, NONE, &["cat"]);
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({}));
    let new = "another_token_0123456789";
    server.place.write("token", new);
    server.signal(rustix::process::Signal::HUP);
    assert_eq!(client.close_code(), Some(1008));
    assert_eq!(common::status(common::upgrade(server.port, "/", TOKEN)), 401);
    server.client_as(new);
}

#[test]
fn the_relays_own_environment_and_descriptors_stay_its_own() {
    let place = common::Place::new();
    let script = "env; echo fds $(ls -l /proc/self/fd | grep -c socket)";
    let server = Server::start_with(place, false, NONE, &["sh", "-c", script], |command| {
        command.env("AGOR_RELAY_TOKEN", "agor_secret_in_the_environment");
        command.env("CREDENTIALS_DIRECTORY", "/nonexistent");
        command.env("KEPT", "yes");
    });
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({"from": "start"}));
    let mut text = String::new();
    for event in client.events_to("closed") {
        if event["type"] == "output" {
            text.push_str(&String::from_utf8_lossy(&data(&event)));
        }
    }
    assert!(text.contains("KEPT=yes") && text.contains("fds 0"), "{text}");
    assert!(
        !text.contains("AGOR_RELAY_TOKEN") && !text.contains("agor_secret") && !text.contains("CREDENTIALS"),
        "{text}"
    );
}

#[test]
fn raw_mode_is_a_private_instance_line_by_line() {
    let server = Server::plain(NONE, &["cat"]);
    let mut one = common::upgrade(server.port, "/raw/default", TOKEN).unwrap();
    let mut two = common::upgrade(server.port, "/raw/default/binary", TOKEN).unwrap();
    use tokio_tungstenite::tungstenite::Message;
    one.send(Message::text("hello")).unwrap();
    two.send(Message::binary(vec![0xff])).unwrap();
    assert_eq!(common::said(&mut one), Message::text("hello"));
    assert_eq!(common::said(&mut two), Message::binary(vec![0xff]));
    one.send(Message::text("")).unwrap();
    assert_eq!(common::said(&mut one), Message::text(""));
    assert_eq!(common::status(common::upgrade(server.port, "/raw/nobody", TOKEN)), 101);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let server = Server::plain(&["--allow-exec"], &["cat"]);
    let mut client = server.client();
    let missing = server.place.path("missing");
    let id = client.send("session_start", "x", &json!({ "command": ["true"], "cwd": missing }));
    let answer = client.answer(&json!(id));
    assert_eq!(answer["code"], "failed");
    assert!(answer["message"].as_str().unwrap().contains(missing.to_str().unwrap()), "{answer}");
}
