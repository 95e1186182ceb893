//! Following a session, and writing to it.

use std::borrow::Cow;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;

use super::{Answer, find, may_start, need};
use crate::protocol::{Code, Command, Data, Refusal};
use crate::server::client::Reply;
use crate::server::connection::{Attachment, Connection};
use crate::session::{Session, State, Ticket};
use crate::token::Scope;

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

pub(super) fn attach(connection: &mut Connection, command: &Command<'_>) -> Answer {
    let wanted: Attach<'_> = command.payload()?;
    let session = find(connection, command)?;
    if wanted.epoch.as_ref().is_some_and(|epoch| *epoch != session.epoch) {
        let message = format!("session {} of that epoch is gone: the relay was started anew", session.name);
        return Err(Refusal(Code::Gone, message));
    }
    let first_start = wanted.start && session.state() == State::Idle;
    if first_start {
        may_start(connection)?;
    }
    // Who takes over writes.
    let write = wanted.write || wanted.take;
    if write || wanted.hold {
        need(connection, Scope::Write)?;
    }
    // A viewer that is waited for would take the writer's place in the queue, and the writer lose output.
    if wanted.hold && !write {
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
    if write {
        session.claim(&connection.client, wanted.take)?;
    }
    connection.detach_quietly(&session.name);
    if wanted.hold {
        session.hold_for(&connection.client, next - 1);
    }
    session.watch(&connection.outbox.wake);
    if write {
        session.controller_came();
    }
    let position = session.position(next);
    connection.attached.push(Attachment { session: session.clone(), next, position, controller: write });
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
pub(super) struct Write {
    pub(super) reply: Reply,
    /// Session epoch and bytes.
    pub(super) counted: (String, usize),
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

pub(super) fn write<'a>(
    connection: &mut Connection,
    command: &Command<'a>,
) -> Result<(Rc<Session>, Data<'a>), Refusal> {
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
