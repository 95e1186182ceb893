//! Limits: what a peer can cost at most.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use common::{Client, PATIENCE, Server, TOKEN, eventually, tcp_from};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A connection past the upgrade, without anything that keeps to the rules.
fn bare(server: &Server) -> TcpStream {
    bare_at(server, "/")
}

fn bare_at(server: &Server, path: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    tcp
}

/// One masked frame; the mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..=125 => frame.push(0x80 | n as u8),
        n @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The close code that comes, if one does.
fn close_code(tcp: &mut TcpStream) -> Option<u16> {
    let mut bytes = Vec::new();
    let mut block = [0; 65_536];
    loop {
        match tcp.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(&block[..n]),
        }
    }
    let mut at = 0;
    while at + 2 <= bytes.len() {
        let (opcode, short) = (bytes[at] & 15, usize::from(bytes[at + 1] & 127));
        let (start, len) = match short {
            126 => (at + 4, usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))),
            127 => (at + 10, u64::from_be_bytes(bytes[at + 2..at + 10].try_into().unwrap()) as usize),
            n => (at + 2, n),
        };
        if opcode == 8 {
            return (len >= 2).then(|| u16::from_be_bytes([bytes[start], bytes[start + 1]]));
        }
        at = start + len;
    }
    None
}

/// Reads `size` bytes of messages without a look at them.
fn skim(client: &mut Client, size: usize) {
    let mut seen = 0;
    while seen < size {
        seen += client.ws.read().unwrap().len();
    }
}

#[test]
fn a_message_of_the_limit_passes_and_one_more_byte_does_not() {
    let server = Server::plain(&["--max-message", "64K"], &["cat"]);
    let pad = |size: usize| {
        let text = r#"{"id":1,"type":"ping","x":""}"#;
        text.replace("\"\"", &format!("\"{}\"", "a".repeat(size - text.len())))
    };
    let mut client = server.client();
    client.send_text(&pad(65_536));
    assert_eq!(client.answer(&json!(1))["type"], "pong");
    // Who is slow to send the rest of it is not listened to for ever.
    let _ = client.ws.send(Message::text(pad(65_537)));
    assert_eq!(client.close_code(), Some(1009));
    // In fragments, and by its length alone.
    let mut tcp = bare(&server);
    tcp.write_all(&frame(0x01, &[b'a'; 40_000])).unwrap();
    let _ = tcp.write_all(&frame(0x80, &[b'a'; 40_000]));
    assert_eq!(close_code(&mut tcp), Some(1009));
    let mut tcp = bare(&server);
    tcp.write_all(&[0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(close_code(&mut tcp), Some(1009));
    // Told in the middle of it, who goes on sending for a moment is not reset.
    let mut tcp = bare(&server);
    let began = std::time::Instant::now();
    let message = frame(0x81, &[b'a'; 100_000]);
    tcp.write_all(&message[..1000]).unwrap();
    assert_eq!(close_code(&mut tcp), Some(1009));
    let sent = message[1000..].chunks(20_000).try_for_each(|part| tcp.write_all(part));
    assert!(sent.is_ok() || began.elapsed() > Duration::from_millis(1500), "{sent:?}");
    let before = server.rss_kib();
    assert!(before < 100 << 10, "{before} KiB");
}

#[test]
fn a_peer_that_is_gone_has_broken_no_rule() {
    let server = Server::plain(&[], &["cat"]);
    let ended = bare(&server);
    ended.shutdown(std::net::Shutdown::Write).unwrap();
    server.wait_log("connection of token main broke: ended without a goodbye\n");
    // With bytes unread, the kernel resets it.
    let unheard = bare(&server);
    unheard.peek(&mut [0]).unwrap();
    drop(unheard);
    server.wait_log("connection of token main broke: ended without a goodbye (connection reset)\n");
    assert!(!server.log().contains("protocol error"), "{}", server.log());
}

#[test]
fn text_is_utf8_also_in_fragments_and_pings_go_between() {
    let server = Server::plain(&[], &["cat"]);
    let mut client = server.client();
    let text = "{\"id\":1,\"type\":\"ping\",\"x\":\"é\"}".as_bytes();
    let cut = text.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    let send = |client: &mut Client, data: &[u8], opcode, fin| {
        client.ws.send(Message::Frame(Frame::message(data.to_vec(), opcode, fin))).unwrap();
    };
    send(&mut client, &text[..cut], OpCode::Data(Data::Text), false);
    client.ws.send(Message::Ping(b"between".to_vec().into())).unwrap();
    send(&mut client, &text[cut..], OpCode::Data(Data::Continue), true);
    assert_eq!(common::said(&mut client.ws), Message::Pong(b"between".to_vec().into()));
    assert_eq!(client.answer(&json!(1))["type"], "pong");
    let mut tcp = bare(&server);
    tcp.write_all(&frame(0x81, b"\xff\xfe")).unwrap();
    assert_eq!(close_code(&mut tcp), Some(1007));
    let mut tcp = bare(&server);
    tcp.write_all(&frame(0xb1, b"reserved bits")).unwrap();
    assert_eq!(close_code(&mut tcp), Some(1002));
    let mut tcp = bare(&server);
    tcp.write_all(b"\x81\x02hi").unwrap();
    assert_eq!(close_code(&mut tcp), Some(1002));
}

#[test]
fn floods_are_ended_and_cost_little_memory() {
    let server = Server::plain(&[], &["cat"]);
    drop(server.client());
    let before = server.rss_kib();
    for (what, bytes) in [
        ("pings", frame(0x89, b"ping-ping-ping")),
        ("empty messages", frame(0x81, b"")),
        ("bad messages", frame(0x81, b"{nonsense")),
        ("binary messages", frame(0x82, b"x")),
    ] {
        let mut tcp = bare(&server);
        let block = bytes.repeat(1000);
        let mut sent = 0u64;
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        while tcp.write_all(&block).is_ok() {
            sent += 1000;
            assert!(sent < 3_000_000, "{what} are not ended");
        }
        let grown = server.rss_kib().saturating_sub(before);
        assert!(grown < 5 << 10, "{what}: {grown} KiB");
    }
    // Empty fragments never become a message.
    let mut tcp = bare(&server);
    tcp.write_all(&frame(0x01, b"")).unwrap();
    let block = frame(0x00, b"").repeat(1000);
    let mut sent = 0u64;
    while tcp.write_all(&block).is_ok() {
        sent += 1000;
        assert!(sent < 5_000_000, "empty fragments are not ended");
    }
    server.client();
}

#[test]
fn a_reader_that_never_reads_costs_little_and_is_cut_and_the_others_go_on() {
    // More time than it may take the other one, which does read, to have its turn.
    let server = Server::plain(&["--write-timeout", "8s", "--ring", "1M"], &["yes"]);
    let mut other = server.client();
    other.ok("session_attach", "default", &json!({}));
    skim(&mut other, 4 << 20);
    let before = server.rss_kib();
    let mut tcp = bare(&server);
    tcp.write_all(&frame(0x81, br#"{"id":1,"type":"session_attach","payload":{}}"#)).unwrap();
    skim(&mut other, 24 << 20);
    let grown = server.rss_kib().saturating_sub(before);
    assert!(grown < 5 << 10, "{grown} KiB");
    let began = std::time::Instant::now();
    while !server.log().contains("too slow") {
        skim(&mut other, 1 << 20);
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn a_reader_that_never_reads_is_cut_however_seldom_it_is_pinged() {
    let server = Server::plain(&["--write-timeout", "300ms", "--ping", "1h"], &["yes", &"x".repeat(1000)]);
    let mut tcp = bare(&server);
    tcp.write_all(&frame(0x81, br#"{"id":1,"type":"session_attach","payload":{"start":true}}"#)).unwrap();
    server.wait_log("too slow");
    let _raw = bare_at(&server, "/raw/default");
    eventually("the raw one too", || server.log().matches("too slow").count() == 2);
}

#[test]
fn raw_connections_are_held_to_the_same_limits() {
    let server = Server::plain(&[], &["sleep", "600"]);
    drop(bare_at(&server, "/raw/default"));
    let before = server.rss_kib();
    // Where the process reads nothing the connection is not read from either.
    for (what, bytes, patience) in [
        ("pings", frame(0x89, &[b'x'; 100]), PATIENCE),
        ("empty lines", frame(0x81, b""), Duration::from_secs(2)),
    ] {
        let mut tcp = bare_at(&server, "/raw/default");
        tcp.set_write_timeout(Some(patience)).unwrap();
        let block = bytes.repeat(1000);
        let mut sent = 0u64;
        while tcp.write_all(&block).is_ok() {
            sent += 1000;
            assert!(sent < 3_000_000, "{what} are not ended");
        }
        let grown = server.rss_kib().saturating_sub(before);
        assert!(grown < 5 << 10, "{what}: {grown} KiB");
    }
    server.wait_log("too many control frames");
}

#[test]
fn a_client_that_asks_and_does_not_read_is_not_listened_to() {
    let server = Server::plain(&["--write-timeout", "1s"], &["cat"]);
    drop(server.client());
    let before = server.rss_kib();
    let mut tcp = bare(&server);
    tcp.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut n = 0;
    while tcp.write_all(&frame(0x81, format!(r#"{{"id":{n},"type":"session_list"}}"#).as_bytes())).is_ok() {
        n += 1;
        assert!(n < 10_000_000);
    }
    server.wait_log("cut: too slow");
    let grown = server.rss_kib().saturating_sub(before);
    assert!(grown < 5 << 10, "{grown} KiB");
}

#[test]
fn silent_peers_are_cut_and_answering_ones_are_not() {
    let server = Server::plain(&["--ping", "5s"], &["cat"]);
    let mut polite = server.client();
    let _silent = bare(&server);
    // It does no more than answer pings, which it does by reading.
    polite.ws.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut pings = 0;
    eventually("the silent one is cut", || {
        pings += u32::from(polite.ws.read().is_ok());
        server.log().contains("silent")
    });
    polite.ws.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(polite.ask("ping", "default", &json!({}))["type"], "pong");
    assert!(pings > 0 && server.log().matches("silent").count() == 1, "{pings}: {}", server.log());
}

#[test]
fn connections_are_limited_and_those_who_are_there_live_on() {
    let server = Server::plain(&["--max-connections", "3", "--max-pending", "2"], &["cat"]);
    let mut kept: Vec<Client> = (0..3).map(|_| server.client()).collect();
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let mut none = Vec::new();
    let _ = tcp.read_to_end(&mut none);
    assert!(none.is_empty());
    for client in &mut kept {
        assert_eq!(client.ask("ping", "default", &json!({}))["type"], "pong");
    }
    kept.pop();
    eventually("there is room again", || Client::open(server.port, TOKEN).is_ok());
}

/// A waiting room of eight places, and a connection in each that says nothing.
fn crowded(options: &[&str], source: impl Fn(u8) -> [u8; 4]) -> (Server, Vec<TcpStream>) {
    let mut options = options.to_vec();
    options.extend(["--handshake-timeout", "10m"]);
    let server = Server::plain(&options, &["cat"]);
    let crowd = (0..8).map(|n| tcp_from(source(n), server.port)).collect();
    (server, crowd)
}

/// Waits for the end of a connection.
fn ends(tcp: &mut TcpStream) {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    // A reset is an end too.
    match tcp.read(&mut [0]) {
        Ok(n) => assert_eq!(n, 0),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock),
    }
}

fn is_open(tcp: &mut TcpStream) -> bool {
    tcp.set_nonblocking(true).unwrap();
    tcp.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn whoever_fills_the_waiting_room_keeps_nobody_out() {
    for options in [["--max-pending", "8"], ["--max-connections", "8"]] {
        for (what, source) in [
            ("one address", (|_| [127, 0, 0, 2]) as fn(u8) -> [u8; 4]),
            ("the client's own address", |_| [127, 0, 0, 1]),
            ("many addresses", |n| [127, 0, 1, n]),
        ] {
            let (server, mut crowd) = crowded(&options, source);
            let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
            for client in &mut clients {
                assert_eq!(client.ask("ping", "default", &json!({}))["type"], "pong");
            }
            // The oldest had to go, and no more than were in the way.
            ends(&mut crowd[0]);
            assert!(is_open(&mut crowd[7]), "{what}");
            assert!(server.log().contains("gave way"), "{what}: {}", server.log());
        }
    }
}

#[test]
fn who_has_much_of_the_waiting_room_gives_way_before_who_has_little() {
    let (server, mut crowd) = crowded(&["--max-pending", "8"], |n| [127, 0, 0, if n < 2 { 2 } else { 3 }]);
    let mut more = (0..4).map(|n| tcp_from([127, 0, 0, 3 + n % 2], server.port)).collect();
    // Two of the first, four of the second, and two of a third.
    crowd[2..6].iter_mut().for_each(ends);
    crowd.drain(2..6);
    crowd.append(&mut more);
    assert!(crowd.iter_mut().all(is_open));
}

#[test]
fn an_address_that_is_locked_out_takes_nobodys_place() {
    let (server, mut crowd) = crowded(&["--max-pending", "8", "--max-failures", "1"], |n| [127, 0, 1, n]);
    let mut guilty = tcp_from([127, 0, 0, 9], server.port);
    guilty.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    guilty.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    ends(&mut crowd[0]);
    crowd[0] = tcp_from([127, 0, 1, 0], server.port);
    ends(&mut tcp_from([127, 0, 0, 9], server.port));
    server.wait_log("refused: a limit is reached");
    assert!(crowd.iter_mut().all(is_open));
}

#[test]
fn out_of_descriptors_it_waits_and_serves_on() {
    let place = common::Place::new();
    let server = Server::start_with(place, false, &["--handshake-timeout", "10m"], &["cat"], |command| {
        let program = command.get_program().to_owned();
        let args: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let envs: Vec<_> =
            command.get_envs().map(|(k, v)| (k.to_owned(), v.map(std::ffi::OsStr::to_owned))).collect();
        let dir = command.get_current_dir().unwrap().to_owned();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        *command = std::process::Command::new("sh");
        command
            .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
            .arg(program)
            .args(args)
            .current_dir(&dir)
            .stderr(log);
        for (key, value) in envs {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
    });
    assert!(server.log().contains("descriptor limit is 40"), "{}", server.log());
    let mut first = server.client();
    let idle: Vec<TcpStream> =
        (0..60).map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap()).collect();
    server.wait_log("accept:");
    assert_eq!(first.ask("ping", "default", &json!({}))["type"], "pong");
    // Those who have not authenticated give way, where descriptors are the limit too.
    let mut second = server.client();
    assert_eq!(second.ask("ping", "default", &json!({}))["type"], "pong");
    drop(idle);
    // Where nobody is left to give way they wait.
    let mut clients = Vec::new();
    while let Ok(client) = Client::open_within(server.port, TOKEN, Duration::from_secs(1)) {
        clients.push(client);
        assert!(clients.len() < 40);
    }
    assert_eq!(first.ask("ping", "default", &json!({}))["type"], "pong");
    drop(clients);
    eventually("new ones are served again", || Client::open(server.port, TOKEN).is_ok());
}

#[test]
fn a_clock_that_is_set_by_a_day_drops_nobody() {
    let arch = std::env::consts::ARCH;
    let library = format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketime.so.1");
    let program = std::fs::read(common::RELAY).unwrap();
    if !std::path::Path::new(&library).exists() || !program[..4096].windows(3).any(|word| word == b"/ld") {
        return common::skip("libfaketime is not installed, or the relay is static");
    }
    let place = common::Place::new();
    let clock = place.write("clock", "+0");
    // It looks at its connections twice a second, and gives a silent one 10 s.
    let options = ["--ping", "5s", "--write-timeout", "1s"];
    let server = Server::start_with(place, false, &options, &["cat"], |command| {
        command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &clock);
        // A step of the wall clock, as an operator or a time server makes it.
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    });
    let mut client = server.client();
    client.ok("session_attach", "default", &json!({ "write": true, "hold": true }));
    for (step, days) in [("+1d", 1), ("-1d", -1), ("+0", 0)] {
        std::fs::rename(server.place.write("clock-to-be", step), &clock).unwrap();
        let began = std::time::Instant::now();
        // Longer than two looks, each of which would cut whoever seems to have been silent for a day.
        while began.elapsed() < Duration::from_millis(1300) {
            client.ok("session_write", "default", &json!({ "data": "x\n" }));
            assert_eq!(client.output(2), b"x\n");
            std::thread::sleep(Duration::from_millis(30));
        }
        // The relay does live in that time.
        client.ok("session_restart", "default", &json!({ "eof_s": 1 }));
        let exit = client.events_to("exit").pop().unwrap();
        let here = agor_common::time::now_ms() + days * 86_400_000;
        let there = agor_common::time::parse_ms(exit["time"].as_str().unwrap()).unwrap();
        assert!((here - there).abs() < 3_600_000, "{step}: {exit}");
        eventually("it runs again", || {
            client.ok("session_list", "default", &json!({}))["sessions"][0]["state"] == "running"
        });
    }
}
