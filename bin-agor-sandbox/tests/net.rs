//! The network under each restriction.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod common;

use std::net::TcpListener;

use common::{Sandbox, has, skip};

const PROBE: &str = "import socket, sys
def attempt(name, f):
    try:
        f(); print(name, 'ok')
    except OSError as e:
        print(name, e.errno)
port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
";

fn probe(sandbox: &Sandbox, options: &[&str], body: &str, port: u16) -> Vec<String> {
    let script =
        format!("{PROBE}{body}").replace("int(sys.argv[1]) if len(sys.argv) > 1 else 0", &port.to_string());
    let ran = sandbox.python(options, &script);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn ports_and_nothing_else() {
    if !has("/usr/bin/python3") {
        return skip("no python3");
    }
    if common::landlock_abi() < 4 {
        return skip("Landlock below ABI 4 knows no ports");
    }
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = other.local_addr().unwrap().port();
    let connect = "attempt('connect', lambda: socket.create_connection(('127.0.0.1', port)))\n";
    let granted = port.to_string();
    let options = ["--connect-tcp", granted.as_str()];
    assert_eq!(probe(&sandbox, &options, connect, port), ["connect ok"]);
    assert_eq!(probe(&sandbox, &options, connect, other), ["connect 13"]);
    assert_eq!(probe(&sandbox, &["--net", "none"], connect, port), ["connect 13"]);
    assert_eq!(probe(&sandbox, &[], connect, port), ["connect ok"]);
    let closed = "s = socket
attempt('udp', lambda: s.socket(s.AF_INET, s.SOCK_DGRAM))
attempt('udp6', lambda: s.socket(s.AF_INET6, s.SOCK_DGRAM))
attempt('raw', lambda: s.socket(s.AF_INET, s.SOCK_RAW, 1))
attempt('mptcp', lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 262))
attempt('sctp', lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 132))
attempt('netlink', lambda: s.socket(s.AF_NETLINK, s.SOCK_RAW, 0))
attempt('vsock', lambda: s.socket(40, s.SOCK_STREAM))
attempt('listen', lambda: s.socket().listen())
attempt('bind', lambda: s.socket().bind(('127.0.0.1', 0)))
attempt('fastopen', lambda: s.socket().sendto(b'x', 0x20000000, ('127.0.0.1', port)))
attempt('unix', lambda: s.socket(s.AF_UNIX))
attempt('pair', lambda: s.socketpair())
";
    let lines = probe(&sandbox, &options, closed, port);
    for line in &lines {
        let (name, result) = line.split_once(' ').unwrap();
        let refused = result == "13" || result == "1";
        assert_eq!(refused, !matches!(name, "unix" | "pair"), "{lines:?}");
    }
    let lines =
        probe(&sandbox, &[], "attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))\n", 0);
    assert_eq!(lines, ["udp ok"]);
}

#[test]
fn a_pair_reaches_no_name() {
    if !has("/usr/bin/python3") {
        return skip("no python3");
    }
    let sandbox = Sandbox::new();
    let server = std::os::unix::net::UnixDatagram::bind(sandbox.path("work/s")).unwrap();
    server.set_nonblocking(true).unwrap();
    let body = "s = socket
attempt('datagram', lambda: s.socketpair(s.AF_UNIX, s.SOCK_DGRAM)[0].sendto(b'x', 's'))
attempt('stream', lambda: s.socketpair())
attempt('packets', lambda: s.socketpair(s.AF_UNIX, s.SOCK_SEQPACKET))
attempt('tipc', lambda: s.socketpair(30, s.SOCK_DGRAM))
";
    assert_eq!(
        probe(&sandbox, &["--no-unix"], body, 0),
        ["datagram 13", "stream ok", "packets ok", "tipc 13"]
    );
    assert!(server.recv(&mut [0]).is_err());
    assert_eq!(
        probe(&sandbox, &["--net", "none"], body, 0),
        ["datagram ok", "stream ok", "packets ok", "tipc 13"]
    );
}

#[test]
fn bound_ports() {
    if !has("/usr/bin/python3") || common::landlock_abi() < 4 {
        return skip("no python3, or Landlock below ABI 4");
    }
    let sandbox = Sandbox::new();
    // Bound, so that nobody else gets it, and not listening, so that who reuses addresses too may have it.
    let held = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let held = TcpListener::from(held.unwrap());
    rustix::net::sockopt::set_socket_reuseaddr(&held, true).unwrap();
    rustix::net::bind(&held, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let free = held.local_addr().unwrap().port();
    let body = "def serve():\n s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('127.0.0.1', port)); s.listen()\nattempt('serve', serve)\n";
    let granted = free.to_string();
    assert_eq!(probe(&sandbox, &["--bind-tcp", &granted], body, free), ["serve ok"]);
    assert_eq!(probe(&sandbox, &["--bind-tcp", "1"], body, free), ["serve 13"]);
    // What listen without bind takes is a port of the kernel's choice: said, unless that was granted.
    let tcp = |ports: &str| {
        let status = sandbox.status(&["--bind-tcp", ports]);
        let layers = status["layers"].as_array().unwrap();
        layers.iter().find(|layer| layer["name"] == "tcp").unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(tcp(&granted), "degraded");
    assert_eq!(tcp("0"), "enforced");
    assert_eq!(sandbox.run(["--require", "--bind-tcp", &granted, "--", "true"]).code, 125);
}

#[test]
fn no_network_for_programs_of_every_kind() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (program, words) in [
        ("bash", vec!["-c".to_owned(), format!("echo >/dev/tcp/127.0.0.1/{port}")]),
        ("curl", vec!["-s".into(), "-m5".into(), format!("http://127.0.0.1:{port}/")]),
        ("wget", vec!["-q".into(), "-T5".into(), "-t1".into(), format!("http://127.0.0.1:{port}/")]),
        ("socat", vec!["-u".into(), "OPEN:/dev/null".into(), format!("TCP:127.0.0.1:{port}")]),
    ] {
        if !has(program) {
            eprintln!("skipped: no {program}");
            continue;
        }
        let all = ["--net", "none", "--", program].map(String::from).into_iter().chain(words);
        let ran = sandbox.run(all);
        assert_ne!(ran.code, 0, "{program}: {ran:?}");
    }
}
