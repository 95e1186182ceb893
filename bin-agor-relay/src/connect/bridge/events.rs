//! What the relay says: answers, events, and what of them is out and acknowledged.

use std::time::Instant;

use agor_common::{Exit, output};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{ACK_EVERY, Bridge, Over};
use crate::TOOL;
use crate::cli::From;
use crate::connect::link::Link;
use crate::connect::stdio::{self, Piece, Wrote};
use crate::error::Error;
use crate::protocol::{Event, SCHEMA};

/// The relay does not keep to the protocol.
fn broken(what: &str) -> Over {
    Over::Fatal(Error::Data { what: format!("not as the protocol says: {what}") })
}

impl Bridge<'_> {
    /// Hello and attach; returns the attach command's id.
    pub(super) fn greet(&mut self, link: &mut Link) -> String {
        link.urgent.push_back(
            json!({ "id": "hello", "type": "hello", "payload": { "client": self.client } })
                .to_string()
                .into(),
        );
        let mut attach = serde_json::Map::new();
        let writer = !self.args.observe;
        attach.insert("write".into(), writer.into());
        attach.insert("hold".into(), writer.into());
        attach.insert("start".into(), writer.into());
        attach.insert("take".into(), (writer && self.args.take).into());
        if !self.epoch.is_empty() {
            attach.insert("epoch".into(), self.epoch.as_str().into());
        }
        let from: Option<Value> = match (self.seq, self.args.from) {
            (Some(seq), _) => Some((seq + 1).into()),
            (None, From::Seq(seq)) => Some(seq.into()),
            (None, From::Start) => Some("start".into()),
            (None, From::Now) if self.args.start => Some("now".into()),
            // Left out, so that of a session that has ended its end is told.
            (None, From::Now) => None,
        };
        if let Some(from) = from {
            attach.insert("from".into(), from);
        }
        // Each attach is a new one: its answer tells where this connection begins.
        let id = format!("\"attach-{}\"", uuid::Uuid::new_v4().simple());
        let text = format!(
            "{{\"id\":{id},\"type\":\"session_attach\",\"session\":{},\"payload\":{}}}",
            Value::from(self.args.session.as_str()),
            Value::Object(attach)
        );
        link.urgent.push_back(text.into());
        id
    }

    pub(super) fn ack(&mut self, link: &mut Link) {
        if self.args.observe || self.written <= self.acked {
            return;
        }
        self.acked = self.written;
        let session = Value::from(self.args.session.as_str());
        let text = format!(
            "{{\"id\":0,\"type\":\"session_ack\",\"session\":{session},\"payload\":{{\"seq\":{}}}}}",
            self.written
        );
        link.urgent.push_back(text.into());
    }

    pub(super) fn wrote(&mut self, link: &mut Link, wrote: &Wrote) -> Option<Over> {
        match wrote {
            Wrote::UpTo(seq) => {
                self.pending_out = self.pending_out.saturating_sub(1);
                self.written = self.written.max(*seq);
                if self.written >= self.acked + ACK_EVERY {
                    self.ack(link);
                }
                None
            }
            // The reader went away: that is a quiet end, as for any other writer into a pipe.
            Wrote::Closed => Some(Over::Done(Exit::OK)),
            Wrote::Failed(why) => Some(Over::Fatal(Error::Io {
                what: "write the session's output",
                source: std::io::Error::other(why.clone()),
            })),
        }
    }

    pub(super) fn event(
        &mut self,
        link: &mut Link,
        text: &Utf8Bytes,
        attach_id: &str,
        attached: &mut bool,
    ) -> Option<Over> {
        let event: Event<'_> = match serde_json::from_str(text) {
            Ok(event) => event,
            Err(error) => {
                return Some(Over::Fatal(Error::Data {
                    what: format!("not an event of the protocol: {error}"),
                }));
            }
        };
        let id = event.id.map(serde_json::value::RawValue::get).unwrap_or_default();
        match &*event.kind {
            "ready" => return self.ready(text),
            "result" if id == attach_id => {
                let value: Value =
                    event.result.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
                if let Some(error) = self.attached(link, &value) {
                    return Some(Over::Fatal(error));
                }
                *attached = true;
            }
            "result" => self.answered(id),
            "error" => return self.refused(&event, id, attach_id),
            "output" | "exit" | "closed" | "gap" if *attached => return self.output(&event, text),
            "output" | "exit" | "closed" | "gap" => return Some(broken("an event before the attach")),
            _ => {}
        }
        None
    }

    pub(super) fn ready(&mut self, text: &str) -> Option<Over> {
        let ready: Value = serde_json::from_str(text).unwrap_or_default();
        if ready["schema"] != SCHEMA {
            return Some(Over::Fatal(Error::Data {
                what: format!("the relay speaks version {} of the protocol, not {SCHEMA}", ready["schema"]),
            }));
        }
        let limit = ready["limits"]["max_message_bytes"]
            .as_u64()
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(1 << 20);
        // Escaped, one byte may become six; the command around it needs some too.
        self.chunk = (limit.saturating_sub(512) / 6).clamp(64, stdio::BLOCK);
        None
    }

    /// The attach was accepted: open stdin and stdout the first time, send again what has no answer.
    pub(super) fn attached(&mut self, link: &mut Link, value: &Value) -> Option<Error> {
        let from = value["from"].as_u64().unwrap_or(1).max(1);
        self.epoch = value["epoch"].as_str().unwrap_or_default().to_owned();
        if self.seq.is_none() {
            self.seq = Some(from - 1);
            self.written = from - 1;
        }
        // What the relay heard of this before the connection is uncertain: it is told again.
        self.acked = 0;
        self.up = true;
        if !std::mem::replace(&mut self.was_up, true)
            && let Err(error) = self.open_stdio(value["written"].as_u64().unwrap_or(0))
        {
            return Some(error);
        }
        if self.args.start && value["state"] == "ended" {
            self.command(link, "session_start", &json!({}), 0);
        }
        let again: Vec<Utf8Bytes> = self.unanswered.iter().map(|sent| sent.text.clone()).collect();
        link.queue.clear();
        link.queue.extend(again);
        self.quiet_since = Instant::now();
        None
    }

    pub(super) fn refused(&mut self, event: &Event<'_>, id: &str, attach_id: &str) -> Option<Over> {
        let code = event.code.as_ref().and_then(Value::as_str).unwrap_or_default();
        let message = event.message.as_deref().unwrap_or_default();
        let what = format!("{}: {}", self.target.authority, agor_common::text::single_line(message));
        let hint = |text: &str| Some(text.to_owned());
        let error = match code {
            "gone" => {
                Error::Gone { what, hint: hint("the session, or the relay that had it, is no longer there") }
            }
            "writer_taken" => Error::Busy { what, hint: hint("--observe watches, --take takes over") },
            "forbidden" => Error::Denied { what, hint: hint("--observe needs the least") },
            "already_running" => {
                self.answered(id);
                return None;
            }
            // The session ended under our input: its exit event follows, or has come.
            "not_running" if id != attach_id => {
                self.answered(id);
                self.stdin = None;
                self.stdin_ended = true;
                return None;
            }
            _ => Error::Data { what: format!("{what} ({code})") },
        };
        Some(Over::Fatal(error))
    }

    pub(super) fn output(&mut self, event: &Event<'_>, text: &Utf8Bytes) -> Option<Over> {
        if event.session.as_deref() != Some(&*self.args.session) {
            return None;
        }
        let (from, to) = match &*event.kind {
            "gap" => (event.from?, event.to?),
            _ => (event.seq?, event.seq?),
        };
        let known = self.seq.unwrap_or(0);
        // Never twice, whatever a connection repeats; and never with a hole that nobody named.
        if to <= known {
            return None;
        }
        if from > known + 1 {
            return Some(broken(&format!("event {from} after {known}")));
        }
        if event.kind == "gap" {
            let bytes = event.bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
            output::warning(
                TOOL,
                &format!("output lost: events {from} to {to}{bytes} fell out of the relay's buffer"),
            );
            self.seq = Some(to);
            if self.args.events {
                self.hand_out(to, false, format!("{}\n", text.as_str()).into_bytes());
            }
            return None;
        }
        let seq = to;
        self.seq = Some(seq);
        self.quiet_since = Instant::now();
        match &*event.kind {
            "exit" => {
                let code =
                    event.code.as_ref().and_then(Value::as_u64).and_then(|code| u8::try_from(code).ok());
                let signal = event.signal.and_then(|signal| u8::try_from(signal).ok());
                self.exit = code.map(Exit::child).or(signal.map(Exit::signal));
            }
            "closed" => self.ended = true,
            _ => self.ended = false,
        }
        let bytes = match event.bytes() {
            Some(bytes) => bytes.into_owned(),
            None if event.kind == "output" => return Some(broken("output without data")),
            None => Vec::new(),
        };
        let stderr = event.stream.as_deref() == Some("stderr");
        if !stderr {
            self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        if self.args.events {
            self.hand_out(seq, false, format!("{}\n", text.as_str()).into_bytes());
        } else {
            self.hand_out(seq, stderr, bytes);
        }
        None
    }

    pub(super) fn hand_out(&mut self, seq: u64, stderr: bool, bytes: Vec<u8>) {
        let Some(out) = &self.out else { return };
        // There is room: it was looked for before the message was read. A writer that ended has said why.
        if out.try_send(Piece { seq, stderr, bytes }).is_ok() {
            self.pending_out += 1;
        }
    }
}
