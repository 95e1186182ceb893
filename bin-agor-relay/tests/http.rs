//! The HTTP side, byte by byte: what is refused, in which words, and that nothing is given away.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{PATIENCE, Place, Server, TOKEN, exchange};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";

fn auth() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

fn code(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[test]
fn only_a_right_handshake_is_upgraded() {
    let server = Server::plain(&["--max-failures", "1000"], &["cat"]);
    let auth = auth();
    let whole = |headers: &str| get("/", headers);
    for (request, wanted) in [
        (whole(&auth), &[426][..]),
        (get("/healthz", ""), &[200]),
        (get("/metrics", ""), &[401]),
        (get("/metrics", &auth), &[200]),
        (whole(&format!("{auth}{UPGRADE}")), &[400]),
        (whole(&format!("{auth}{UPGRADE}Sec-WebSocket-Key: short\r\n")), &[400]),
        (whole(&format!("{auth}{UPGRADE}{KEY}{KEY}")), &[400]),
        (
            whole(&format!(
                "{auth}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 12\r\n{KEY}"
            )),
            &[426],
        ),
        (whole(&format!("{auth}Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{KEY}")), &[426]),
        (format!("POST / HTTP/1.1\r\nHost: h\r\n{auth}{UPGRADE}{KEY}\r\n"), &[405]),
        (format!("GET / HTTP/1.0\r\nHost: h\r\n{auth}{UPGRADE}{KEY}\r\n"), &[400]),
        (format!("GET / HTTP/1.1\r\n{auth}{UPGRADE}{KEY}\r\n"), &[400]),
        (whole(&format!("Host: other\r\n{auth}{UPGRADE}{KEY}")), &[400]),
        (whole(&format!("{auth}X: a\r\n b\r\n{UPGRADE}{KEY}")), &[400]),
        (whole(&format!("{auth}Content-Length: 5\r\n{UPGRADE}{KEY}\r\nhello")), &[400]),
        (whole(&format!("{auth}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n{UPGRADE}{KEY}")), &[400]),
        (get("/?token=x", &format!("{auth}{UPGRADE}{KEY}")), &[400]),
        (get("/../../etc/passwd", &auth), &[404]),
        (get("/%2e%2e/%2e%2e/etc/passwd", &auth), &[404]),
        (get("//", &auth), &[404]),
        (get("http://h/", &auth), &[400]),
        (get(&format!("/{}", "a".repeat(65_536)), &auth), &[414, 431, 400]),
        (get("/a\0b", &auth), &[400]),
        ("nonsense\r\n\r\n".to_owned(), &[400]),
        (whole(&format!("{auth}Origin: https://evil.example\r\n{UPGRADE}{KEY}")), &[403]),
        (whole(&format!("{auth}{auth}{UPGRADE}{KEY}")), &[400]),
        (whole(&format!("Authorization: Bearer {}\r\n{UPGRADE}{KEY}", "x".repeat(65_536))), &[431, 400]),
        (whole(&format!("Authorization: Bearer \u{fc}\u{fc}\r\n{UPGRADE}{KEY}")), &[401, 400]),
        (whole(&format!("Authorization: Bearer a\0b\r\n{UPGRADE}{KEY}")), &[401, 400]),
        (whole(&(0..500).map(|n| format!("X-{n}: y\r\n")).collect::<String>()), &[431, 400]),
    ] {
        let answer = server.http(&request);
        assert!(wanted.contains(&code(&answer)), "{request:.200}: {answer:.300}");
        let lower = answer.to_lowercase();
        assert!(
            !lower.contains("server:") && !lower.contains("hyper") && !lower.contains("root:"),
            "{answer}"
        );
    }
    server.client();
}

#[test]
fn missing_and_wrong_tokens_get_the_same_bytes() {
    let server = Server::plain(&[], &["cat"]);
    let ask = |headers: &str| server.http(&get("/", &format!("{headers}{UPGRADE}{KEY}")));
    let missing = ask("");
    assert_eq!(code(&missing), 401);
    assert!(missing.contains("www-authenticate: Bearer"), "{missing}");
    for wrong in ["Bearer ", "Bearer x", "Basic eDp5", "bearer wrong-wrong-wrong-wrong", &TOKEN[1..]] {
        assert_eq!(ask(&format!("Authorization: {wrong}\r\n")), missing, "{wrong}");
    }
    server.wait_log("login refused");
    assert!(!server.log().contains("wrong-wrong"), "{}", server.log());
}

#[test]
fn ten_failures_from_one_address_are_enough_whatever_the_port() {
    let login = |server: &Server, token: &str| {
        code(&server.http(&get("/", &format!("Authorization: Bearer {token}\r\n{UPGRADE}{KEY}"))))
    };
    let server = Server::plain(&[], &["cat"]);
    let ask = |token: &str| login(&server, token);
    for n in 0..10 {
        assert_eq!(ask("wrong-wrong-wrong-wrong"), 401, "{n}");
    }
    assert_eq!(ask("wrong-wrong-wrong-wrong"), 429);
    assert_eq!(ask(TOKEN), 429);
    assert_eq!(code(&server.http(&get("/healthz", ""))), 200);
    // Another address of the loopback network is another address.
    let elsewhere = {
        let mut tcp = common::tcp_from([127, 0, 0, 2], server.port);
        tcp.write_all(get("/metrics", &auth()).as_bytes()).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    };
    assert_eq!(code(&elsewhere), 200);
    assert!(elsewhere.contains("agor_relay_login_failures_total 10"), "{elsewhere}");
    // It lasts no longer than it is said to.
    let server = Server::plain(&["--lockout", "2s", "--max-failures", "1"], &["cat"]);
    common::eventually("it is locked out", || login(&server, "wrong-wrong-wrong-wrong") == 429);
    common::eventually("the lockout ends", || {
        std::thread::sleep(Duration::from_millis(200));
        code(&server.http(&get("/metrics", &auth()))) == 200
    });
}

#[test]
fn an_allowed_origin_passes() {
    let server = Server::plain(&["--allow-origin", "https://ui.example"], &["cat"]);
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = get("/", &format!("{}Origin: https://ui.example\r\n{UPGRADE}{KEY}", auth()));
    tcp.write_all(request.as_bytes()).unwrap();
    let mut start = [0; 12];
    tcp.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 101");
}

#[test]
fn a_page_of_an_allowed_origin_brings_its_token_as_a_subprotocol() {
    use base64::Engine as _;
    let server = Server::plain(&["--allow-origin", "https://ui.example", "--max-failures", "100"], &["cat"]);
    let encode = |token: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token);
    let ask = |origin: &str, protocols: &str, more: &str| {
        let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let protocols = format!("Sec-WebSocket-Protocol: {protocols}\r\n");
        tcp.write_all(get("/", &format!("{origin}{protocols}{more}{UPGRADE}{KEY}")).as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            tcp.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    };
    let good = format!("agor-relay, agor-relay.bearer.{}", encode(TOKEN));
    let origin = "Origin: https://ui.example\r\n";
    let answer = ask(origin, &good, "");
    assert_eq!(code(&answer), 101);
    assert!(answer.contains("sec-websocket-protocol: agor-relay\r\n"), "{answer}");
    // Not for anything that is not a page, nor for a page from elsewhere, nor beside another token.
    assert_eq!(code(&ask("", &good, "")), 401);
    assert_eq!(code(&ask("Origin: https://other.example\r\n", &good, "")), 403);
    assert_eq!(code(&ask(origin, &good, &auth())), 400);
    let bad = [
        "agor-relay.bearer.",
        "agor-relay.bearer.%%",
        "agor-relay",
        "agor-relay.bearer.d3Jvbmctd3Jvbmctd3Jvbmc",
    ];
    for protocols in bad {
        assert_eq!(code(&ask(origin, protocols, "")), 401, "{protocols}");
    }
    assert!(!server.log().contains(&encode(TOKEN)), "{}", server.log());
}

#[test]
fn a_slow_header_is_cut_by_the_total_deadline_and_an_endless_one_by_its_size() {
    let server = Server::plain(&["--handshake-timeout", "700ms"], &["cat"]);
    let began = Instant::now();
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let mut cut = false;
    for byte in get("/", &"X: y\r\n".repeat(40)).bytes().cycle() {
        if tcp.write_all(&[byte]).is_err() {
            cut = true;
            break;
        }
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(cut);
    let mut tcp = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    let mut sent = 0;
    while tcp.write_all(&[b'a'; 4096]).is_ok() {
        sent += 4096;
        assert!(sent < 64 << 20);
    }
    let limit = 8 << 20; // what loopback sockets buffer, with room to spare
    assert!(sent < limit, "{sent}");
    // Its own time for a handshake is short here too.
    common::eventually("it serves on", || common::Client::open(server.port, TOKEN).is_ok());
}

#[test]
fn plain_and_tls_do_not_mix() {
    let secure = Server::tls(&[], &["cat"]);
    let answer = exchange(secure.port, get("/", &auth()).as_bytes());
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    secure.wait_log("TLS handshake");
    let plain = Server::plain(&[], &["cat"]);
    let hello = [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3];
    let answer = exchange(plain.port, &hello);
    assert!(answer.is_empty() || code(&answer) == 400, "{answer}");
    plain.wait_log("HTTP");
    plain.client();
}

#[test]
fn certificates_reload_as_a_pair_or_not_at_all() {
    let server = Server::tls(&[], &["cat"]);
    let pin = || {
        let out = common::run(server.place.relay().args(["pin", &format!("127.0.0.1:{}", server.port)]), b"");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let old = server.place.pin.clone();
    assert_eq!(pin(), old);
    let other = Place::new();
    // The certificate first: for a moment the pair does not match.
    std::fs::copy(other.path("cert.pem"), server.place.path("cert.pem")).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_log("kept as it was");
    assert_eq!(pin(), old);
    std::fs::copy(other.path("key.pem"), server.place.path("key.pem")).unwrap();
    common::eventually("another look finds the pair", || pin() == other.pin);
    server.place.write("cert.pem", "broken");
    server.signal(rustix::process::Signal::HUP);
    common::eventually("it is said again", || server.log().matches("kept as it was").count() == 2);
    assert_eq!(pin(), other.pin);
}
