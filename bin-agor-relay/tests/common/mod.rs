//! A relay of its own for each test, a client that speaks the bare protocol, and a check against the schema.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, of which each binary uses a part"
)]

#[path = "../../../tests/src/executable.rs"]
pub mod executable;
pub mod schema;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// The program under test.
pub const RELAY: &str = env!("CARGO_BIN_EXE_agor-relay");
/// The token that tests use.
pub const TOKEN: &str = "agor_test_token_0123456789";
/// Longer than anything here should take: it only turns a hang into a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A command without the caller's agor environment.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AGOR_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CREDENTIALS_DIRECTORY").env_remove("NOTIFY_SOCKET");
    command
}

/// The relay.
pub fn relay() -> Command {
    clean(RELAY)
}

/// A temporary directory with a token file and a certificate.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub pin: String,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(dir.path().join("token"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(dir.path().join("agor.toml"), "").unwrap();
        let out = relay().args(["cert", "new"]).current_dir(dir.path()).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let pin = String::from_utf8(out.stdout).unwrap().trim().to_owned();
        Place { dir, pin }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A relay command in this place, with its own data directory and configuration.
    pub fn relay(&self) -> Command {
        let mut command = relay();
        command.current_dir(self.dir.path());
        command.env("AGOR_DATA_DIR", self.path("data")).env("AGOR_CONFIG", self.path("agor.toml"));
        command
    }
}

/// A running relay; ended when dropped.
pub struct Server {
    pub place: Place,
    pub child: Child,
    pub port: u16,
    pub tls: bool,
}

impl Server {
    /// Plain ws:// on loopback, for tests that are not about TLS.
    pub fn plain(options: &[&str], run: &[&str]) -> Server {
        Server::start(Place::new(), false, options, run)
    }

    pub fn tls(options: &[&str], run: &[&str]) -> Server {
        Server::start(Place::new(), true, options, run)
    }

    pub fn start(place: Place, tls: bool, options: &[&str], run: &[&str]) -> Server {
        Server::start_with(place, tls, options, run, |_| {})
    }

    pub fn start_with(
        place: Place,
        tls: bool,
        options: &[&str],
        run: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Server {
        Server::start_on(0, place, tls, options, run, change)
    }

    /// On a port that is known before: see [`own_port`].
    pub fn start_on(
        port: u16,
        place: Place,
        tls: bool,
        options: &[&str],
        run: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Server {
        let port_file = place.path("port");
        let _ = std::fs::remove_file(&port_file);
        let mut command = place.relay();
        command.args(["--port", &port.to_string(), "--port-file", "port", "--token-file", "token"]);
        command.args(options);
        if tls {
            command.args(["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--listen", "127.0.0.1"]);
        } else {
            command.arg("--insecure");
        }
        if !run.is_empty() {
            command.arg("--").args(run);
        }
        let log = std::fs::File::create(place.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        let port = loop {
            if let Ok(text) = std::fs::read_to_string(&port_file) {
                break text.trim().parse().unwrap();
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("ended with {status}: {}", std::fs::read_to_string(place.path("log")).unwrap());
            }
            assert!(began.elapsed() < PATIENCE, "no port");
            std::thread::sleep(Duration::from_millis(5));
        };
        Server { place, child, port, tls }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.path("log")).unwrap()
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "wss" } else { "ws" }, self.port)
    }

    /// A `connect` to this relay, or to another port in front of it.
    pub fn connect_to(&self, port: u16, options: &[&str]) -> Command {
        let mut command = self.place.relay();
        command.arg("connect");
        command.arg(format!("{}://127.0.0.1:{port}", if self.tls { "wss" } else { "ws" }));
        command.args(["--token-file", "token"]);
        if self.tls {
            command.args(["--pin", &self.place.pin]);
        } else {
            command.arg("--insecure");
        }
        command.args(options);
        command
    }

    pub fn connect(&self, options: &[&str]) -> Command {
        self.connect_to(self.port, options)
    }

    pub fn client(&self) -> Client {
        Client::open(self.port, TOKEN).unwrap()
    }

    pub fn client_as(&self, token: &str) -> Client {
        Client::open(self.port, token).unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Sends TERM and returns the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        wait(&mut self.child)
    }

    /// One HTTP exchange over plain TCP.
    pub fn http(&self, request: &str) -> String {
        exchange(self.port, request.as_bytes())
    }

    /// Memory of its own: how much of the program the kernel has in memory is nothing that a peer costs.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits until the log has a line with `text`.
    pub fn wait_log(&self, text: &str) {
        eventually(&format!("log line {text:?}"), || self.log().contains(text));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(rustix::process::Signal::TERM);
            // A second signal ends it at once; both are for this very child.
            self.signal(rustix::process::Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// A TCP socket that no program run by another test inherits.
fn socket() -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// A connection from an address of this machine.
pub fn tcp_from(source: [u8; 4], port: u16) -> TcpStream {
    use std::net::{Ipv4Addr, SocketAddrV4};
    let socket = socket();
    rustix::net::bind(&socket, &SocketAddrV4::new(source.into(), 0)).unwrap();
    rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.into()
}

/// A port at which nobody listens, and which nobody else is given as long as the socket lives. A program that sets
/// SO_REUSEADDR, as the relay does, may listen there.
pub fn own_port() -> (std::os::fd::OwnedFd, u16) {
    use std::net::{Ipv4Addr, SocketAddrV4};
    let socket = socket();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = std::net::SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    (socket, address.port())
}

/// Sends bytes and reads until the other side closes.
pub fn exchange(port: u16, request: &[u8]) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = tcp.write_all(request);
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    loop {
        match tcp.read(&mut block) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
            Ok(n) => answer.extend_from_slice(&block[..n]),
        }
    }
}

/// Waits for a child, and fails where it hangs.
pub fn wait(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(began.elapsed() < PATIENCE, "it hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs with `input` on stdin.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let out = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    out
}

pub fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Runs something that must be refused, and returns its exit code and stderr.
pub fn refused(command: &mut Command) -> (i32, String) {
    let out = run(command, b"");
    (out.status.code().unwrap(), stderr(&out))
}

/// A bare client; every message both ways is checked against the schema.
pub struct Client {
    pub ws: WebSocket<TcpStream>,
    pub ready: Value,
    /// The id of the next command.
    pub next: u64,
    /// Events that came while an answer was waited for.
    pub events: std::collections::VecDeque<Value>,
}

impl Client {
    pub fn open(port: u16, token: &str) -> Result<Client, tungstenite::Error> {
        Client::open_within(port, token, PATIENCE)
    }

    pub fn open_within(port: u16, token: &str, time: Duration) -> Result<Client, tungstenite::Error> {
        let mut ws = upgrade_within(port, "/", token, time)?;
        let text = ws.read()?.into_text()?;
        let ready: Value = serde_json::from_str(&text).unwrap();
        schema::check("event", &ready);
        assert_eq!(ready["type"], "ready");
        Ok(Client { ws, ready, next: 1, events: std::collections::VecDeque::new() })
    }

    pub fn send_text(&mut self, text: &str) {
        self.ws.send(Message::text(text)).unwrap();
    }

    /// Sends a command and returns its id.
    pub fn send(&mut self, kind: &str, session: &str, payload: &Value) -> u64 {
        let id = self.next;
        self.next += 1;
        let command = json!({ "id": id, "type": kind, "session": session, "payload": payload });
        schema::check("command", &command);
        self.send_text(&command.to_string());
        id
    }

    /// The next message.
    pub fn receive(&mut self) -> Value {
        loop {
            match self.ws.read().unwrap() {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    schema::check("event", &value);
                    return value;
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The next event, also one that came earlier.
    pub fn event(&mut self) -> Value {
        match self.events.pop_front() {
            Some(event) => event,
            None => self.receive(),
        }
    }

    /// Events up to one of this type, which is the last.
    pub fn events_to(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.event();
            let last = event["type"] == kind;
            events.push(event);
            if last {
                return events;
            }
        }
    }

    /// The answer to a command.
    pub fn answer(&mut self, id: &Value) -> Value {
        loop {
            let value = self.receive();
            if value.get("id") == Some(id) {
                return value;
            }
            self.events.push_back(value);
        }
    }

    pub fn ask(&mut self, kind: &str, session: &str, payload: &Value) -> Value {
        let id = self.send(kind, session, payload);
        self.answer(&id.into())
    }

    /// A command that must succeed.
    pub fn ok(&mut self, kind: &str, session: &str, payload: &Value) -> Value {
        let answer = self.ask(kind, session, payload);
        assert_eq!(answer["type"], "result", "{kind} {payload}: {answer}");
        answer["result"].clone()
    }

    /// A command that must be refused; returns the code.
    pub fn refused(&mut self, kind: &str, session: &str, payload: &Value) -> String {
        let answer = self.ask(kind, session, payload);
        assert_eq!(answer["type"], "error", "{kind} {payload}: {answer}");
        answer["code"].as_str().unwrap().to_owned()
    }

    /// Reads until `size` bytes of output came.
    pub fn output(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let event = self.event();
            if event["type"] == "output" {
                bytes.extend(data(&event));
            }
        }
        bytes
    }

    /// Reads to the end and returns the close code, if there was one.
    pub fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.ws.read() {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// The bytes of an output event.
pub fn data(event: &Value) -> Vec<u8> {
    use base64::Engine as _;
    match event["data"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            base64::engine::general_purpose::STANDARD.decode(event["data_base64"].as_str().unwrap()).unwrap()
        }
    }
}

/// A WebSocket on a path.
pub fn upgrade(port: u16, path: &str, token: &str) -> Result<WebSocket<TcpStream>, tungstenite::Error> {
    upgrade_within(port, path, token, PATIENCE)
}

fn upgrade_within(
    port: u16,
    path: &str,
    token: &str,
    time: Duration,
) -> Result<WebSocket<TcpStream>, tungstenite::Error> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(time)).unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    match tungstenite::client(request, tcp) {
        Ok((ws, _)) => Ok(ws),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(tungstenite::HandshakeError::Interrupted(_)) => {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer").into())
        }
    }
}

/// The next message that is no ping.
pub fn said(ws: &mut WebSocket<TcpStream>) -> Message {
    loop {
        match ws.read().unwrap() {
            Message::Ping(_) => {}
            other => return other,
        }
    }
}

/// The status of a refused upgrade.
pub fn status(result: Result<WebSocket<TcpStream>, tungstenite::Error>) -> u16 {
    match result {
        Ok(_) => 101,
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
    }
}

/// The first line of a file that something writes.
pub fn first_line(path: &Path) -> String {
    let mut line = String::new();
    eventually(&format!("a line in {}", path.display()), || {
        line.clear();
        std::fs::File::open(path).is_ok_and(|file| BufReader::new(file).read_line(&mut line).is_ok())
            && line.ends_with('\n')
    });
    line.trim().to_owned()
}

/// Whether a kernel feature that a test needs is there; says so where it is not.
pub fn skip(why: &str) {
    assert!(std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none_or(|v| v != "1"), "required: {why}");
    println!("SKIPPED: {why}");
}
