//! Input on its way: blocks of stdin as commands, each kept until it has its answer.

use std::time::Instant;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Bridge, Sent};
use crate::connect::link::Link;
use crate::connect::stdio;
use crate::error::Error;
use crate::protocol;

impl Bridge<'_> {
    pub(super) fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(super) fn command(&mut self, link: &mut Link, kind: &str, payload: &Value, bytes: usize) {
        let id = self.id();
        let session = Value::from(self.args.session.as_str());
        let text = format!(
            "{{\"id\":\"{}-{id}\",\"type\":\"{kind}\",\"session\":{session},\"payload\":{payload}}}",
            self.tag()
        );
        self.send(link, id, text, bytes);
    }

    /// Makes this process's command ids its own, also where it uses the client id of an earlier one.
    pub(super) fn tag(&self) -> u32 {
        std::process::id()
    }

    pub(super) fn send(&mut self, link: &mut Link, id: u64, text: String, bytes: usize) {
        let text = Utf8Bytes::from(text);
        link.queue.push_back(text.clone());
        self.unanswered_bytes += bytes;
        self.unanswered.push_back(Sent { id, text, bytes });
    }

    pub(super) fn input(&mut self, link: &mut Link, block: &[u8]) {
        for part in block.chunks(self.chunk) {
            let id = self.id();
            let mut text = String::with_capacity(part.len() + part.len() / 6 + 128);
            text.push_str("{\"id\":\"");
            text.push_str(&format!("{}-{id}", self.tag()));
            text.push_str("\",\"type\":\"session_write\",\"session\":");
            protocol::push_json_str(&mut text, &self.args.session);
            text.push_str(",\"payload\":{");
            match std::str::from_utf8(part) {
                Ok(data) => {
                    text.push_str("\"data\":");
                    protocol::push_json_str(&mut text, data);
                }
                Err(_) => {
                    use base64::Engine as _;
                    text.push_str("\"data_base64\":\"");
                    base64::engine::general_purpose::STANDARD.encode_string(part, &mut text);
                    text.push('"');
                }
            }
            text.push_str("}}");
            self.send(link, id, text, part.len());
        }
    }

    pub(super) fn open_stdio(&mut self, relay_has: u64) -> Result<(), Error> {
        let mut noted_stdin = None;
        if !self.args.observe {
            let file = stdio::stdin()?;
            if let Some((id, _)) = stdio::regular(&file) {
                let at = stdio::position(&file).unwrap_or(0);
                let mut base = at.cast_signed() - relay_has.cast_signed();
                if let Some((_, before)) = self.resume_stdin.filter(|(before, _)| *before == id) {
                    base = before;
                    let to = base + relay_has.cast_signed();
                    if let Ok(to) = u64::try_from(to) {
                        stdio::seek(&file, to);
                    }
                }
                noted_stdin = Some((id, base));
            }
            self.stdin = Some(stdio::read(file));
        }
        let mut state = self.state_for_writer.take();
        if let (Some(state), Some(path)) = (&mut state, &self.args.state) {
            state.noted.epoch.clone_from(&self.epoch);
            state.noted.seq = self.written;
            state.noted.stdin = noted_stdin;
            if self.skip == 0 {
                state.noted.stdout = stdio::regular(&stdio::stdout()?);
            }
            state.save().map_err(|source| Error::Write { path: path.clone(), source })?;
        }
        let (out, wrote) = stdio::write(stdio::stdout()?, self.skip, state);
        self.out = Some(out);
        self.wrote = wrote;
        Ok(())
    }

    pub(super) fn answered(&mut self, id: &str) {
        let ours = format!("\"{}-", self.tag());
        let Some(number) = id.strip_prefix(&ours).and_then(|id| id.trim_end_matches('"').parse::<u64>().ok())
        else {
            return;
        };
        if let Some(at) = self.unanswered.iter().position(|sent| sent.id == number)
            && let Some(sent) = self.unanswered.remove(at)
        {
            self.unanswered_bytes -= sent.bytes;
            self.quiet_since = Instant::now();
        }
    }
}
