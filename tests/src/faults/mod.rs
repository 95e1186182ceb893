//! Fault injection: the whole pipeline under a seeded schedule of kills, pauses, cut links, full disks,
//! read-only directories and stepped clocks, and what must hold afterwards.

pub mod ledger;
pub mod pipeline;
pub mod processes;
pub mod proxy;
pub mod schedule;
pub mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::World;
use ledger::Ledger;
use pipeline::{Pipeline, RECEIVERS, ROLES, SENDERS};
use schedule::{Cut, Fault, Target, schedule};

/// No write-ahead log may grow beyond this, also while a stopped reader holds it up for seconds.
pub const WAL_BOUND: u64 = 32 << 20;
/// How long a thing may take that has nothing in its way any more. A hang is longer.
const PATIENCE: Duration = Duration::from_secs(180);
/// The same for one command, as timeout(1) takes it.
const COMMAND_S: &str = "120";

/// What a run is.
#[derive(Debug, Clone)]
pub struct Options {
    /// The schedule follows from it.
    pub seed: u64,
    /// How long faults go on.
    pub length: Duration,
    /// Whether the data directory is a file system of its own that can be filled and made read-only.
    pub own_disk: bool,
    /// Print every event as it happens.
    pub verbose: bool,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The faults that were injected, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Faults of the schedule that found nobody, or that this host cannot have.
    pub missed: BTreeMap<String, u64>,
    /// How often each role was started.
    pub starts: Vec<(&'static str, u64)>,
    /// The mail.
    pub mail: verify::Mail,
    /// What the tools refused, by exit status and message.
    pub failures: BTreeMap<String, u64>,
    /// Lines through the steady relay, and answers of the agent behind the other.
    pub relayed: (u64, u64),
    /// The largest write-ahead log that was seen.
    pub wal_bytes: u64,
    /// Every invariant that did not hold.
    pub wrong: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: &BTreeMap<String, u64>| {
            map.iter().map(|(key, n)| format!("{key} {n}")).collect::<Vec<_>>().join(", ")
        };
        let starts: Vec<String> = self.starts.iter().map(|(role, n)| format!("{role} {n}")).collect();
        let mail = &self.mail;
        writeln!(f, "faults:  {}", list(&self.faults))?;
        writeln!(f, "missed:  {}", list(&self.missed))?;
        writeln!(f, "starts:  {}", starts.join(", "))?;
        writeln!(
            f,
            "mail:    {} tried, {} acknowledged, {} refused, {} deliveries, {} acked, {} dead letters",
            mail.tried, mail.acknowledged, mail.refused, mail.delivered, mail.acked, mail.dead
        )?;
        writeln!(f, "relayed: {} lines, {} answers", self.relayed.0, self.relayed.1)?;
        writeln!(f, "wal:     at most {} bytes", self.wal_bytes)?;
        for (failure, n) in &self.failures {
            writeln!(f, "refused: {n} times {failure}")?;
        }
        for wrong in &self.wrong {
            writeln!(f, "WRONG:   {wrong}")?;
        }
        Ok(())
    }
}

/// Runs the pipeline under the schedule of `options.seed`.
pub fn run(world: World, actor: &Path, options: &Options) -> Report {
    let mut run = Run {
        pipeline: Pipeline::new(world, actor, options.seed),
        options: options.clone(),
        report: Report::default(),
        later: Vec::new(),
        began: Instant::now(),
    };
    run.warm_up();
    run.began = Instant::now();
    for event in schedule(options.seed, options.length) {
        while run.began.elapsed() < event.at {
            run.tick();
        }
        run.inject(event.fault);
    }
    while run.began.elapsed() < options.length {
        run.tick();
    }
    run.settle();
    run.shut_down();
    run.judge();
    if !run.report.wrong.is_empty() {
        run.keep_logs();
    }
    run.report
}

struct Run {
    pipeline: Pipeline,
    options: Options,
    report: Report,
    /// What ends on its own: a pause, a full disk.
    later: Vec<(Instant, Undo)>,
    began: Instant,
}

enum Undo {
    Continue(i32),
    DiskFree,
}

impl Run {
    fn data(&self) -> std::path::PathBuf {
        self.pipeline.world.path("data")
    }

    fn wrong(&mut self, what: String) {
        self.say(&what);
        // One cause may show a thousand times.
        if self.report.wrong.len() < 40 {
            self.report.wrong.push(what);
        }
    }

    #[expect(clippy::print_stderr, reason = "a test's own words")]
    fn say(&self, what: &str) {
        if self.options.verbose {
            eprintln!("{:8.3} {what}", self.began.elapsed().as_secs_f64());
        }
    }

    /// A little time passes: the operator's round, what is due, the size of the logs.
    fn tick(&mut self) {
        self.pipeline.tend();
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, Undo)> = due;
        for (_, undo) in due {
            self.undo(&undo);
        }
        self.report.wal_bytes = self.report.wal_bytes.max(verify::wal_bytes(&self.data()));
        std::thread::sleep(Duration::from_millis(20));
    }

    fn undo(&mut self, undo: &Undo) {
        match undo {
            Undo::Continue(pid) => {
                processes::signal(*pid, Signal::CONT);
            }
            Undo::DiskFree => {
                self.say("the disk has room again");
                if !resize(&self.data(), None) {
                    self.wrong("the test could not enlarge its file system again".into());
                }
            }
        }
    }

    /// Everything runs and has done something before it is hurt.
    fn warm_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.tick();
            let up = ["worker", "coder"].iter().all(|name| {
                let status = self.pipeline.command("agor-supervise").args(["status", name]).output();
                status.is_ok_and(|output| output.status.success())
            });
            let relayed = &self.pipeline.relayed;
            let lines = relayed.returned.load(std::sync::atomic::Ordering::Relaxed);
            let answers = relayed.answers.load(std::sync::atomic::Ordering::Relaxed);
            if up && lines > 0 && answers > 0 {
                return;
            }
            if Instant::now() > deadline {
                self.wrong(format!("NOT UP: supervised {up}, {lines} lines and {answers} answers relayed"));
                return;
            }
        }
    }

    fn inject(&mut self, fault: Fault) {
        self.say(&fault.to_string());
        let done = match fault {
            Fault::Kill(target) => self.strike(target, |pid, _| {
                processes::signal(pid, Signal::KILL);
            }),
            Fault::Pause(target, time) => self.strike(target, |pid, later| {
                processes::signal(pid, Signal::STOP);
                later.push((Instant::now() + time, Undo::Continue(pid)));
            }),
            Fault::Cut(cut) => {
                for proxy in &self.pipeline.proxies {
                    proxy.cut(cut);
                }
                true
            }
            Fault::DiskFull(time) => {
                self.options.own_disk && {
                    let full = resize(&self.data(), Some(()));
                    self.later.push((Instant::now() + time, Undo::DiskFree));
                    full
                }
            }
            Fault::ReadOnly => self.options.own_disk && self.read_only(),
            Fault::KillAndAsk => self.kill_and_ask(),
            Fault::Restart => {
                let output = self
                    .pipeline
                    .command("timeout")
                    .args(["20", "agor-supervise", "restart", "worker"])
                    .output();
                output.is_ok_and(|output| output.status.success())
            }
        };
        let kind = match fault {
            Fault::Kill(target) => format!("kill {target:?}"),
            Fault::Pause(..) => "pause".into(),
            Fault::Cut(Cut::Reset) => "cut by reset".into(),
            Fault::Cut(Cut::Close) => "cut by close".into(),
            Fault::Cut(Cut::Blackhole(_)) => "cut by silence".into(),
            Fault::Cut(Cut::Slow(_)) => "slow link".into(),
            Fault::DiskFull(_) => "full disk".into(),
            Fault::ReadOnly => "read-only".into(),
            Fault::KillAndAsk => "kill supervisor and ask".into(),
            Fault::Restart => "restart".into(),
        };
        let counts = if done { &mut self.report.faults } else { &mut self.report.missed };
        *counts.entry(kind).or_default() += 1;
    }

    /// Does something to one process of the kind; whether there was one.
    fn strike(&mut self, target: Target, act: impl FnOnce(i32, &mut Vec<(Instant, Undo)>)) -> bool {
        // One in flight is there only for some milliseconds at a time.
        for _ in 0..20 {
            let victims = self.pipeline.victims(target.words());
            if !victims.is_empty() {
                let pid = victims[self.began.elapsed().subsec_micros() as usize % victims.len()];
                self.say(&format!("  pid {pid} of {victims:?}"));
                act(pid, &mut self.later);
                return true;
            }
            self.tick();
        }
        false
    }

    /// Kills the supervisor of `worker`; then nothing of it may be left, and nobody may call it healthy.
    fn kill_and_ask(&mut self) -> bool {
        let Some(pid) = self.pipeline.pid("worker") else { return false };
        let family = processes::tree(pid);
        // A stopped process cannot take note of anything, also not of its supervisor's death.
        for pid in &family {
            processes::signal(*pid, Signal::CONT);
        }
        let identities: Vec<_> =
            family.iter().filter_map(|pid| agor_common::process::Identity::of(*pid)).collect();
        if !processes::signal(pid, Signal::KILL) {
            return false;
        }
        let deadline = Instant::now() + PATIENCE;
        while identities.iter().any(agor_common::process::Identity::is_alive) {
            if Instant::now() > deadline {
                let left: Vec<_> = identities
                    .iter()
                    .filter(|identity| identity.is_alive())
                    .map(|identity| (identity.pid, agor_common::process::command_line(identity.pid)))
                    .collect();
                self.wrong(format!("SURVIVORS of a killed supervisor: {left:?}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Only now is it started again, so all of this is about a dead one.
        let status = self
            .pipeline
            .command("timeout")
            .args([COMMAND_S, "agor-supervise", "status", "worker", "--json"])
            .output();
        match status {
            Ok(output) => {
                let text = crate::stdout(&output);
                if output.status.success() || health_of(&text).is_none_or(|health| health == "healthy") {
                    self.wrong(format!("HEALTH: a dead supervisor's status is {:?}: {text}", output.status));
                }
            }
            Err(error) => self.wrong(format!("agor-supervise status: {error}")),
        }
        let health = self.pipeline.command("timeout").args([COMMAND_S, "btmsg", "health", "--json"]).output();
        if let Ok(output) = health {
            let text = crate::stdout(&output);
            let state = state_of(&text, "worker");
            if !matches!(state.as_deref(), Some("crashed" | "inactive" | "stalled")) {
                self.wrong(format!("HEALTH: btmsg calls the agent of a dead supervisor {state:?}: {text}"));
            }
        }
        true
    }

    /// The tools on a data directory that they may not write: no promise is made and none is broken.
    fn read_only(&mut self) -> bool {
        let data = self.data();
        let script = r#"
            mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 99
            BTMSG_AGENT_ID=alice timeout "$2" btmsg send --json pool "ro/0/0 must not be there"; echo "send $?"
            timeout "$2" btmsg agents >/dev/null; echo "agents $?"
            timeout "$2" agor-supervise status worker >/dev/null; echo "status $?"
            timeout "$2" agor-supervise --name ro -- sh -c 'echo it ran'; echo "supervise $?"
            timeout "$2" agor-checkpoint >/dev/null; echo "checkpoint $?"
        "#;
        let mut command = self.pipeline.command("unshare");
        command
            .args(["-m", "--propagation", "private", "sh", "-c", script, "ro"])
            .arg(&data)
            .arg(COMMAND_S)
            .stdin(Stdio::null());
        let Ok(output) = command.output() else { return false };
        if output.status.code() == Some(99) {
            return false;
        }
        let text = crate::stdout(&output);
        let status =
            |what: &str| text.lines().find_map(|line| line.strip_prefix(what)?.trim().parse::<i32>().ok());
        let all = format!("{text}{}", crate::stderr(&output));
        if !matches!(status("send "), Some(73..=77)) {
            self.wrong(format!("READ-ONLY: send should be refused: {all}"));
        }
        if !text.contains("it ran") || status("supervise ") != Some(0) {
            self.wrong(format!("READ-ONLY: supervision should go on: {all}"));
        }
        for what in ["agents ", "status ", "checkpoint "] {
            if !matches!(status(what), Some(0 | 1 | 69 | 73..=78)) {
                self.wrong(format!("READ-ONLY: {what}: {all}"));
            }
        }
        true
    }

    /// No more faults: what is down comes back, and everything that was promised is delivered.
    fn settle(&mut self) {
        self.say("no more faults");
        for (_, undo) in std::mem::take(&mut self.later) {
            self.undo(&undo);
        }
        for found in processes::marked(&self.pipeline.mark) {
            processes::signal(found.pid, Signal::CONT);
        }
        for sender in SENDERS {
            if let Err(error) = self.pipeline.stop(&format!("send-{sender}"), PATIENCE) {
                self.wrong(error);
            }
        }
        // What they had in flight ends too.
        let deadline = Instant::now() + PATIENCE;
        while !self.pipeline.victims(Target::Send.words()).is_empty() && Instant::now() < deadline {
            self.tick();
        }
        let deadline = Instant::now() + PATIENCE + self.options.length / 20;
        loop {
            self.tick();
            match verify::outstanding(&self.data()) {
                Ok(0) => break,
                _ if Instant::now() < deadline => {}
                left => {
                    self.wrong(format!("NOT DELIVERED in the end: {left:?}"));
                    break;
                }
            }
        }
        for name in ["worker", "coder"] {
            let mut command = self.pipeline.command("agor-supervise");
            let output = command.args(["status", name, "--wait", "healthy", "--timeout", "120s"]).output();
            if !output.as_ref().is_ok_and(|output| output.status.success()) {
                self.wrong(format!("HEALTH: {name} does not become healthy: {output:?}"));
            }
        }
        // The steady relay has returned all that went in.
        self.pipeline.close();
        let relayed = std::sync::Arc::clone(&self.pipeline.relayed);
        let deadline = Instant::now() + PATIENCE;
        // What went in is known once nothing follows.
        while !relayed.all_written.load(std::sync::atomic::Ordering::Acquire) && Instant::now() < deadline {
            self.tick();
        }
        let counts = || {
            let written = relayed.written.load(std::sync::atomic::Ordering::Relaxed);
            (written, relayed.returned.load(std::sync::atomic::Ordering::Relaxed))
        };
        while counts().0 != counts().1 && Instant::now() < deadline {
            self.tick();
        }
        let (written, returned) = counts();
        if written != returned {
            self.wrong(format!("RELAY: {written} lines went in, {returned} came back"));
        }
        let wrong = std::mem::take(&mut *relayed.wrong.lock().expect("no holder panics"));
        for what in wrong {
            self.wrong(format!("RELAY: {what}"));
        }
        self.report.relayed = (returned, relayed.answers.load(std::sync::atomic::Ordering::Relaxed));
    }

    /// Everything ends when it is asked to, and leaves nothing behind.
    fn shut_down(&mut self) {
        // Controllers first, then what they control.
        for role in ROLES.iter().rev() {
            if let Err(error) = self.pipeline.stop(role, PATIENCE) {
                self.wrong(format!("STOP: {error}"));
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left: Vec<_> = processes::marked(&self.pipeline.mark);
            if left.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                self.wrong(format!("LEFT BEHIND: {left:?}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for name in ["worker", "coder"] {
            let output = self.pipeline.world.run("agor-supervise", &["status", name, "--json"]);
            if health_of(&crate::stdout(&output)).as_deref() != Some("stopped") {
                self.wrong(format!("HEALTH: {name} was stopped and is {}", crate::stdout(&output)));
            }
        }
        self.pipeline.kill_all();
    }

    fn judge(&mut self) {
        let mut ledger = Ledger::default();
        for log in SENDERS.iter().chain(&RECEIVERS).chain(&["recv-1", "recv-2"]) {
            ledger.read(&self.pipeline.log(log));
        }
        let mut wrong = Vec::new();
        verify::databases(&self.pipeline.world, &mut wrong);
        self.report.mail = verify::mail(&self.data(), &ledger, &mut wrong);
        if self.report.wal_bytes > WAL_BOUND {
            wrong.push(format!("WAL: {} bytes, more than {WAL_BOUND}", self.report.wal_bytes));
        }
        // With nobody in the way, a checkpoint leaves nothing.
        let output = self.pipeline.world.run("agor-checkpoint", &["--json"]);
        if !output.status.success() || verify::wal_bytes(&self.data()) > 0 {
            wrong.push(format!("CHECKPOINT: {:?} {}", output.status, crate::stdout(&output)));
        }
        for what in wrong {
            self.wrong(what);
        }
        self.report.failures = ledger.failures;
        self.report.starts = self.pipeline.starts();
        // A run in which nothing happened proves nothing.
        let mail = self.report.mail.clone();
        if mail.acknowledged < 10
            || mail.acked < 10
            || self.report.relayed.0 < 10
            || self.report.relayed.1 < 3
        {
            self.wrong(format!("IDLE: {mail:?}, relayed {:?}", self.report.relayed));
        }
    }

    /// Where someone can look at what happened.
    #[expect(clippy::print_stderr, reason = "a test's own words")]
    fn keep_logs(&self) {
        let to = crate::top().join("target/fault-logs").join(format!("seed-{}", self.options.seed));
        let _ = std::fs::remove_dir_all(&to);
        let _ = std::fs::create_dir_all(to.parent().unwrap_or(&to));
        for from in ["logs", "data"] {
            let _ = std::fs::create_dir_all(&to);
            let _ = std::process::Command::new("cp")
                .arg("-r")
                .arg(self.pipeline.world.path(from))
                .arg(&to)
                .stderr(Stdio::null())
                .status();
        }
        eprintln!("logs and databases of this run: {}", to.display());
    }
}

/// Makes the tmpfs at `dir` as small as what it holds, or as large as it was.
fn resize(dir: &Path, full: Option<()>) -> bool {
    // It is refused where somebody wrote more in between.
    (0..20).any(|_| {
        let size = match full {
            None => "50%".to_owned(),
            Some(()) => match rustix::fs::statvfs(dir) {
                Ok(stat) => format!("{}", (stat.f_blocks - stat.f_bfree).max(1) * stat.f_frsize),
                Err(_) => return false,
            },
        };
        std::process::Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(dir)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// What `agor-supervise status --json` says.
fn health_of(text: &str) -> Option<String> {
    let status: serde_json::Value = serde_json::from_str(text).ok()?;
    status.get("health")?.as_str().map(str::to_owned)
}

/// The state that `btmsg health --json` gives an agent.
fn state_of(text: &str, agent: &str) -> Option<String> {
    serde_json::Deserializer::from_str(text)
        .into_iter::<serde_json::Value>()
        .map_while(Result::ok)
        .find_map(|value| find_agent(&value, agent))
}

fn find_agent(value: &serde_json::Value, agent: &str) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let named = ["id", "agent", "agent_id"]
                .iter()
                .any(|key| map.get(*key).and_then(Value::as_str) == Some(agent));
            if named && let Some(state) = map.get("state").and_then(Value::as_str) {
                return Some(state.to_owned());
            }
            map.values().find_map(|value| find_agent(value, agent))
        }
        Value::Array(values) => values.iter().find_map(|value| find_agent(value, agent)),
        _ => None,
    }
}
