//! The pipeline under test, and the operator who starts again what died.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::processes::{self, MARK};
use super::proxy::Proxy;
use crate::{World, bin_dir};

/// Who sends.
pub const SENDERS: [&str; 2] = ["alice", "bob"];
/// Who receives: `pool` has two readers, `worker` runs supervised in a sandbox, `coder` behind a relay.
pub const RECEIVERS: [&str; 3] = ["pool", "worker", "coder"];
/// Every process that the operator keeps running.
pub const ROLES: [&str; 10] = [
    "worker",
    "relay",
    "lines",
    "checkpoint",
    "send-alice",
    "send-bob",
    "recv-1",
    "recv-2",
    "client",
    "lines-client",
];
/// What is not killed: the link through `lines` must lose nothing while only links are cut.
const STEADY: [&str; 2] = ["lines", "lines-client"];

/// What came out of the two relayed sessions.
#[derive(Debug, Default)]
pub struct Relayed {
    /// Lines written to the steady session.
    pub written: AtomicU64,
    /// No more lines are written to it.
    pub all_written: AtomicBool,
    /// Lines that came back, in order, each once.
    pub returned: AtomicU64,
    /// Answers of the agent behind the relay.
    pub answers: AtomicU64,
    /// What was wrong.
    pub wrong: Mutex<Vec<String>>,
}

impl Relayed {
    fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().expect("no holder panics");
        if wrong.len() < 10 {
            wrong.push(what);
        }
    }
}

struct Role {
    child: Option<Child>,
    due: Instant,
    starts: u64,
}

/// The running pipeline.
pub struct Pipeline {
    /// Its directories.
    pub world: World,
    /// What marks its processes.
    pub mark: String,
    /// The links in front of the relay and of the steady one.
    pub proxies: [Proxy; 2],
    /// What the relayed sessions did.
    pub relayed: Arc<Relayed>,
    actor: PathBuf,
    seed: u64,
    clock: Option<PathBuf>,
    roles: BTreeMap<&'static str, Role>,
    pin: String,
    closing: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

/// The preload library that steps a program's wall clock, where it is installed and our programs are linked
/// dynamically: it does nothing to a static one.
pub fn faketime() -> Option<PathBuf> {
    let program = std::fs::read(bin_dir().join("btmsg")).ok()?;
    program[..program.len().min(4096)].windows(3).any(|word| word == b"/ld").then_some(())?;
    let arch = std::env::consts::ARCH;
    [
        format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketime.so.1"),
        "/usr/lib/faketime/libfaketime.so.1".into(),
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.exists())
}

impl Pipeline {
    /// Makes the agents, keys and directories; nothing runs yet.
    ///
    /// # Panics
    /// Where the tools do not even do that.
    pub fn new(world: World, actor: &Path, seed: u64) -> Pipeline {
        std::fs::create_dir_all(world.path("logs")).expect("a directory");
        for agent in ["worker", "coder"] {
            std::fs::create_dir_all(world.path("work").join(agent)).expect("a directory");
        }
        std::fs::write(
            world.path("agor.toml"),
            "[btmsg]\n", // the tools' own defaults
        )
        .expect("a file");
        for agent in SENDERS.iter().chain(&RECEIVERS) {
            let output = world.run("btmsg", &["register", agent, "--tier", "1", "--group", "faults"]);
            assert!(output.status.success(), "btmsg register {agent}: {}", crate::stderr(&output));
        }
        let token = world.run("agor-relay", &["token", "new"]);
        assert!(token.status.success(), "agor-relay token new: {}", crate::stderr(&token));
        std::fs::write(world.path("token"), &token.stdout).expect("a file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(world.path("token"), private).expect("a file of ours");
        let (cert, key) = (world.path("cert.pem"), world.path("key.pem"));
        let new = world
            .tool("agor-relay")
            .args(["cert", "new", "--cert"])
            .arg(&cert)
            .arg("--key")
            .arg(&key)
            .output();
        let new = new.expect("the program starts");
        assert!(new.status.success(), "agor-relay cert new: {}", crate::stderr(&new));
        let pin = world.tool("agor-relay").arg("pin").arg(&cert).output().expect("the program starts");
        assert!(pin.status.success(), "agor-relay pin: {}", crate::stderr(&pin));
        let proxies = ["port", "lines-port"].map(|name| {
            let file = world.path(name);
            Proxy::start(move || std::fs::read_to_string(&file).ok()?.trim().parse().ok())
        });
        let mark = format!("{}-{seed}", std::process::id());
        let now = Instant::now();
        let roles = ROLES.map(|role| (role, Role { child: None, due: now, starts: 0 })).into();
        Pipeline {
            world,
            mark,
            proxies,
            relayed: Arc::default(),
            actor: actor.to_path_buf(),
            seed,
            clock: faketime(),
            roles,
            pin: crate::stdout(&pin).trim().to_owned(),
            closing: Arc::default(),
            over: Arc::default(),
        }
    }

    /// A command that is part of the pipeline.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.world.command(program);
        command.env(MARK, &self.mark).stdin(Stdio::null());
        command
    }

    /// `agor-supervise … -- agor-sandbox … -- agent`, as words.
    fn supervised(&self, agent: &str) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let mut words: Vec<String> =
            ["agor-supervise", "--name", agent, "--agent", agent, "--max-attempts", "0"]
                .map(str::to_owned)
                .to_vec();
        words.extend(
            ["--backoff-base", "0.1s", "--backoff-cap", "0.5s", "--stop-grace", "3s", "--"]
                .map(str::to_owned),
        );
        words.extend(["agor-sandbox", "--rw", "."].map(str::to_owned));
        words.extend(["--rw".to_owned(), path(self.world.path("logs"))]);
        words.extend(["--rw".to_owned(), path(self.world.path("data"))]);
        words.extend(["--rox".to_owned(), path(bin_dir()), "--rox".to_owned(), path(self.actor.clone())]);
        words.extend(["--".to_owned(), path(self.actor.clone()), "agent".to_owned(), agent.to_owned()]);
        words.extend([path(self.log(agent)), (self.seed ^ agent.len() as u64).to_string()]);
        words
    }

    /// The log of an actor.
    pub fn log(&self, actor: &str) -> PathBuf {
        self.world.path("logs").join(format!("{actor}.log"))
    }

    fn relay(&self, port_file: &str) -> Command {
        let mut command = self.command("agor-relay");
        // A new start writes a new port; an old one would send the proxy to nobody, or to somebody else.
        let _ = std::fs::remove_file(self.world.path(port_file));
        command
            .args(["--port", "0", "--listen", "127.0.0.1", "--port-file"])
            .arg(self.world.path(port_file))
            .arg("--token-file")
            .arg(self.world.path("token"))
            .arg("--tls-cert")
            .arg(self.world.path("cert.pem"))
            .arg("--tls-key")
            .arg(self.world.path("key.pem"));
        command
    }

    fn connect(&self, proxy: usize) -> Command {
        let mut command = self.command("agor-relay");
        let url = format!("wss://{}", self.proxies[proxy].address);
        command.args([
            "connect",
            &url,
            "--pin",
            &self.pin,
            "--start",
            "--take",
            "--ping",
            "1s",
            "--token-file",
        ]);
        command.arg(self.world.path("token"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    fn make(&self, role: &str, starts: u64) -> Command {
        let n = (self.seed ^ (starts << 20)).to_string();
        let mut command = match role {
            "worker" => {
                let words = self.supervised("worker");
                let mut command = self.command(&words[0]);
                // A stdin that stays open: the agent reads it.
                command.args(&words[1..]).stdin(Stdio::piped()).current_dir(self.world.path("work/worker"));
                command
            }
            "relay" => {
                let mut command = self.relay("port");
                command.current_dir(self.world.path("work/coder"));
                // The word is for the schedule, which finds this relay by it.
                command.args(["--", "env", "fault-session=1"]).args(self.supervised("coder"));
                command
            }
            "lines" => {
                let mut command = self.relay("lines-port");
                command.args(["--", "cat"]);
                command
            }
            "checkpoint" => {
                let mut command = self.command("agor-checkpoint");
                command.args(["--interval", "500ms", "--json"]);
                command
            }
            "client" => self.connect(0),
            "lines-client" => self.connect(1),
            _ => {
                let mut command = self.command(&self.actor);
                if let Some(id) = role.strip_prefix("send-") {
                    command.args(["sender", id, &RECEIVERS.join(",")]).arg(self.log(id)).arg(n);
                } else {
                    command.args(["receiver", "pool"]).arg(self.log(role)).arg(n);
                }
                if let Some(library) = &self.clock {
                    command.env("AGOR_FAULT_CLOCK", library);
                }
                command
            }
        };
        let log = |suffix: &str| {
            let path = self.world.path("logs").join(format!("{role}.{suffix}"));
            File::options().create(true).append(true).open(path).expect("a log")
        };
        command.stderr(log("err"));
        if !role.ends_with("client") {
            command.stdout(log("out"));
        }
        command.process_group(0);
        command
    }

    /// The operator's round: reaps what died and starts what is due.
    ///
    /// # Panics
    /// Where a program cannot be started at all.
    pub fn tend(&mut self) {
        let now = Instant::now();
        for role in ROLES {
            // A client's first connection is not retried, by design: its relay must be up.
            let port = match role {
                "client" => Some("port"),
                "lines-client" => Some("lines-port"),
                _ => None,
            };
            let up = port.is_none_or(|file| self.world.path(file).exists());
            let state = self.roles.get_mut(role).expect("every role has its state");
            if let Some(child) = &mut state.child
                && let Ok(Some(_)) = child.try_wait()
            {
                state.child = None;
                state.due = now + Duration::from_millis(150);
            }
            if state.child.is_none() && now >= state.due && up {
                state.starts += 1;
                let starts = state.starts;
                let spawned = self.make(role, starts).spawn();
                let mut child = spawned.unwrap_or_else(|error| panic!("start {role}: {error}"));
                match role {
                    "client" => self.talk(&mut child),
                    "lines-client" => self.count(&mut child, starts),
                    _ => {}
                }
                self.roles.get_mut(role).expect("every role has its state").child = Some(child);
            }
        }
    }

    /// How often each role was started.
    pub fn starts(&self) -> Vec<(&'static str, u64)> {
        self.roles.iter().map(|(role, state)| (*role, state.starts)).collect()
    }

    /// The process of a role, while it runs.
    pub fn pid(&self, role: &str) -> Option<i32> {
        self.roles.get(role)?.child.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// Processes that the schedule may hurt.
    pub fn victims(&self, words: &[&str]) -> Vec<i32> {
        let spared: Vec<i32> =
            STEADY.iter().filter_map(|role| self.pid(role)).flat_map(processes::tree).collect();
        let mut pids: Vec<i32> = processes::marked(&self.mark)
            .into_iter()
            .filter(|found| found.matches(words) && !spared.contains(&found.pid))
            .map(|found| found.pid)
            .collect();
        pids.sort_unstable();
        pids
    }

    /// Requests to the agent behind the relay; its answers must come at most once and in order.
    fn talk(&self, child: &mut Child) {
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return };
        let (relayed, closing) = (Arc::clone(&self.relayed), Arc::clone(&self.closing));
        let client = child.id();
        self.feed(stdin, move |n| format!("{client}/{n}\n"), |_| {}, || {}, Duration::from_millis(20));
        std::thread::spawn(move || {
            let mut last = None;
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if closing.load(Ordering::Relaxed) {
                    continue;
                }
                let mut words = line.split(' ');
                let request = words.next().and_then(|request| request.split_once('/'));
                let number = request.and_then(|(_, n)| n.parse::<u64>().ok());
                let Some((number, (of, _))) = number.zip(request) else {
                    relayed.wrong(format!("the agent behind the relay answered {line:?}"));
                    continue;
                };
                // An answer to the client before this one may still come.
                if of == client.to_string() {
                    if last.is_some_and(|last| last >= number) {
                        relayed.wrong(format!("answer {number} after {last:?}, through the relay"));
                    }
                    last = Some(number);
                    relayed.answers.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }

    /// Numbered lines through a relayed `cat` whose link is cut: each must return once and in order.
    fn count(&self, child: &mut Child, starts: u64) {
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return };
        if starts > 1 {
            self.relayed.wrong(format!("the client of the steady relay ended: start {starts}"));
        }
        let (relayed, counted) = (Arc::clone(&self.relayed), Arc::clone(&self.relayed));
        let ended = Arc::clone(&self.relayed);
        self.feed(
            stdin,
            |n| format!("line {n}\n"),
            move |n| counted.written.store(n, Ordering::Relaxed),
            move || ended.all_written.store(true, Ordering::Release),
            Duration::from_millis(3),
        );
        std::thread::spawn(move || {
            for (next, line) in (1u64..).zip(BufReader::new(stdout).lines().map_while(Result::ok)) {
                if line != format!("line {next}") {
                    relayed.wrong(format!("the steady relay returned {line:?} for line {next}"));
                }
                relayed.returned.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    fn feed(
        &self,
        mut stdin: ChildStdin,
        line: impl Fn(u64) -> String + Send + 'static,
        written: impl Fn(u64) + Send + 'static,
        all: impl Fn() + Send + 'static,
        pause: Duration,
    ) {
        let (closing, over) = (Arc::clone(&self.closing), Arc::clone(&self.over));
        std::thread::spawn(move || {
            for n in 1.. {
                if closing.load(Ordering::Relaxed) {
                    all();
                    // Held open until the client ends: its end is not what is tested.
                    while !over.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    break;
                }
                if stdin.write_all(line(n).as_bytes()).is_err() {
                    break;
                }
                written(n);
                std::thread::sleep(pause);
            }
        });
    }

    /// No more input to the relayed sessions.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Ends a role with SIGTERM, and says when it does not.
    pub fn stop(&mut self, role: &str, patience: Duration) -> Result<(), String> {
        let Some(mut child) = self.roles.get_mut(role).and_then(|state| state.child.take()) else {
            return Ok(());
        };
        // Ended for good: the operator leaves it alone from here on.
        if let Some(state) = self.roles.get_mut(role) {
            state.due = Instant::now() + Duration::from_secs(1_000_000);
        }
        let pid = i32::try_from(child.id()).unwrap_or(0);
        processes::signal(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("{role} did not end within {patience:?} of SIGTERM"))
    }

    /// Ends everything at once, whatever state it is in.
    pub fn kill_all(&mut self) {
        self.close();
        self.over.store(true, Ordering::Relaxed);
        for found in processes::marked(&self.mark) {
            processes::signal(found.pid, rustix::process::Signal::KILL);
        }
        for state in self.roles.values_mut() {
            if let Some(mut child) = state.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.kill_all();
    }
}
