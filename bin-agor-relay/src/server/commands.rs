//! The commands: each is checked against the token's scope, executed once, and answered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use agor_common::telemetry;
use agor_common::trace_context::TRACEPARENT;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Begin, Reply};
use super::connection::{Attachment, Connection, End};
use super::outbox::Cut;
use super::tools;
use crate::config::{Spec, is_name};
use crate::protocol::{self, Code, Command, Data, Nothing, Refusal, SCHEMA};
use crate::session::{Graces, Session, State, Ticket};
use crate::token::Scope;

type Answer = Result<Value, Refusal>;

/// The first message of a connection.
pub(crate) fn ready(connection: &Connection) -> String {
    let relay = &connection.relay;
    let sessions: Vec<String> =
        relay.sessions.borrow().keys().filter(|name| connection.grant.sees(name)).cloned().collect();
    json!({
        "type": "ready",
        "schema": SCHEMA,
        "relay": relay.instance,
        "token": connection.grant.name,
        "scope": connection.grant.scope,
        "sessions": sessions,
        "limits": {
            "max_message_bytes": relay.limits.max_message,
            "ping_s": relay.limits.ping.as_secs_f64(),
            "ring_bytes": relay.limits.ring,
        },
    })
    .to_string()
}

/// The protocol is text.
pub(crate) fn refuse_binary(connection: &Connection) {
    let refusal = Refusal(Code::BadJson, "a binary message: commands are JSON text".into());
    connection.outbox.send(protocol::error(None, &refusal));
}

/// Executes one message; an end is returned for a peer that sends only rubbish.
pub(crate) fn execute(connection: &mut Connection, text: &str) -> Option<End> {
    connection.relay.metrics.commands.add(1);
    let command = match Command::parse(text) {
        Ok(command) => command,
        Err((id, refusal)) => {
            connection.outbox.send(protocol::error(id, &refusal));
            return connection.nuisance();
        }
    };
    // A command that brings its trace along is a span of that trace.
    let span = match command.parent {
        Some(parent) if telemetry::is_on() => {
            let span = tracing::info_span!("relay.command", relay.command = %command.kind);
            telemetry::set_parent(&span, &parent.to_string());
            span
        }
        _ => tracing::Span::none(),
    };
    let _in = span.enter();
    let trace = command.parent.map(|parent| {
        telemetry::traceparent_of(&span).filter(|_| telemetry::is_on()).unwrap_or_else(|| parent.to_string())
    });
    // These two are about the connection itself; executing one again does no harm.
    match &*command.kind {
        "session_ack" => {
            if let Err(refusal) = ack(connection, &command) {
                connection.outbox.send(protocol::error(Some(command.id), &refusal));
            }
            return None;
        }
        "hello" => {
            let text = match hello(connection, &command) {
                Ok(value) => protocol::result(command.id, &value),
                Err(refusal) => protocol::error(Some(command.id), &refusal),
            };
            connection.outbox.send(protocol::in_trace(text, trace.as_deref()));
            return None;
        }
        _ => {}
    }
    match connection.client.begin(command.id) {
        Begin::Execute => {}
        Begin::Pending => return None,
        Begin::Done(answer) => {
            connection.outbox.send(answer);
            return None;
        }
        Begin::Full => {
            let refusal = Refusal(Code::Limit, "too many commands are waiting for their answer".into());
            connection.outbox.send(protocol::error(Some(command.id), &refusal));
            return None;
        }
    }
    let reply = Reply { client: connection.client.clone(), id: command.id.to_owned(), trace };
    let answer = match &*command.kind {
        "ping" => {
            match command.payload::<Nothing>() {
                Ok(Nothing {}) => {
                    let id = command.id;
                    reply.text(format!("{{\"type\":\"pong\",\"id\":{id}}}"));
                }
                Err(refusal) => reply.refuse(&refusal),
            }
            return None;
        }
        "session_write" | "pty_write" => {
            match write(connection, &command) {
                Ok((session, data)) => match data.bytes() {
                    Ok(bytes) => {
                        let counted = (session.epoch.clone(), bytes.len());
                        session.write(&bytes, data.eof, Box::new(Write { reply, counted }));
                    }
                    Err(refusal) => reply.refuse(&refusal),
                },
                Err(refusal) => reply.refuse(&refusal),
            }
            return None;
        }
        "health" | "btmsg" | "frontend_log" => {
            tools::execute(connection, &command, reply);
            return None;
        }
        "session_list" => command.payload().map(|Nothing {}| list(connection)),
        "session_start" => start(connection, &command),
        "session_attach" => attach(connection, &command),
        "session_detach" => command
            .payload()
            .map(|Nothing {}| json!({ "attached": false, "was": connection.detach(command.session_name()) })),
        "session_signal" => signal(connection, &command),
        "session_stop" | "pty_close" => stop(connection, &command),
        "session_restart" => restart(connection, &command),
        "pty_create" => pty_create(connection, &command),
        "pty_resize" => pty_resize(connection, &command),
        other => {
            reply.refuse(&Refusal(Code::UnknownType, format!("unknown command type {other:?}")));
            return connection.nuisance();
        }
    };
    reply.answer(answer);
    None
}

/// The token must reach `scope`.
pub(crate) fn need(connection: &Connection, scope: Scope) -> Result<(), Refusal> {
    if connection.grant.scope >= scope {
        return Ok(());
    }
    let message = format!("this needs scope {scope:?}, the token has {:?}", connection.grant.scope);
    Err(Refusal(Code::Forbidden, message.to_lowercase()))
}

/// A session that the token may see; others do not exist for it.
fn find(connection: &Connection, command: &Command<'_>) -> Result<Rc<Session>, Refusal> {
    let name = command.session_name();
    let session = connection.relay.sessions.borrow().get(name).cloned();
    session
        .filter(|_| connection.grant.sees(name))
        .ok_or_else(|| Refusal(Code::Gone, format!("there is no session {name}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello<'a> {
    #[serde(borrow)]
    client: Cow<'a, str>,
}

fn hello(connection: &mut Connection, command: &Command<'_>) -> Answer {
    let hello: Hello<'_> = command.payload()?;
    if !(16..=64).contains(&hello.client.len()) || !hello.client.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refusal(
            Code::BadField,
            "payload: client must be 16 to 64 visible ASCII characters".into(),
        ));
    }
    if !connection.attached.is_empty() {
        return Err(Refusal(Code::BadField, "hello must come before session_attach".into()));
    }
    let client = connection.relay.clients.borrow_mut().get(&hello.client, &connection.grant.name)?;
    if Rc::ptr_eq(&client, &connection.client) {
        return Ok(json!({ "known": true }));
    }
    let before = client.connect(&connection.outbox);
    let known = before.is_some() || client.was_seen();
    if let Some(outbox) = before {
        outbox.cut(Cut { code: 4000, reason: "this client connected again", flush: false });
    }
    connection.client = client;
    Ok(json!({ "known": known }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    seq: u64,
}

fn ack(connection: &Connection, command: &Command<'_>) -> Result<(), Refusal> {
    let ack: Ack = command.payload()?;
    let name = command.session_name();
    if let Some(attachment) = connection.attached.iter().find(|attachment| attachment.session.name == name) {
        attachment.session.ack(&connection.client, ack.seq);
    }
    Ok(())
}

fn list(connection: &Connection) -> Value {
    let sessions = connection.relay.sessions.borrow();
    let seen: Vec<Value> = sessions
        .values()
        .filter(|session| connection.grant.sees(&session.name))
        .map(|session| session.describe())
        .collect();
    json!({ "sessions": seen })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum From<'a> {
    Seq(u64),
    #[serde(borrow)]
    Word(Cow<'a, str>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attach<'a> {
    #[serde(borrow)]
    from: Option<From<'a>>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    #[serde(default)]
    write: bool,
    #[serde(default)]
    take: bool,
    #[serde(default)]
    hold: bool,
    #[serde(default)]
    start: bool,
}

fn attach(connection: &mut Connection, command: &Command<'_>) -> Answer {
    let wanted: Attach<'_> = command.payload()?;
    let session = find(connection, command)?;
    if wanted.epoch.as_ref().is_some_and(|epoch| *epoch != session.epoch) {
        let message = format!("session {} of that epoch is gone: the relay was started anew", session.name);
        return Err(Refusal(Code::Gone, message));
    }
    let first_start = wanted.start && session.state() == State::Idle;
    if first_start {
        need(connection, Scope::Start)?;
    }
    if wanted.write || wanted.take || wanted.hold {
        need(connection, Scope::Write)?;
    }
    // A viewer that is waited for would take the writer's place in the queue, and the writer lose output.
    if wanted.hold && !(wanted.write || wanted.take) {
        return Err(Refusal(Code::BadField, "payload: hold is for the writer, and needs write".into()));
    }
    let next_seq = session.next_seq();
    let next = match &wanted.from {
        // A late joiner of an ended session still learns how it ended.
        None => session.last_exit().filter(|_| session.state() == State::Ended).unwrap_or(next_seq),
        Some(From::Seq(seq)) if (1..=next_seq).contains(seq) => *seq,
        Some(From::Word(word)) if word == "start" => 1,
        Some(From::Word(word)) if word == "now" => next_seq,
        Some(_) => {
            let message = format!("payload: from must be start, now, or a number from 1 to {next_seq}");
            return Err(Refusal(Code::BadField, message));
        }
    };
    if wanted.write || wanted.take {
        session.claim(&connection.client, wanted.take)?;
    }
    connection.detach_quietly(&session.name);
    if wanted.hold {
        session.hold_for(&connection.client, next - 1);
    }
    session.watch(&connection.outbox.wake);
    if wanted.write {
        session.controller_came();
    }
    let position = session.position(next);
    connection.attached.push(Attachment {
        session: session.clone(),
        next,
        position,
        controller: wanted.write,
    });
    let started = if first_start { session.start() } else { Ok(()) };
    let mut state = session.describe();
    state["type"] = "state_sync".into();
    state["from"] = next.into();
    connection.outbox.send(state.to_string());
    started?;
    Ok(
        json!({ "from": next, "next_seq": next_seq, "epoch": session.epoch, "state": session.state().name(), "written": connection.client.written(&session.epoch) }),
    )
}

/// Answers a write when the bytes are in the session's pipe.
struct Write {
    reply: Reply,
    /// Session epoch and bytes.
    counted: (String, usize),
}

impl Ticket for Write {
    fn done(self: Box<Self>, result: Result<(), Refusal>) {
        match result {
            Ok(()) => {
                let text = format!("{{\"type\":\"result\",\"id\":{},\"result\":{{}}}}", self.reply.id);
                self.reply.patiently(text);
            }
            Err(refusal) => self.reply.refuse(&refusal),
        }
    }

    fn taken(&mut self) {
        self.reply.client.count_written(&self.counted.0, self.counted.1);
    }
}

fn write<'a>(connection: &mut Connection, command: &Command<'a>) -> Result<(Rc<Session>, Data<'a>), Refusal> {
    need(connection, Scope::Write)?;
    let session = find(connection, command)?;
    if command.kind == "pty_write" && !session.is_pty() {
        return Err(Refusal(Code::BadField, format!("session {} has no terminal", session.name)));
    }
    let data: Data<'a> = command.payload()?;
    session.claim(&connection.client, false)?;
    if let Some(attachment) =
        connection.attached.iter_mut().find(|other| Rc::ptr_eq(&other.session, &session))
        && !attachment.controller
    {
        attachment.controller = true;
        session.controller_came();
    }
    Ok((session, data))
}

/// A command that a client names.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Start {
    command: Option<Vec<String>>,
    cwd: Option<PathBuf>,
    env: BTreeMap<String, String>,
    cols: Option<u16>,
    rows: Option<u16>,
}

fn start(connection: &mut Connection, command: &Command<'_>) -> Answer {
    let wanted: Start = command.payload()?;
    if wanted.cols.is_some() || wanted.rows.is_some() {
        return Err(Refusal(Code::BadField, "payload: cols and rows are for pty_create".into()));
    }
    start_with(connection, command, wanted, None)
}

fn pty_create(connection: &mut Connection, command: &Command<'_>) -> Answer {
    let wanted: Start = command.payload()?;
    let size = (wanted.cols.unwrap_or(80), wanted.rows.unwrap_or(24));
    start_with(connection, command, wanted, Some(size))
}

fn start_with(
    connection: &mut Connection,
    command: &Command<'_>,
    wanted: Start,
    pty: Option<(u16, u16)>,
) -> Answer {
    need(connection, Scope::Start)?;
    if connection.relay.draining.get() {
        return Err(Refusal(Code::Draining, "the relay is shutting down".into()));
    }
    let session = match wanted.command {
        None => {
            let session = find(connection, command)?;
            if wanted.cwd.is_some() || !wanted.env.is_empty() {
                return Err(Refusal(Code::BadField, "payload: cwd and env go with a command".into()));
            }
            if pty.is_some() != session.is_pty() && pty.is_some() {
                return Err(Refusal(
                    Code::BadField,
                    format!("session {} is not configured as a terminal", session.name),
                ));
            }
            if let Some(size) = pty {
                session.spec.borrow_mut().pty = Some(size);
            }
            session
        }
        Some(argv) => {
            need(connection, Scope::Exec)?;
            if !connection.relay.allow_exec.get() {
                return Err(Refusal(Code::Forbidden, "the relay was started without --allow-exec".into()));
            }
            let name = command.session_name();
            if !is_name(name) || argv.first().is_none_or(String::is_empty) {
                return Err(Refusal(Code::BadField, "session or payload.command is not usable".into()));
            }
            if !connection.grant.sees(name) {
                return Err(Refusal(Code::Forbidden, format!("the token does not reach session {name}")));
            }
            let mut env = wanted.env;
            // While exporting, the session's own span is the parent that its process gets.
            if let Some(parent) = command.parent.filter(|_| !telemetry::is_on()) {
                env.entry(TRACEPARENT.into()).or_insert_with(|| parent.to_string());
            }
            let spec = Spec {
                argv: argv.into_iter().map(OsString::from).collect(),
                cwd: wanted.cwd,
                env,
                pty,
                autostart: false,
                alone: connection.relay.limits.alone,
                alone_after: connection.relay.limits.alone_after,
                configured: false,
            };
            connection.relay.add_session(name, spec)?
        }
    };
    session.start()?;
    Ok(session.describe())
}

fn restart(connection: &mut Connection, command: &Command<'_>) -> Answer {
    need(connection, Scope::Start)?;
    let graces = graces(command)?;
    let session = find(connection, command)?;
    session.restart(graces)?;
    Ok(json!({ "state": session.state().name() }))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Stop {
    eof_s: Option<f64>,
    term_s: Option<f64>,
}

fn graces(command: &Command<'_>) -> Result<Graces, Refusal> {
    let stop: Stop = command.payload()?;
    let default = Graces::default();
    let grace = |name: &str, seconds: Option<f64>, default: Duration| match seconds {
        None => Ok(default),
        Some(seconds) if (0.0..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Some(_) => Err(Refusal(Code::BadField, format!("payload: {name} must be 0 to 600"))),
    };
    Ok(Graces {
        eof: grace("eof_s", stop.eof_s, default.eof)?,
        term: grace("term_s", stop.term_s, default.term)?,
    })
}

fn stop(connection: &mut Connection, command: &Command<'_>) -> Answer {
    need(connection, Scope::Write)?;
    let graces = graces(command)?;
    let session = find(connection, command)?;
    session.stop(graces);
    Ok(json!({ "state": session.state().name() }))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SignalName<'a> {
    Number(i32),
    #[serde(borrow)]
    Name(Cow<'a, str>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal<'a> {
    #[serde(borrow)]
    signal: SignalName<'a>,
}

fn signal(connection: &mut Connection, command: &Command<'_>) -> Answer {
    need(connection, Scope::Write)?;
    let wanted: Signal<'_> = command.payload()?;
    use rustix::process::Signal as S;
    let known = [
        ("HUP", S::HUP),
        ("INT", S::INT),
        ("QUIT", S::QUIT),
        ("KILL", S::KILL),
        ("TERM", S::TERM),
        ("USR1", S::USR1),
        ("USR2", S::USR2),
        ("STOP", S::STOP),
        ("TSTP", S::TSTP),
        ("CONT", S::CONT),
        ("WINCH", S::WINCH),
    ];
    let signal = known.into_iter().find(|(name, signal)| match &wanted.signal {
        SignalName::Number(number) => *number == signal.as_raw(),
        SignalName::Name(word) => word.trim_start_matches("SIG") == *name,
    });
    let Some((name, signal)) = signal else {
        return Err(Refusal(Code::BadField, "payload: signal is not one that can be sent".into()));
    };
    let session = find(connection, command)?;
    if !session.signal_group(signal) {
        return Err(Refusal(Code::NotRunning, format!("session {} has no process", session.name)));
    }
    Ok(json!({ "signal": name }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resize {
    cols: u16,
    rows: u16,
}

fn pty_resize(connection: &mut Connection, command: &Command<'_>) -> Answer {
    need(connection, Scope::Write)?;
    let size: Resize = command.payload()?;
    let session = find(connection, command)?;
    session.resize(size.cols, size.rows)?;
    Ok(json!({ "cols": size.cols, "rows": size.rows }))
}
