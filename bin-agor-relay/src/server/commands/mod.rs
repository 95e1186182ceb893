//! The commands: each is checked against the token's scope, executed once, and answered.

mod attach;
mod process;

use std::borrow::Cow;
use std::rc::Rc;

use agor_common::telemetry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Begin, Reply};
use super::connection::{Connection, End};
use super::outbox::Cut;
use super::tools;
use crate::protocol::{self, Code, Command, Nothing, Refusal, SCHEMA};
use crate::session::Session;
use crate::token::Scope;
use attach::{Write, attach, write};
use process::{pty_create, pty_resize, restart, signal, start, stop};

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

/// The token must reach `start`, and the relay must not be about to end.
fn may_start(connection: &Connection) -> Result<(), Refusal> {
    need(connection, Scope::Start)?;
    if connection.relay.draining.get() {
        return Err(Refusal(Code::Draining, "the relay is shutting down".into()));
    }
    Ok(())
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
    if !(connection.client.id.is_empty() || connection.client.id == hello.client) {
        return Err(Refusal(Code::BadField, "this connection has said hello as another client".into()));
    }
    if !connection.attached.is_empty() {
        return Err(Refusal(Code::BadField, "hello must come before session_attach".into()));
    }
    let client = connection.relay.clients.borrow_mut().get(&hello.client, &connection.grant.name)?;
    if Rc::ptr_eq(&client, &connection.client) {
        return Ok(json!({ "known": true }));
    }
    // Whoever it was until now has no connection any more, and so keeps nobody from writing.
    connection.client.disconnect(&connection.outbox);
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
