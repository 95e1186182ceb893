//! The end, the service manager, and the tools that are run for `health`, `btmsg` and `frontend_log`.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::time::Instant;

use common::{Place, Server, TOKEN, eventually};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn term_flushes_the_last_events_and_closes_with_1001() {
    // It has the whole time that there is for a session, and not the second before TERM only.
    let script = "trap '' TERM; cat; echo last words; exit 5";
    // Nobody else listens there afterwards.
    let (_socket, port) = common::own_port();
    let mut server =
        Server::start_on(port, Place::new(), false, &["--drain", "9s"], &["sh", "-c", script], |_| {});
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({"write": true}));
    client.ok("session_write", "default", &json!({"data": "hello\n"}));
    server.signal(Signal::TERM);
    assert_eq!(client.output(17), b"hello\nlast words\n");
    assert_eq!(client.events_to("closed").iter().find(|event| event["type"] == "exit").unwrap()["code"], 5);
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(common::wait(&mut server.child), Some(0));
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err());
}

#[test]
fn a_stubborn_session_is_killed_within_the_time_and_a_second_signal_ends_at_once() {
    let script = "trap '' TERM; echo $$; while :; do sleep 1; done";
    for second in [false, true] {
        let drain = if second { "9s" } else { "800ms" };
        let mut server = Server::plain(&["--drain", drain], &["sh", "-c", script]);
        let mut client = server.client();
        client.ok("session_attach", "default", &json!({"from": "start"}));
        let pid: i32 = String::from_utf8(client.output(2)).unwrap().trim().parse().unwrap();
        server.signal(Signal::TERM);
        let began = Instant::now();
        server.wait_log("ending");
        if second {
            server.signal(Signal::TERM);
        }
        // By itself it would kill the session 6.75 s after the first one.
        let in_time = second && began.elapsed().as_secs() < 5;
        assert_eq!(common::wait(&mut server.child), Some(0));
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        assert!(!in_time || server.log().contains("second signal"), "{}", server.log());
        eventually("the session is gone", || {
            !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        });
    }
}

#[test]
fn the_service_manager_passes_the_socket_and_hears_of_it() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let notify = std::os::unix::net::UnixDatagram::bind(place.path("notify")).unwrap();
    notify.set_read_timeout(Some(common::PATIENCE)).unwrap();
    // A shell stands for the service manager: it puts the socket to descriptor 3 and its own pid, which exec keeps.
    let mut server = Server::start_with(place, false, &["--port", "9"], &["cat"], |command| {
        let program = command.get_program().to_owned();
        let args: Vec<_> =
            command.get_args().map(std::ffi::OsStr::to_owned).filter(|arg| arg != "9").collect();
        let args: Vec<_> = {
            let at = args.iter().rposition(|arg| arg == "--port").unwrap();
            args.into_iter().enumerate().filter(|(n, _)| *n != at).map(|(_, arg)| arg).collect()
        };
        let dir = command.get_current_dir().unwrap().to_owned();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut shell = common::clean("sh");
        shell
            .args(["-c", "exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" </dev/null", "sh"])
            .arg(program)
            .args(args);
        shell.current_dir(&dir).stderr(log).stdin(std::os::fd::OwnedFd::from(listener.try_clone().unwrap()));
        shell.env("NOTIFY_SOCKET", dir.join("notify")).env("AGOR_CONFIG", dir.join("agor.toml"));
        *command = shell;
    });
    assert_eq!(server.port, port);
    server.client();
    let mut block = [0; 1000];
    let mut heard = |word: &str| {
        loop {
            let n = notify.recv(&mut block).unwrap();
            if String::from_utf8_lossy(&block[..n]).contains(word) {
                return;
            }
        }
    };
    heard("READY=1");
    server.signal(Signal::HUP);
    heard("RELOADING=1");
    heard("READY=1");
    server.signal(Signal::TERM);
    heard("STOPPING=1");
    assert_eq!(common::wait(&mut server.child), Some(0));
}

#[test]
fn health_mail_and_frontend_events_come_from_the_tools() {
    let place = Place::new();
    let bin = place.path("bin");
    std::fs::create_dir(&bin).unwrap();
    // Stand-ins: what is tested here is how they are called. The tools themselves answer in tests/.
    let relay = bin.join("agor-relay");
    common::executable::copy(common::RELAY, &relay);
    let tool =
        |name: &str, text: &str| common::executable::write(bin.join(name), format!("#!/bin/sh\n{text}\n"));
    tool("agor-supervise", r#"echo '{"schema":1,"name":"a"}'; echo '{"schema":1,"name":"b"}'"#);
    tool(
        "btmsg",
        r#"env | grep -q AGOR_RELAY_TOKEN && exit 70
case "$1" in
health) echo '{"schema":1,"agents":[]}'; exit 1;;
send) printf '{"schema":1,"args":"%s","text":"%s"}\n' "$*" "$(cat)";;
recv) case "$*" in *--wait*) exit 124;; *) echo '{"schema":1,"id":"m1"}';; esac;;
log) read line; printf '%s\n' "$line" > frontend; echo '{"schema":1,"events":1}';;
*) echo 'btmsg: no such thing' >&2; exit 2;;
esac"#,
    );
    let server = Server::start_with(place, false, &[], &["cat"], |command| {
        let mut own = common::clean(&relay);
        let dir = command.get_current_dir().unwrap().to_owned();
        own.args(command.get_args()).current_dir(&dir).env("AGOR_CONFIG", dir.join("agor.toml"));
        own.env("AGOR_RELAY_TOKEN", "unused-unused-unused")
            .stderr(std::fs::File::create(dir.join("log")).unwrap());
        *command = own;
    });
    let mut client = server.client();
    let health = client.ok("health", "default", &json!({}));
    assert_eq!(health["supervise"]["report"][1]["name"], "b", "{health}");
    assert_eq!((&health["btmsg"]["ok"], &health["btmsg"]["exit"]), (&json!(true), &json!(1)), "{health}");
    let sent = client.ok(
        "btmsg",
        "default",
        &json!({"op": "send", "from": "me", "to": ["you"], "text": "hi --there"}),
    );
    assert_eq!(sent["report"]["args"], "send --json --as me --to=you -");
    assert_eq!(sent["report"]["text"], "hi --there");
    assert_eq!(client.ok("btmsg", "default", &json!({"op": "recv", "agent": "me"}))["report"]["id"], "m1");
    let waited = client.ok("btmsg", "default", &json!({"op": "recv", "agent": "me", "wait_s": 1}));
    assert_eq!(waited["exit"], 124);
    assert_eq!(client.refused("btmsg", "default", &json!({"op": "recv", "agent": "--help"})), "bad_field");
    let id = client.send("btmsg", "default", &json!({"op": "ack", "agent": "me", "ids": ["x"]}));
    let failed = client.answer(&id.into());
    assert_eq!(
        (&failed["code"], &failed["message"]),
        (&json!("failed"), &json!("btmsg ended with 2: btmsg: no such thing"))
    );
    client.ok(
        "frontend_log",
        "default",
        &json!({"level": "warn", "event": "click", "attributes": {"n": 3, "source": "forged"}}),
    );
    let line = std::fs::read_to_string(server.place.path("frontend")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&record["event"], &record["source"], &record["n"]),
        (&json!("click"), &json!("frontend"), &json!(3))
    );
}

#[test]
fn a_session_configured_with_restart_and_sandbox_runs_those_tools() {
    let place = Place::new();
    let bin = place.path("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["agor-supervise", "agor-sandbox"] {
        let text = format!(
            "#!/bin/sh\necho {name} \"$@\"\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n"
        );
        common::executable::write(bin.join(name), text);
    }
    place.write(
        "agor.toml",
        "[relay.session.coder]\ncommand = ['echo', 'I am', 'the agent']\nrestart = 'always'\n\
         [relay.session.coder.sandbox]\nrw = ['.']\n",
    );
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let server = Server::start_with(place, false, &[], &[], |command| {
        command.env("PATH", path);
    });
    // Found beside the program first; the test's own program directory may hold the real ones.
    let beside = std::path::Path::new(common::RELAY).with_file_name("agor-supervise").is_file();
    if beside {
        println!("the real agor-supervise stands beside agor-relay: its stand-in is not used");
        return;
    }
    let mut client = server.client();
    client.ok("session_attach", "coder", &json!({"start": true, "from": "start"}));
    let mut text = String::new();
    for event in client.events_to("closed") {
        if event["type"] == "output" {
            text.push_str(&String::from_utf8_lossy(&common::data(&event)));
        }
    }
    assert!(
        text.contains("agor-supervise --name coder --restart always -- agor-sandbox --rw . -- echo"),
        "{text}"
    );
    assert!(text.contains("agor-sandbox --rw . -- echo I am the agent\nI am the agent\n"), "{text}");
    assert_eq!(common::status(common::upgrade(server.port, "/", TOKEN)), 101);
}
