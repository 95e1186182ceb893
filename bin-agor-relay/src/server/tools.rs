//! `health`, `btmsg` and `frontend_log`: the sibling tools, run as processes and never linked.

use std::ffi::OsString;
use std::pin::Pin;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use agor_common::telemetry;
use agor_common::trace_context::{TRACEPARENT, TraceParent};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing::Instrument as _;

use super::Relay;
use super::client::{Client, Reply};
use super::commands::need;
use super::connection::Connection;
use crate::protocol::{Code, Command, Refusal};
use crate::session::command as tool_command;
use crate::token::Scope;

/// A tool that takes longer is ended.
const TIMEOUT: Duration = Duration::from_secs(15);
/// What a tool may print.
const MAX_OUTPUT: u64 = 1 << 20;
/// Commands that may have a tool running, for one client and for all.
const RUNS_OF_ONE: usize = 16;
const RUNS: usize = 64;

/// The right to run a tool, until it is dropped.
struct Run {
    relay: Rc<Relay>,
    client: Rc<Client>,
}

impl Run {
    fn of(connection: &Connection) -> Result<Run, Refusal> {
        let (relay, client) = (&connection.relay, &connection.client);
        if client.tools.get() >= RUNS_OF_ONE || relay.tools.get() >= RUNS {
            let message =
                "too many commands wait for a tool: send it again, under a new id, when one is answered";
            return Err(Refusal(Code::Limit, message.into()));
        }
        client.tools.set(client.tools.get() + 1);
        relay.tools.set(relay.tools.get() + 1);
        Ok(Run { relay: relay.clone(), client: client.clone() })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.client.tools.set(self.client.tools.get() - 1);
        self.relay.tools.set(self.relay.tools.get() - 1);
    }
}

/// What a tool said.
struct Said {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn run(
    argv: Vec<OsString>,
    input: Vec<u8>,
    extra: Duration,
    parent: Option<TraceParent>,
) -> Result<Said, String> {
    let name = argv.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned());
    let mut command = tool_command(&argv);
    // While exporting, the current span is the parent and knows this one as its own.
    if let Some(parent) = parent.filter(|_| !telemetry::is_on()) {
        command.env(TRACEPARENT, parent.to_string());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("run {name}: {error}"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let work = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A tool that does not read its input says why on stderr.
                let _ = stdin.write_all(&input).await;
            }
        };
        let read = async {
            let mut out = Vec::new();
            if let Some(stdout) = stdout {
                let _ = stdout.take(MAX_OUTPUT + 1).read_to_end(&mut out).await;
            }
            out
        };
        let read_errors = async {
            let mut out = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(64 << 10).read_to_end(&mut out).await;
            }
            out
        };
        let ((), stdout, stderr) = tokio::join!(feed, read, read_errors);
        let status = child.wait().await;
        Said { code: status.ok().and_then(|status| status.code()), stdout, stderr }
    };
    let said = tokio::time::timeout(TIMEOUT + extra, work)
        .await
        .map_err(|_| format!("run {name}: no answer in time"))?;
    if said.stdout.len() as u64 > MAX_OUTPUT {
        return Err(format!(
            "run {name}: its answer is longer than {MAX_OUTPUT} bytes; max asks for less mail"
        ));
    }
    Ok(said)
}

/// One JSON value, or NDJSON as an array.
fn parse(stdout: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(stdout) {
        return Some(value);
    }
    serde_json::Deserializer::from_slice(stdout)
        .into_iter::<Value>()
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .map(Value::Array)
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A part of the health answer: what the tool said, or why it did not.
async fn part(argv: &[&str]) -> Value {
    match run(words(argv), Vec::new(), Duration::ZERO, None).await {
        Ok(said) => {
            // Unhealthy is an answer too, and the tools end with 1 for it.
            let ok = matches!(said.code, Some(0 | 1)) && parse(&said.stdout).is_some();
            if ok {
                json!({ "ok": true, "exit": said.code, "report": parse(&said.stdout) })
            } else {
                let why = agor_common::text::single_line(String::from_utf8_lossy(&said.stderr).trim());
                json!({ "ok": false, "exit": said.code, "error": why })
            }
        }
        Err(why) => json!({ "ok": false, "error": why }),
    }
}

async fn health() -> Result<Value, Refusal> {
    let (supervise, mail) =
        tokio::join!(part(&["agor-supervise", "list", "--json"]), part(&["btmsg", "health", "--json"]));
    Ok(json!({ "supervise": supervise, "btmsg": mail }))
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Mail {
    Send { from: String, to: Vec<String>, text: String, subject: Option<String>, dedup_key: Option<String> },
    Recv { agent: String, max: Option<u32>, wait_s: Option<u32> },
    Ack { agent: String, ids: Vec<String> },
}

/// A word that a tool must not take for an option.
fn plain(what: &str, word: &str) -> Result<(), Refusal> {
    if word.is_empty() || word.starts_with('-') || word.contains('\0') {
        return Err(Refusal(Code::BadField, format!("payload: {what} is empty or begins with '-'")));
    }
    Ok(())
}

impl Mail {
    /// Arguments, standard input, and how long it may wait by itself.
    fn call(self) -> Result<(Vec<OsString>, Vec<u8>, Duration), Refusal> {
        match self {
            Mail::Send { from, to, text, subject, dedup_key } => {
                plain("from", &from)?;
                if to.is_empty() {
                    return Err(Refusal(Code::BadField, "payload: to is empty".into()));
                }
                let mut argv = words(&["btmsg", "send", "--json", "--as", &from]);
                for (option, value) in [("--subject", subject), ("--dedup-key", dedup_key)] {
                    if let Some(value) = value {
                        argv.push(format!("{option}={value}").into());
                    }
                }
                for name in &to {
                    plain("to", name)?;
                    argv.push(format!("--to={name}").into());
                }
                argv.push("-".into());
                Ok((argv, text.into_bytes(), Duration::ZERO))
            }
            Mail::Recv { agent, max, wait_s } => {
                plain("agent", &agent)?;
                let mut argv = words(&["btmsg", "recv", "--json", "--as", &agent]);
                if let Some(max) = max {
                    argv.push(format!("--max={max}").into());
                }
                let wait = wait_s.unwrap_or(0).min(300);
                if wait > 0 {
                    argv.push(format!("--wait={wait}s").into());
                }
                Ok((argv, Vec::new(), Duration::from_secs(wait.into())))
            }
            Mail::Ack { agent, ids } => {
                plain("agent", &agent)?;
                let mut argv = words(&["btmsg", "ack", "--json", "--as", &agent]);
                for id in &ids {
                    plain("ids", id)?;
                    argv.push(id.into());
                }
                Ok((argv, Vec::new(), Duration::ZERO))
            }
        }
    }
}

fn ended(code: Option<i32>) -> String {
    code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"))
}

async fn mail(mail: Mail, parent: Option<TraceParent>) -> Result<Value, Refusal> {
    let (argv, input, wait) = mail.call()?;
    let said = run(argv, input, wait, parent).await.map_err(|why| Refusal(Code::Failed, why))?;
    let why = agor_common::text::single_line(String::from_utf8_lossy(&said.stderr).trim());
    // 1: nothing to receive, 124: nor in the time that it waited; 69: accepted, and parked for an agent that is offline.
    if !matches!(said.code, Some(0 | 1 | 69 | 124)) {
        return Err(Refusal(Code::Failed, format!("btmsg {}: {why}", ended(said.code))));
    }
    Ok(json!({ "exit": said.code, "report": parse(&said.stdout), "notice": why }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontendLog {
    level: String,
    event: String,
    #[serde(default)]
    attributes: serde_json::Map<String, Value>,
    traceparent: Option<String>,
}

async fn frontend_log(log: FrontendLog, parent: Option<TraceParent>) -> Result<Value, Refusal> {
    // On stdin, so that nothing of it shows in an argument list; the named keys win over attributes.
    let mut record = log.attributes;
    record.insert("level".into(), log.level.into());
    record.insert("event".into(), log.event.into());
    record.insert("source".into(), "frontend".into());
    record.insert("traceparent".into(), log.traceparent.into());
    let mut line = Value::Object(record).to_string();
    line.push('\n');
    let argv = words(&["btmsg", "log", "--json", "-"]);
    let said = run(argv, line.into_bytes(), Duration::ZERO, parent)
        .await
        .map_err(|why| Refusal(Code::Failed, why))?;
    if said.code != Some(0) {
        let why = agor_common::text::single_line(String::from_utf8_lossy(&said.stderr).trim());
        return Err(Refusal(Code::Failed, format!("btmsg log {}: {why}", ended(said.code))));
    }
    Ok(json!({ "report": parse(&said.stdout) }))
}

/// Starts the tool of `command`; its answer comes when it ends.
pub(crate) fn execute(connection: &Connection, command: &Command<'_>, reply: Reply) {
    match start(connection, command) {
        Ok((run, work)) => {
            let work = async move {
                let answer = work.await;
                drop(run);
                reply.answer(answer);
            };
            drop(tokio::task::spawn_local(work.in_current_span()));
        }
        Err(refusal) => reply.refuse(&refusal),
    }
}

type Work = Pin<Box<dyn Future<Output = Result<Value, Refusal>>>>;

fn start(connection: &Connection, command: &Command<'_>) -> Result<(Run, Work), Refusal> {
    if connection.grant.sessions.is_some() {
        let message = "a token that is limited to sessions does not reach the machine's health and mail";
        return Err(Refusal(Code::Forbidden, message.into()));
    }
    let parent = command.parent;
    let work: Work = match &*command.kind {
        "health" => {
            need(connection, Scope::Observe)?;
            Box::pin(health())
        }
        "btmsg" => {
            need(connection, Scope::Write)?;
            Box::pin(mail(command.payload()?, parent))
        }
        _ => {
            need(connection, Scope::Write)?;
            Box::pin(frontend_log(command.payload()?, parent))
        }
    };
    Ok((Run::of(connection)?, work))
}
