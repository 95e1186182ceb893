//! The agents of the fault tests: a sender, a receiver, and an agent that answers on stdout too. Each writes
//! what it did, in order, to its own log, one `write` per line, so that a SIGKILL leaves a true prefix.
//!
//! ```text
//! agor-fault-actor sender ID TO,TO… LOG SEED
//! agor-fault-actor receiver ID LOG SEED
//! agor-fault-actor agent ID LOG SEED         also echoes its stdin's lines, with its pid and incarnation
//! ```
//! Log lines are `NANOSECONDS EVENT FIELDS…`, the time being CLOCK_MONOTONIC, which all processes share.

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// No tool call may hang: that is a finding of its own, and must not stop the run.
const CALL_LIMIT_S: &str = "60";

struct Log(File);

impl Log {
    fn open(path: &str) -> Log {
        Log(File::options().create(true).append(true).open(path).expect("the log is writable"))
    }

    fn line(&self, event: &str) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let ns = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        let _ = (&self.0).write_all(format!("{ns} {event}\n").as_bytes());
    }
}

/// Runs btmsg as `id`; now and then with a stepped wall clock, where the harness said how to get one.
fn btmsg(id: &str, rng: &mut fastrand::Rng, args: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", CALL_LIMIT_S, "btmsg"]).args(args);
    command.env("BTMSG_AGENT_ID", id).stdin(Stdio::null());
    if let Some(library) = std::env::var_os("AGOR_FAULT_CLOCK")
        && rng.u8(..8) == 0
    {
        let step = ["+1h", "-1h", "+10d", "-2m"][rng.usize(..4)];
        command.env("LD_PRELOAD", library).env("FAKETIME", step).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    loop {
        match command.output() {
            Ok(output) => return output,
            // EAGAIN under pressure: the actor is not what is tested.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// `0`, `69`, or `killed`.
fn outcome(output: &Output) -> String {
    match output.status.code() {
        // 137 is `timeout` telling of a child that died of SIGKILL: ours, or its own limit.
        Some(137) | None => "killed".into(),
        Some(code) => code.to_string(),
    }
}

/// The first line of what a failed command said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("").to_owned()
}

/// Every JSON object of an answer: one object, or one a line.
fn objects(output: &Output) -> Vec<Value> {
    serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().map_while(Result::ok).collect()
}

/// Sends numbered messages; one in two with a dedup key, and that one again until it is acknowledged.
fn sender(id: &str, to: &[&str], log: &Log, rng: &mut fastrand::Rng) {
    // A number is never used twice, also not by a later process that gets this one's pid: in an hour they come round.
    let life = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
    for n in 0u64.. {
        let to = to[rng.usize(..to.len())];
        let body = format!("{id}/{life}/{n} {}", "x".repeat(rng.usize(..2000)));
        let key = format!("{id}/{life}/{n}");
        let keyed = n % 2 == 0;
        for attempt in 0..50 {
            log.line(&format!("try {key} {to} {} {attempt}", if keyed { "keyed" } else { "plain" }));
            // Leases run out often here, and that is no fault of the message.
            let mut args = vec!["send", "--json", "--max-deliveries", "1000"];
            if keyed {
                args.extend(["--dedup-key", &key]);
            }
            args.extend([to, &body]);
            let output = btmsg(id, rng, &args);
            let outcome = outcome(&output);
            // What counts as acknowledged: an exit status that promises it, or an id that was printed.
            let message = objects(&output).iter().find_map(message_id).unwrap_or_else(|| "-".into());
            log.line(&format!("sent {key} {to} {outcome} {message} {}", said(&output)));
            if !keyed || matches!(outcome.as_str(), "0" | "69") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20 + rng.u64(..100)));
        }
        std::thread::sleep(Duration::from_millis(rng.u64(..60)));
    }
}

/// The id in what `send --json` prints.
fn message_id(object: &Value) -> Option<String> {
    object.get("id").and_then(Value::as_str).map(str::to_owned)
}

/// Receives, works a little, acknowledges; sometimes gives a message back, sometimes forgets it.
fn receiver(id: &str, log: &Log, rng: &mut fastrand::Rng) {
    loop {
        log.line("recv");
        let max = (1 + rng.u8(..4)).to_string();
        let args = ["recv", "--json", "--wait", "1s", "--lease", "4s", "--max", &max];
        let output = btmsg(id, rng, &args);
        let messages: Vec<(String, String)> = objects(&output).iter().filter_map(leased).collect();
        for (message, _) in &messages {
            log.line(&format!("got {message}"));
        }
        if !output.status.success() {
            log.line(&format!("recv-failed {} {}", outcome(&output), said(&output)));
            if messages.is_empty() && output.status.code() != Some(124) {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        for (message, token) in &messages {
            std::thread::sleep(Duration::from_millis(rng.u64(..10)));
            match rng.u8(..40) {
                0 => log.line(&format!("forgotten {message}")),
                1 => {
                    let output = btmsg(id, rng, &["nack", "--token", token, message]);
                    log.line(&format!("nacked {message} {}", outcome(&output)));
                }
                _ => {
                    log.line(&format!("acking {message}"));
                    let output = btmsg(id, rng, &["ack", "--token", token, message]);
                    let event = if output.status.success() { "acked" } else { "ack-failed" };
                    log.line(&format!("{event} {message} {} {}", outcome(&output), said(&output)));
                }
            }
        }
    }
}

/// A received message's id, and the token of this lease of it.
fn leased(object: &Value) -> Option<(String, String)> {
    Some((object.get("id")?.as_str()?.to_owned(), object.get("token")?.as_str()?.to_owned()))
}

/// Echoes stdin, with who answers.
fn echo() {
    let incarnation = std::env::var("AGOR_INCARNATION").unwrap_or_default();
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let answer = format!("{line} {} {incarnation}\n", std::process::id());
        if stdout.write_all(answer.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            break;
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let seed = |text: &str| {
        // Incarnations of one actor must differ, and yet come from the seed.
        let incarnation =
            std::env::var("AGOR_INCARNATION").ok().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        fastrand::Rng::with_seed(text.parse::<u64>().unwrap_or(0) ^ (incarnation << 32))
    };
    match words[..] {
        ["sender", id, to, log, n] => {
            let to: Vec<&str> = to.split(',').collect();
            sender(id, &to, &Log::open(log), &mut seed(n));
        }
        ["receiver", id, log, n] => receiver(id, &Log::open(log), &mut seed(n)),
        ["agent", id, log, n] => {
            let (id, log, mut rng) = (id.to_owned(), Log::open(log), seed(n));
            log.line(&format!("start {}", std::process::id()));
            let beat = id.clone();
            let mut beats = seed(n);
            std::thread::spawn(move || receiver(&id, &log, &mut rng));
            std::thread::spawn(move || {
                loop {
                    btmsg(&beat, &mut beats, &["heartbeat"]);
                    std::thread::sleep(Duration::from_secs(2));
                }
            });
            echo();
        }
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}
