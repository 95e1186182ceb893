//! A session's process: started, stopped, signalled, resized.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use agor_common::telemetry;
use agor_common::trace_context::TRACEPARENT;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, find, may_start, need};
use crate::config::{Spec, is_name};
use crate::protocol::{Code, Command, Refusal};
use crate::server::connection::Connection;
use crate::session::Graces;
use crate::token::Scope;

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

pub(super) fn start(connection: &mut Connection, command: &Command<'_>) -> Answer {
    let wanted: Start = command.payload()?;
    if wanted.cols.is_some() || wanted.rows.is_some() {
        return Err(Refusal(Code::BadField, "payload: cols and rows are for pty_create".into()));
    }
    start_with(connection, command, wanted, None)
}

pub(super) fn pty_create(connection: &mut Connection, command: &Command<'_>) -> Answer {
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
    may_start(connection)?;
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

pub(super) fn restart(connection: &mut Connection, command: &Command<'_>) -> Answer {
    may_start(connection)?;
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

pub(super) fn stop(connection: &mut Connection, command: &Command<'_>) -> Answer {
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

pub(super) fn signal(connection: &mut Connection, command: &Command<'_>) -> Answer {
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

pub(super) fn pty_resize(connection: &mut Connection, command: &Command<'_>) -> Answer {
    need(connection, Scope::Write)?;
    let size: Resize = command.payload()?;
    let session = find(connection, command)?;
    session.resize(size.cols, size.rows)?;
    Ok(json!({ "cols": size.cols, "rows": size.rows }))
}
