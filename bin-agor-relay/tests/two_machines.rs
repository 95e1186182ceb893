//! Two machines: two network namespaces with a cable between them that is cut and delayed.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use common::{PATIENCE, Place, Server};

/// In parts, between which the cable is cut.
const LINES: usize = 20_000;
const PART: usize = 5000;

/// The namespaces; removed when dropped.
struct Cable {
    here: String,
    there: String,
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Cable {
    fn new() -> Option<Cable> {
        let id = std::process::id();
        let cable = Cable { here: format!("agor-a{id}"), there: format!("agor-b{id}") };
        let (a, b) = (cable.here.as_str(), cable.there.as_str());
        let made = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(&["-n", a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b])
            && ip(&["-n", a, "addr", "add", "10.83.0.1/24", "dev", "wire"])
            && ip(&["-n", b, "addr", "add", "10.83.0.2/24", "dev", "wire"])
            && [a, b].iter().all(|ns| {
                ip(&["-n", ns, "link", "set", "wire", "up"]) && ip(&["-n", ns, "link", "set", "lo", "up"])
            });
        made.then_some(cable)
    }

    fn cut(&self, cut: bool) {
        assert!(ip(&["-n", &self.here, "link", "set", "wire", if cut { "down" } else { "up" }]));
    }

    /// A command inside one of the namespaces.
    fn inside(&self, there: bool, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", if there { &self.there } else { &self.here }]);
        inside
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        inside
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.here]);
        ip(&["netns", "del", &self.there]);
    }
}

#[test]
fn a_cut_and_a_slow_cable_lose_and_repeat_nothing() {
    let Some(cable) = Cable::new() else {
        return common::skip("network namespaces need root and ip(8)");
    };
    let delay = [
        "netns",
        "exec",
        &cable.here,
        "tc",
        "qdisc",
        "add",
        "dev",
        "wire",
        "root",
        "netem",
        "delay",
        "20ms",
        "5ms",
    ];
    if !ip(&delay) {
        println!("no netem in this kernel: the cable is cut, but not slow");
    }
    let place = Place::new();
    let server =
        Server::start_with(place, true, &["--ping", "300ms", "--listen", "10.83.0.1"], &["cat"], |command| {
            // The helper's own --listen is for one machine.
            let args: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
            let at = args.iter().rposition(|arg| arg == "--listen").unwrap();
            let mut own = Command::new(command.get_program());
            own.args(args.iter().enumerate().filter(|(n, _)| *n != at && *n != at + 1).map(|(_, arg)| arg));
            own.current_dir(command.get_current_dir().unwrap());
            for (key, value) in command.get_envs() {
                if let Some(value) = value {
                    own.env(key, value);
                }
            }
            let log = std::fs::File::create(command.get_current_dir().unwrap().join("log")).unwrap();
            *command = cable.inside(false, &own);
            command.stderr(log).stdin(Stdio::null());
        });
    let mut connect = server.place.relay();
    connect.args(["connect", &format!("wss://10.83.0.1:{}", server.port), "--token-file", "token"]);
    connect.args([
        "--pin",
        &server.place.pin,
        "--ping",
        "300ms",
        "--timeout",
        "20s",
        "--replies",
        &LINES.to_string(),
        "--linger",
        "forever",
    ]);
    let mut child = cable
        .inside(true, &connect)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (go_on, cut_is_over) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        for n in 0..LINES {
            if writeln!(stdin, "{n} {:0100}", n * 3).is_err() {
                // It ended too soon, and says below why.
                return;
            }
            if n % 100 == 0 {
                std::thread::sleep(Duration::from_millis(15));
            }
            if n % PART == PART - 1 {
                let _ = cut_is_over.recv();
            }
        }
    });
    let said = Mutex::new(String::new());
    let came = AtomicUsize::new(0);
    let lines = std::thread::scope(|scope| {
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        scope.spawn(|| {
            for line in BufReader::new(errors).lines() {
                said.lock().unwrap().push_str(&format!("{}\n", line.unwrap()));
            }
        });
        let reader = scope.spawn(|| {
            let mut n = 0;
            for line in BufReader::new(output).lines() {
                assert_eq!(line.unwrap(), format!("{n} {:0100}", n * 3));
                n += 1;
                came.store(n, Ordering::SeqCst);
            }
            n
        });
        let wait_for = |so: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !so() && began.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let lost = || said.lock().unwrap().matches("connection lost").count();
        for part in 0..LINES / PART - 1 {
            // Something goes over it, so that it is a connection that is cut and not an attempt to make one.
            wait_for(&|| came.load(Ordering::SeqCst) > part * PART);
            let before = lost();
            cable.cut(true);
            wait_for(&|| lost() > before);
            cable.cut(false);
            let _ = go_on.send(());
        }
        drop(go_on);
        reader.join().unwrap()
    });
    writer.join().unwrap();
    let said = said.into_inner().unwrap();
    assert_eq!(lines, LINES, "{said}");
    assert_eq!(common::wait(&mut child), Some(0));
    assert!(said.matches("connection lost").count() >= 3, "the cable was not noticed to be cut: {said}");
}
