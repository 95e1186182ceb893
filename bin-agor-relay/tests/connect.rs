//! `connect`: a remote session as a local pipe.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Place, Server, eventually, refused, run, stderr};

#[test]
fn requests_in_answers_out_and_a_clean_end() {
    let server = Server::tls(&[], &["cat"]);
    let out = run(&mut server.connect(&["--replies", "2", "--linger", "60s"]), b"{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(
        (out.status.code(), out.stdout.as_slice()),
        (Some(0), &b"{\"a\":1}\n{\"b\":2}\n"[..]),
        "{}",
        stderr(&out)
    );
    // Both at once, for it takes time; and `cat` must answer within it.
    let other = Server::tls(&[], &["cat"]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let out = run(&mut other.connect(&["--linger", "5s", "--replies", "5"]), b"x\n");
            let got = (out.status.code(), out.stdout.as_slice());
            assert_eq!(got, (Some(124), &b"x\n"[..]), "{}", stderr(&out));
        });
        let out = run(&mut server.connect(&["--linger", "5s"]), b"x\n");
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b"x\n"[..]), "{}", stderr(&out));
    });
    let out = run(&mut server.connect(&["--eof"]), b"last\n");
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b"last\n"[..]), "{}", stderr(&out));
    // Ended: a late joiner learns how, and --start runs it again.
    assert_eq!(run(&mut server.connect(&[]), b"").status.code(), Some(0));
    let out = run(&mut server.connect(&["--start", "--replies", "1", "--linger", "60s"]), b"again\n");
    assert_eq!(out.stdout, b"again\n", "{}", stderr(&out));
}

#[test]
fn the_sessions_status_and_streams_are_its_own() {
    for (script, want) in [("echo out; echo err >&2; read x; exit 7", 7), ("read x; kill -9 $$", 137)] {
        let server = Server::plain(&[], &["sh", "-c", script]);
        let out = run(&mut server.connect(&["--from", "start", "--eof"]), b"go\n");
        assert_eq!(out.status.code(), Some(want), "{}", stderr(&out));
        if want == 7 {
            assert_eq!(out.stdout, b"out\n");
            assert!(stderr(&out).contains("err\n"));
        }
    }
}

#[test]
fn bytes_are_exact_both_ways() {
    let server = Server::plain(&[], &["cat"]);
    let mut bytes = Vec::new();
    for size in [0usize, 1, 65_535, 65_536, 65_537, (1 << 20) - 1] {
        bytes.extend(std::iter::repeat_n(b'a', size));
        bytes.push(b'\n');
        bytes.extend("é".repeat(size / 2).as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend(b"crlf\r\n\r\nnul \0 sep \xe2\x80\xa8 bad \xff\xfe\n");
    bytes.extend((0..300_000u32).map(|n| (n * 7919 % 251) as u8));
    bytes.extend(b"no newline at the end");
    let out = run(&mut server.connect(&["--eof"]), &bytes);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(out.stdout == bytes, "{} bytes of {}", out.stdout.len(), bytes.len());
}

#[test]
fn a_connection_that_breaks_is_told_in_plain_words() {
    let mut server = Server::tls(&[], &["cat"]);
    let connected = || {
        let mut command = server.connect(&["--retry", "0", "--linger", "60s"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
        child
    };
    let mut client = connected();
    client.kill().unwrap();
    client.wait().unwrap();
    server.wait_log("broke");
    let client = connected();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let text = stderr(&client.wait_with_output().unwrap());
    assert!(text.contains("lost"), "{text}");
    for text in [text, server.log()] {
        assert!(!text.contains("https://"), "{text}");
    }
}

#[test]
fn two_way_saturation_finishes() {
    let server = Server::tls(&[], &["cat"]);
    let lines: String = (0..100_000).map(|n| format!("{n} {}\n", "x".repeat(100))).collect();
    let out = run(&mut server.connect(&["--replies", "100000", "--linger", "60s"]), lines.as_bytes());
    assert!(
        out.stdout == lines.as_bytes(),
        "{} bytes of {}: {}",
        out.stdout.len(),
        lines.len(),
        stderr(&out)
    );
}

/// Accepts TCP, remembers what came, answers nothing.
fn listener() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for tcp in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            kept.push(tcp);
        }
    });
    (port, connections)
}

#[test]
fn a_wrong_pin_ends_it_before_the_token_is_sent() {
    let server = Server::tls(&[], &["cat"]);
    let other = Place::new();
    let url = server.url();
    let connect = |options: &[&str]| {
        refused(server.place.relay().args(["connect", &url, "--token-file", "token"]).args(options))
    };
    let (code, text) = connect(&["--pin", &other.pin]);
    assert!(code == 76 && text.contains(&other.pin) && text.contains(&server.place.pin), "{code} {text}");
    // The server saw a handshake that ended, and no HTTP.
    server.wait_log("TLS handshake");
    assert!(!server.log().contains("login") && !server.log().contains("HTTP"), "{}", server.log());
    // A backup pin is enough.
    let out = run(&mut server.connect(&["--pin", &other.pin, "--replies", "1", "--linger", "60s"]), b"x\n");
    assert!(out.status.success(), "{}", stderr(&out));
    let (code, text) = connect(&["--pin", "sha256//nonsense"]);
    assert!(code == 2 && text.contains("pin"), "{text}");
    // Self-signed, without pin or CA.
    let (code, text) = connect(&[]);
    assert!(code == 76 || code == 78, "{code} {text}");
    // With the certificate as CA the name counts.
    let out = run(
        server.place.relay().args([
            "connect",
            &url,
            "--token-file",
            "token",
            "--ca",
            "cert.pem",
            "--replies",
            "1",
            "--linger",
            "60s",
        ]),
        b"x\n",
    );
    assert!(out.status.success(), "{}", stderr(&out));
    run(server.place.relay().args(["cert", "new", "--force", "--name", "elsewhere.example"]), b"");
    server.signal(rustix::process::Signal::HUP);
    server.wait_log("reloaded");
    let (code, text) = connect(&["--ca", "cert.pem"]);
    assert!(code == 76 && text.contains("not trusted"), "{code} {text}");
}

#[test]
fn trust_on_first_use_remembers_and_refuses_a_change() {
    let server = Server::tls(&[], &["cat"]);
    let url = server.url();
    let connect = || {
        let mut command = server.place.relay();
        command.args([
            "connect",
            &url,
            "--token-file",
            "token",
            "--tofu",
            "--replies",
            "1",
            "--linger",
            "60s",
        ]);
        run(&mut command, b"x\n")
    };
    let first = connect();
    assert!(first.status.success() && stderr(&first).contains("first connection"), "{}", stderr(&first));
    assert!(!stderr(&connect()).contains("first connection"));
    let known = std::fs::read_to_string(server.place.path("data/known_relays")).unwrap();
    run(server.place.relay().args(["cert", "new", "--force"]), b"");
    server.signal(rustix::process::Signal::HUP);
    server.wait_log("reloaded");
    let changed = connect();
    assert_eq!(changed.status.code(), Some(76));
    assert!(stderr(&changed).contains(&server.place.pin), "{}", stderr(&changed));
    assert_eq!(std::fs::read_to_string(server.place.path("data/known_relays")).unwrap(), known);
    // A file that cannot be used says nothing about the relay.
    let file = server.place.path("data/known_relays");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let out = connect();
    let (code, text) = (out.status.code().unwrap(), stderr(&out));
    assert!(code == 74 && text.contains("known_relays") && !text.contains("hint"), "{code} {text}");
}

#[test]
fn a_client_certificate_is_demanded_where_there_is_a_ca() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let place = Place::new();
    let make = |name: &str, old: bool| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        if old {
            leaf.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let cert = leaf.signed_by(&key, &ca).unwrap();
        place.write(&format!("{name}-ca.pem"), &ca.pem());
        place.write(&format!("{name}.pem"), &cert.pem());
        place.write(&format!("{name}-key.pem"), &key.serialize_pem());
        ca
    };
    let right = make("right", false);
    make("wrong", false);
    let key = KeyPair::generate().unwrap();
    let mut expired = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    place.write("expired.pem", &expired.signed_by(&key, &right).unwrap().pem());
    place.write("expired-key.pem", &key.serialize_pem());
    let server = Server::start(place, true, &["--client-ca", "right-ca.pem"], &["cat"]);
    let connect = |name: &str| {
        let (cert, key) = (format!("{name}.pem"), format!("{name}-key.pem"));
        run(
            &mut server.connect(&["--cert", &cert, "--key", &key, "--replies", "1", "--linger", "60s"]),
            b"x\n",
        )
    };
    assert_eq!(connect("right").stdout, b"x\n");
    for name in ["wrong", "expired"] {
        assert!(!connect(name).status.success(), "{name}");
    }
    assert!(!run(&mut server.connect(&["--replies", "1", "--linger", "60s"]), b"x\n").status.success());
}

#[test]
fn refusals_have_their_own_codes() {
    let server = Server::plain(&[], &["cat"]);
    server.place.write("wrong", "wrong-wrong-wrong-wrong");
    let connect = |options: &[&str]| {
        let mut command = server.place.relay();
        command.args(["connect", &server.url(), "--insecure"]).args(options);
        refused(&mut command)
    };
    assert_eq!(connect(&["--token-file", "wrong"]).0, 77);
    assert_eq!(connect(&["--token-file", "token", "--session", "nobody"]).0, 69);
    assert_eq!(connect(&["--token-file", "absent"]).0, 66);
    assert_eq!(connect(&[]).0, 78);
    let plain = refused(server.place.relay().args(["connect", &server.url(), "--token-file", "token"]));
    assert!(plain.0 == 2 && plain.1.contains("--insecure"), "{}", plain.1);
    let (_closed, port) = common::own_port();
    assert_eq!(refused(&mut server.connect_to(port, &[])).0, 69);
    let (silent, connections) = listener();
    assert_eq!(refused(&mut server.connect_to(silent, &["--timeout", "300ms"])).0, 69);
    // Connections are accepted in their order: once this one is, all others are.
    let _last = TcpStream::connect(("127.0.0.1", silent)).unwrap();
    eventually("the last one is accepted", || connections.load(Ordering::SeqCst) > 1);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    let mut writer = server.client();
    writer.ok("session_attach", "default", &serde_json::json!({"write": true}));
    assert_eq!(connect(&["--token-file", "token"]).0, 75);
}

#[test]
fn a_closed_stdout_is_a_quiet_end() {
    // Not so much that an observer could miss some of it, of which it would be told.
    let script = format!("while :; do echo {}; sleep 0.1; done", "x".repeat(500));
    let server = Server::plain(&[], &["sh", "-c", &script]);
    let mut child =
        server.connect(&["--observe"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 1000];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_eq!(common::wait(&mut child), Some(0));
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}

#[test]
fn a_new_process_goes_on_where_a_killed_one_was() {
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; read end; exit 0";
    let server = Server::plain(&[], &["sh", "-c", script]);
    let out_path = server.place.path("out");
    let out = || std::fs::File::options().create(true).append(true).open(&out_path).unwrap();
    let mut rounds = 0;
    while !std::fs::read_to_string(&out_path).unwrap_or_default().contains("line 3000\n") {
        rounds += 1;
        assert!(rounds < 200);
        let mut child = server
            .connect(&["--state", "state", "--from", "start", "--linger", "forever"])
            .stdin(Stdio::null())
            .stdout(out())
            .spawn()
            .unwrap();
        // At ever other moments; and where even a start takes long, ever later.
        std::thread::sleep(Duration::from_millis(20 + rounds * 5 % 60 + rounds * rounds / 4));
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = std::fs::read_to_string(&out_path).unwrap();
    let want: String = (1..=3000).map(|n| format!("line {n}\n")).collect();
    assert!(text == want, "{} bytes of {}", text.len(), want.len());
}

#[test]
fn input_from_a_file_goes_on_where_a_killed_one_was() {
    let server = Server::plain(&[], &["sh", "-c", "while read line; do echo \"$line\"; done > got"]);
    let lines: String = (0..200_000).map(|n| format!("{n:020}\n")).collect();
    server.place.write("input", &lines);
    let got = server.place.path("got");
    for round in 0..200u64 {
        let mut child = server
            .connect(&["--state", "state", "--linger", "200ms"])
            .stdin(std::fs::File::open(server.place.path("input")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        if round < 6 {
            std::thread::sleep(Duration::from_millis(30 + round * 17));
            let _ = child.kill();
        }
        if child.wait().unwrap().success() {
            break;
        }
    }
    eventually("all lines are there", || {
        std::fs::metadata(&got).is_ok_and(|meta| meta.len() >= lines.len() as u64)
    });
    assert!(std::fs::read_to_string(&got).unwrap() == lines);
}

#[test]
fn another_token_may_not_resume_a_client() {
    let place = Place::new();
    let hash = run(common::relay().args(["token", "hash"]), b"another-token-another");
    let hash = String::from_utf8(hash.stdout).unwrap();
    place.write("agor.toml", &format!("[relay.token.other]\nhash = '{}'\nscope = 'exec'\n", hash.trim()));
    place.write("other", "another-token-another");
    let server = Server::start(place, false, &[], &["cat"]);
    let out = run(&mut server.connect(&["--state", "state", "--replies", "1", "--linger", "60s"]), b"x\n");
    assert!(out.status.success(), "{}", stderr(&out));
    let mut command = server.place.relay();
    command.args(["connect", &server.url(), "--insecure", "--token-file", "other", "--state", "state"]);
    let (code, text) = refused(&mut command);
    assert!(code == 77 && text.contains("another token"), "{code} {text}");
}

#[test]
fn a_relay_that_was_started_anew_says_that_the_session_is_gone() {
    let (_socket, port) = common::own_port();
    let mut server = Server::start_on(port, Place::new(), false, &[], &["cat"], |_| {});
    let out = run(&mut server.connect(&["--state", "state", "--replies", "1", "--linger", "60s"]), b"x\n");
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(server.stop(), Some(0));
    let port = port.to_string();
    let again = server
        .place
        .relay()
        .args(["--port", &port, "--port-file", "port2", "--insecure", "--token-file", "token", "--", "cat"])
        .spawn()
        .unwrap();
    server.child = again;
    common::first_line(&server.place.path("port2"));
    let (code, text) = refused(&mut server.connect(&["--state", "state"]));
    assert!(code == 69 && text.contains("gone"), "{code} {text}");
}

/// What a proxy does to a connection.
#[derive(Clone, Copy)]
enum Cut {
    Rst,
    Fin,
    Blackhole,
}

/// A TCP proxy that cuts every connection after `after` bytes.
struct Proxy {
    port: u16,
    cuts: Arc<AtomicU64>,
}

fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    budget: &AtomicU64,
    total: &AtomicU64,
    cut: Cut,
    cuts: &AtomicU64,
) {
    let mut block = [0; 8192];
    loop {
        let n = match from.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        if budget.load(Ordering::SeqCst) > 0
            && total.fetch_add(n as u64, Ordering::SeqCst) >= budget.load(Ordering::SeqCst)
        {
            if budget.swap(0, Ordering::SeqCst) > 0 {
                cuts.fetch_add(1, Ordering::SeqCst);
                match cut {
                    Cut::Rst => {
                        let linger = |tcp: &TcpStream| {
                            rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO))
                        };
                        let _ = linger(&from).and_then(|()| linger(&to));
                    }
                    Cut::Fin => {}
                    Cut::Blackhole => std::thread::sleep(Duration::from_millis(900)),
                }
            }
            let _ = from.shutdown(std::net::Shutdown::Both);
            let _ = to.shutdown(std::net::Shutdown::Both);
            return;
        }
        if to.write_all(&block[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

impl Proxy {
    /// Cuts `limit` connections, each after a random number of bytes up to `most`, then lets one through.
    fn new(target: u16, limit: u64, most: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicU64::new(0));
        let counter = cuts.clone();
        std::thread::spawn(move || {
            // xorshift, seeded: every run cuts at the same places.
            let mut random = 0x9e37_79b9_7f4a_7c15u64;
            let mut number = 0u64;
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                number += 1;
                let budget = if counter.load(Ordering::SeqCst) < limit { 1500 + random % most } else { 0 };
                let cut = match number % 20 {
                    0 => Cut::Blackhole,
                    n if n % 2 == 0 => Cut::Rst,
                    _ => Cut::Fin,
                };
                let budget = Arc::new(AtomicU64::new(budget));
                let total = Arc::new(AtomicU64::new(0));
                let (client2, server2) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                for (from, to) in [(client, server2), (server, client2)] {
                    let (budget, total, cuts) = (budget.clone(), total.clone(), counter.clone());
                    std::thread::spawn(move || pump(from, to, &budget, &total, cut, &cuts));
                }
            }
        });
        Proxy { port, cuts }
    }
}

fn numbered(n: usize) -> String {
    format!("{n} {:060}", n * 7)
}

#[test]
fn two_hundred_cuts_lose_nothing_and_repeat_nothing() {
    let server = Server::plain(&["--ping", "400ms"], &["sh", "-c", "tee got"]);
    let proxy = Proxy::new(server.port, 200, 60_000);
    let mut child = server
        .connect_to(proxy.port, &["--ping", "400ms", "--linger", "forever", "--replies", "100000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for n in 0..100_000usize {
            writeln!(stdin, "{}", numbered(n)).unwrap();
        }
    });
    let mut want = 0usize;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        assert_eq!(line.unwrap(), numbered(want));
        want += 1;
    }
    assert_eq!(want, 100_000);
    writer.join().unwrap();
    assert_eq!(common::wait(&mut child), Some(0));
    // One that had been given up may have been cut too.
    assert!(proxy.cuts.load(Ordering::SeqCst) >= 200);
    // tee(1) writes to its stdout first.
    let got = || std::fs::read_to_string(server.place.path("got")).unwrap();
    eventually("the last line is in the file", || got().ends_with(&format!("{}\n", numbered(99_999))));
    let got = got();
    assert!(got.lines().enumerate().all(|(n, line)| line == numbered(n)));
    assert_eq!(got.lines().count(), 100_000);
}

#[test]
fn a_suspended_client_comes_back() {
    let server = Server::plain(&["--ping", "200ms"], &["cat"]);
    let mut child = server
        .connect(&["--ping", "200ms", "--replies", "2", "--linger", "forever"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdin.write_all(b"one\n").unwrap();
    stdout.read_line(&mut line).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    server.wait_log("silent");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    stdin.write_all(b"two\n").unwrap();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "one\ntwo\n");
    drop(stdin);
    assert_eq!(common::wait(&mut child), Some(0));
}

/// Passes everything on. The first connection ends for the client with the first that it says after the upgrade, and what
/// it has said goes to the relay only once the proxy is told to.
fn late_proxy(target: u16) -> (u16, std::sync::mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (release, mut held) = {
        let (release, held) = std::sync::mpsc::channel();
        (release, Some(held))
    };
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, held) = (client.unwrap(), held.take());
            let mut server = TcpStream::connect(("127.0.0.1", target)).unwrap();
            let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_server, &mut to_client);
            });
            std::thread::spawn(move || {
                if let Some(held) = held {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        client.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    server.write_all(&head).unwrap();
                    let mut said = vec![0];
                    client.read_exact(&mut said).unwrap();
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                    // To its end, or its reset.
                    let _ = client.read_to_end(&mut said);
                    held.recv().unwrap();
                    server.write_all(&said).unwrap();
                }
                let _ = std::io::copy(&mut client, &mut server);
            });
        }
    });
    (port, release)
}

#[test]
fn an_abandoned_connection_that_speaks_up_late_ends_nothing() {
    let server = Server::plain(&[], &["cat"]);
    let (port, release) = late_proxy(server.port);
    let mut child = server
        .connect_to(port, &["--replies", "2", "--linger", "forever"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    stdin.write_all(b"one\n").unwrap();
    stdout.read_line(&mut lines).unwrap();
    // The hello of the first connection comes after that of the second, and takes its place.
    release.send(()).unwrap();
    server.wait_log("4000");
    stdin.write_all(b"two\n").unwrap();
    stdout.read_line(&mut lines).unwrap();
    assert_eq!(lines, "one\ntwo\n");
    drop(stdin);
    assert_eq!(common::wait(&mut child), Some(0));
}

#[test]
fn a_slow_link_is_not_taken_for_a_silent_one() {
    let server = Server::plain(&[], &["cat"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = server.port;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let client = client.unwrap();
            let relay = TcpStream::connect(("127.0.0.1", target)).unwrap();
            let mut up = (client.try_clone().unwrap(), relay.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up.0, &mut up.1));
            let (mut from, mut to) = (relay, client);
            std::thread::spawn(move || {
                // 8 bytes a millisecond: one event of 64 KiB takes longer than two pings.
                let mut block = [0; 400];
                while let Ok(n @ 1..) = from.read(&mut block) {
                    if to.write_all(&block[..n]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    let line = format!("{}\n", "x".repeat(65_000));
    let options = ["--ping", "3s", "--replies", "1", "--linger", "forever"];
    let out = run(&mut server.connect_to(port, &options), line.as_bytes());
    assert!(out.status.success() && out.stdout == line.as_bytes(), "{}", stderr(&out));
    assert_eq!(connections.load(Ordering::SeqCst), 1, "{}", stderr(&out));
}
