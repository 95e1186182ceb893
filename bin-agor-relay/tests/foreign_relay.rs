//! `connect` against a server that is no relay, or a bad one: it ends, says why, and never makes anything up.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Place, stderr};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// Serves every connection with `serve`, and counts them.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            serve(tcp.unwrap());
        }
    });
    (port, count)
}

/// Exit code and stderr of a `connect` there, and what it wrote to stdout.
fn connect(port: u16, options: &[&str]) -> (i32, String, Vec<u8>) {
    let place = Place::new();
    let mut command = place.relay();
    command.args(["connect", &format!("ws://127.0.0.1:{port}"), "--insecure", "--token-file", "token"]);
    let out = common::run(command.args(options), b"");
    (out.status.code().unwrap(), stderr(&out), out.stdout)
}

/// Upgrades, answers the attach, and sends these events. Returns the connection, or nothing where it broke.
fn attached(tcp: TcpStream, events: &[Value]) -> Option<WebSocket<TcpStream>> {
    attached_at(tcp, 1, events)
}

fn attached_at(tcp: TcpStream, from: u64, events: &[Value]) -> Option<WebSocket<TcpStream>> {
    let mut ws = tungstenite::accept(tcp).ok()?;
    loop {
        let message = ws.read().ok()?;
        let Message::Text(text) = message else { continue };
        let command: Value = serde_json::from_str(&text).unwrap();
        if command["type"] == "session_attach" {
            let result = json!({"from": from, "next_seq": 1, "epoch": "e", "state": "running", "written": 0});
            let answer = json!({"type": "result", "id": command["id"], "result": result});
            ws.send(Message::text(answer.to_string())).ok()?;
            break;
        }
    }
    for event in events {
        ws.send(Message::text(event.to_string())).ok()?;
    }
    Some(ws)
}

#[test]
fn what_is_no_relay_is_said_to_be_none() {
    let silent = |tcp: TcpStream| std::mem::forget(tcp);
    let drops = |tcp: TcpStream| drop(tcp);
    let says = |text: &'static str| move |mut tcp: TcpStream| drop(tcp.write_all(text.as_bytes()));
    let patience = ["--timeout", "300ms"];
    for (n, (port, _)) in [
        server(silent),
        server(drops),
        server(says("SSH-2.0-OpenSSH_9.9\r\n")),
        server(says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")),
    ]
    .into_iter()
    .enumerate()
    {
        let (code, text, out) = connect(port, &patience);
        assert_eq!((code, text.lines().count(), out.len()), (69, 1, 0), "{n}: {text}");
    }
    let (port, _) = server(|mut tcp| {
        // Heard to the end: a request left unread would reset the connection.
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && tcp.read_exact(&mut byte).is_ok() {
            head.push(byte[0]);
        }
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    });
    let (code, text, _) = connect(port, &["--timeout", "30s"]);
    assert_eq!(code, 65, "{text}");
    assert!(text.contains("is that an agor relay?"), "{text}");
}

#[test]
fn one_that_upgrades_and_then_says_nothing_is_left() {
    let (port, _) = server(|tcp| {
        std::thread::spawn(move || {
            let mut ws = tungstenite::accept(tcp).unwrap();
            // Pings are answered by reading.
            while ws.read().is_ok() {}
        });
    });
    // One ping, and less time than in which a peer that answers none is taken for silent.
    let (code, text, _) = connect(port, &["--timeout", "6s", "--ping", "4s", "--retry", "0"]);
    assert_eq!(code, 69, "{text}");
    assert!(text.contains("does not answer"), "{text}");
}

#[test]
fn one_that_drops_every_connection_is_given_up_and_not_hammered() {
    let (port, count) = server(|tcp| drop(tungstenite::accept(tcp)));
    let (code, text, _) = connect(port, &["--retry", "1s"]);
    assert_eq!(code, 69, "{text}");
    let count = count.load(Ordering::SeqCst);
    assert!((2..=6).contains(&count), "{count} connections: {text}");
}

#[test]
fn another_version_of_the_protocol_is_refused_and_no_number_comes_before_one() {
    let (port, count) = server(|tcp| {
        let Ok(mut ws) = tungstenite::accept(tcp) else { return };
        let _ = ws.send(Message::text(r#"{"type":"ready","schema":2,"limits":{}}"#));
        while ws.read().is_ok() {}
    });
    let (code, text, _) = connect(port, &[]);
    assert_eq!((code, count.load(Ordering::SeqCst)), (65, 1), "{text}");
    assert!(text.contains("version 2 of the protocol"), "{text}");
    let (port, _) = server(|tcp| {
        let output =
            json!({"type": "output", "session": "default", "seq": 1, "stream": "stdout", "data": "a\n"});
        if let Some(mut ws) = attached_at(tcp, 0, &[output]) {
            while ws.read().is_ok() {}
        }
    });
    let (code, text, out) = connect(port, &["--observe", "--replies", "1"]);
    assert_eq!((code, out.as_slice()), (0, &b"a\n"[..]), "{text}");
}

#[test]
fn events_out_of_order_are_refused_and_repeated_ones_left_out() {
    let output = |seq: u64| json!({"type": "output", "session": "default", "seq": seq, "stream": "stdout", "data": format!("{seq}\n")});
    let gap = |from: u64, to: u64| json!({"type": "gap", "session": "default", "from": from, "to": to, "bytes": null});
    let closed = |seq: u64| json!({"type": "closed", "session": "default", "seq": seq, "reason": "exited"});
    let run = |events: Vec<Value>| {
        let (port, _) = server(move |tcp| {
            let ws = attached(tcp, &events);
            std::thread::spawn(move || ws.map(|mut ws| while ws.read().is_ok() {}));
        });
        connect(port, &["--linger", "forever"])
    };
    let (code, text, out) =
        run(vec![output(1), output(1), output(2), gap(1, 2), gap(3, 5), output(6), closed(7)]);
    assert_eq!((code, out.as_slice()), (0, &b"1\n2\n6\n"[..]), "{text}");
    for (events, what) in [
        (vec![output(1), output(3)], "event 3 after 1"),
        (vec![output(1), gap(3, 5)], "event 3 after 1"),
        (vec![json!({"type": "output", "session": "default", "seq": 1, "stream": "stdout"})], "without data"),
        (
            vec![
                json!({"type": "output", "session": "default", "seq": 1, "stream": "stdout", "data_base64": "%"}),
            ],
            "without data",
        ),
        (vec![json!("nonsense")], "not an event"),
    ] {
        let (code, text, _) = run(events);
        assert_eq!(code, 65, "{text}");
        assert!(text.contains(what), "{text}");
    }
    let (port, _) = server(move |tcp| {
        let mut ws = tungstenite::accept(tcp).unwrap();
        ws.send(Message::text(output(1).to_string())).unwrap();
        std::thread::spawn(move || while ws.read().is_ok() {});
    });
    let (code, text, out) = connect(port, &[]);
    assert_eq!((code, out.len()), (65, 0), "{text}");
}

#[test]
fn a_certificate_without_its_key_is_not_remembered() {
    let made = |_| rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    // Somebody's certificate, and a key of one's own.
    let ([shown, other], provider) = ([0, 1].map(made), rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(other.signing_key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into()).unwrap();
    let pair = rustls::sign::CertifiedKey::new(vec![shown.cert.der().clone()], key);
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)));
    let config = Arc::new(config);
    let (port, _) = server(move |mut tcp| {
        let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
        let _ = tls.complete_io(&mut tcp);
    });
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    let mut command = place.relay();
    command.args(["connect", &format!("wss://127.0.0.1:{port}"), "--tofu", "--token-file", "token"]);
    let (code, text) = common::refused(&mut command);
    assert_eq!(code, 76, "{text}");
    let known = std::fs::read_to_string(place.path("data/known_relays")).unwrap_or_default();
    assert_eq!(known, "");
}

#[test]
fn arguments_that_no_relay_could_follow_are_usage_errors() {
    let place = Place::new();
    for (url, options) in [
        ("ws://127.0.0.1:9", &["--from", "abc"][..]),
        ("ws://127.0.0.1:9", &["--from", "0"]),
        ("ws://::1", &[]),
        ("ws://[::1", &[]),
        ("ws://[localhost]:9", &[]),
        ("ws://a b:9", &[]),
        ("ws://user@127.0.0.1:9", &[]),
        ("ws://127.0.0.1:0", &[]),
        ("http://127.0.0.1:9", &[]),
    ] {
        let mut command = place.relay();
        command.args(["connect", url, "--insecure", "--token-file", "token"]).args(options);
        let (code, text) = common::refused(&mut command);
        assert_eq!(code, 2, "{url} {options:?}: {text}");
    }
}
