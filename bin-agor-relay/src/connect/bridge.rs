//! The bridge: what has been received and acknowledged, over as many connections as it takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use agor_common::{Exit, output};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::link::{Came, Failed, Link, Target};
use super::state::State;
use super::stdio::{self, FileId, Piece, Wrote};
use crate::TOOL;
use crate::cli::{Connect, Linger};
use crate::error::Error;
use crate::protocol::{self, Event};

/// Input that may be on its way without an answer.
const WINDOW_BYTES: usize = 1 << 20;
const WINDOW_COMMANDS: usize = 256;
/// The relay hears what has arrived after this many events, or when nothing more comes.
const ACK_EVERY: u64 = 32;
/// Pauses between attempts to connect again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One `session_write` without an answer.
struct Sent {
    id: u64,
    text: Utf8Bytes,
    bytes: usize,
}

/// Why a connection is over.
enum Over {
    /// Everything is done.
    Done(Exit),
    /// Connect again.
    Lost(String),
    Fatal(Error),
}

/// Everything that outlives a connection.
pub(super) struct Bridge<'a> {
    args: &'a Connect,
    target: Target,
    client: String,
    epoch: String,
    /// The last event that was handed to stdout.
    seq: Option<u64>,
    /// The last event that is out.
    written: u64,
    acked: u64,
    next_id: u64,
    unanswered: VecDeque<Sent>,
    unanswered_bytes: usize,
    /// Input that waits for room in the window.
    stdin: Option<mpsc::Receiver<Vec<u8>>>,
    resume_stdin: Option<(FileId, i64)>,
    stdin_ended: bool,
    eof_sent: bool,
    out: Option<mpsc::Sender<Piece>>,
    wrote: mpsc::UnboundedReceiver<Wrote>,
    pending_out: usize,
    state_for_writer: Option<State>,
    skip: u64,
    chunk: usize,
    lines: u64,
    quiet_since: Instant,
    exit: Option<Exit>,
    ended: bool,
    /// Connected at least once.
    was_up: bool,
}

impl<'a> Bridge<'a> {
    pub(super) fn new(args: &'a Connect, target: Target) -> Result<Bridge<'a>, Error> {
        let state = args
            .state
            .as_ref()
            .map(|path| State::open(path, &target.authority, &args.session))
            .transpose()?;
        let mut epoch = String::new();
        let (mut seq, mut skip, mut resume_stdin) = (None, 0, None);
        let client = match &state {
            Some(state) => {
                epoch.clone_from(&state.noted.epoch);
                if !epoch.is_empty() {
                    seq = Some(state.noted.seq);
                    resume_stdin = state.noted.stdin;
                    // Killed between writing and noting it: the file itself says how much is out.
                    let now = stdio::regular(&stdio::stdout()?);
                    if let (Some((then_id, then)), Some((now_id, now))) = (state.noted.stdout, now)
                        && then_id == now_id
                    {
                        skip = now.saturating_sub(then);
                    }
                }
                state.noted.client.clone()
            }
            None => uuid::Uuid::new_v4().simple().to_string(),
        };
        let (_, wrote) = mpsc::unbounded_channel();
        Ok(Bridge {
            args,
            target,
            client,
            epoch,
            seq,
            written: seq.unwrap_or(0),
            acked: 0,
            next_id: 1,
            unanswered: VecDeque::new(),
            unanswered_bytes: 0,
            stdin: None,
            resume_stdin,
            stdin_ended: args.observe,
            eof_sent: false,
            out: None,
            wrote,
            pending_out: 0,
            state_for_writer: state,
            skip,
            chunk: stdio::BLOCK,
            lines: 0,
            quiet_since: Instant::now(),
            exit: None,
            ended: false,
            was_up: false,
        })
    }

    /// Connects, bridges, connects again, until it is over.
    pub(super) async fn run(&mut self) -> Result<Exit, Error> {
        let mut lost_at: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.target.open(self.args.timeout).await {
                Ok(link) => match self.connection(link).await {
                    Over::Done(exit) => return Ok(exit),
                    Over::Fatal(error) => return Err(error),
                    Over::Lost(why) => {
                        if self.args.retry.is_zero() {
                            let what = format!("connection to {} lost: {why}", self.target.authority);
                            return Err(Error::Unreachable { what, hint: None });
                        }
                        output::notice(TOOL, &format!("connection lost ({why}): connecting again"));
                        lost_at = Some(Instant::now());
                        pause = FIRST_PAUSE;
                    }
                },
                Err(Failed::Never(error)) => return Err(error),
                Err(Failed::Later(error)) => match lost_at {
                    Some(at) if at.elapsed() < self.args.retry => {}
                    _ => return Err(error),
                },
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Hello and attach; returns the attach command's id.
    fn greet(&mut self, link: &mut Link) -> String {
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
        match (self.seq, self.args.from.as_str()) {
            (Some(seq), _) => drop(attach.insert("from".into(), (seq + 1).into())),
            (None, "now") if self.args.start => drop(attach.insert("from".into(), "now".into())),
            (None, "now") => {}
            (None, from) => {
                let value = from.parse::<u64>().map_or_else(|_| Value::from(from), Value::from);
                attach.insert("from".into(), value);
            }
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

    async fn connection(&mut self, mut link: Link) -> Over {
        let attach_id = self.greet(&mut link);
        let mut attached = false;
        let mut heard = Instant::now();
        let mut tick = tokio::time::interval((self.args.ping / 2).min(Duration::from_millis(100)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pinged = Instant::now();
        loop {
            let room = self.out.as_ref().is_none_or(|out| out.capacity() > 0);
            let window = attached
                && self.unanswered_bytes < WINDOW_BYTES
                && self.unanswered.len() < WINDOW_COMMANDS
                && self.stdin.is_some();
            tokio::select! {
                came = std::future::poll_fn(|cx| link.poll(cx, room)) => {
                    heard = Instant::now();
                    let over = match came {
                        Came::Alive => None,
                        Came::Text(text) => self.event(&mut link, &text, &attach_id, &mut attached),
                        Came::Closed(frame) => Some(closed(frame)),
                        Came::Lost(why) => Some(Over::Lost(why)),
                    };
                    if let Some(over) = over {
                        return self.finish(over, link).await;
                    }
                }
                Some(wrote) = self.wrote.recv() => {
                    if let Some(over) = self.wrote(&mut link, &wrote) {
                        return self.finish(over, link).await;
                    }
                }
                block = next_block(&mut self.stdin), if window => match block {
                    Some(block) => self.input(&mut link, &block),
                    None => {
                        self.stdin = None;
                        self.stdin_ended = true;
                        self.quiet_since = Instant::now();
                    }
                },
                _ = tick.tick() => {
                    if room && heard.elapsed() >= self.args.ping * 2 {
                        return Over::Lost("the relay is silent".into());
                    }
                    if pinged.elapsed() >= self.args.ping {
                        pinged = Instant::now();
                        link.ping = true;
                    }
                    self.ack(&mut link);
                }
            }
            if attached && let Some(over) = self.is_over(&mut link) {
                return self.finish(over, link).await;
            }
        }
    }

    /// Says goodbye where that makes sense, once everything is written.
    async fn finish(&mut self, over: Over, mut link: Link) -> Over {
        if matches!(over, Over::Done(_)) {
            self.ack(&mut link);
            link.close().await;
        }
        over
    }

    /// Whether there is a reason to end.
    fn is_over(&mut self, link: &mut Link) -> Option<Over> {
        let all_out = self.pending_out == 0;
        if self.ended && all_out {
            return Some(Over::Done(self.exit.unwrap_or(Exit::OK)));
        }
        if let Some(wanted) = self.args.replies
            && self.lines >= wanted
            && all_out
            && self.unanswered.is_empty()
        {
            return Some(Over::Done(Exit::OK));
        }
        if !self.stdin_ended || self.args.observe || !self.unanswered.is_empty() {
            return None;
        }
        if self.args.eof {
            if !std::mem::replace(&mut self.eof_sent, true) {
                self.command(link, "session_write", &json!({ "eof": true }), 0);
            }
            return None;
        }
        match self.args.linger {
            Linger::Forever => None,
            Linger::For(quiet) if all_out && self.quiet_since.elapsed() >= quiet => {
                if let Some(wanted) = self.args.replies {
                    let what = format!("{} of {wanted} replies came before --linger ran out", self.lines);
                    return Some(Over::Fatal(Error::Deadline { what }));
                }
                Some(Over::Done(Exit::OK))
            }
            Linger::For(_) => None,
        }
    }

    fn command(&mut self, link: &mut Link, kind: &str, payload: &Value, bytes: usize) {
        let id = self.id();
        let session = Value::from(self.args.session.as_str());
        let text = format!(
            "{{\"id\":\"{}-{id}\",\"type\":\"{kind}\",\"session\":{session},\"payload\":{payload}}}",
            self.tag()
        );
        self.send(link, id, text, bytes);
    }

    /// Makes this process's command ids its own, also where it uses the client id of an earlier one.
    fn tag(&self) -> u32 {
        std::process::id()
    }

    fn send(&mut self, link: &mut Link, id: u64, text: String, bytes: usize) {
        let text = Utf8Bytes::from(text);
        link.queue.push_back(text.clone());
        self.unanswered_bytes += bytes;
        self.unanswered.push_back(Sent { id, text, bytes });
    }

    fn input(&mut self, link: &mut Link, block: &[u8]) {
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

    fn ack(&mut self, link: &mut Link) {
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

    fn wrote(&mut self, link: &mut Link, wrote: &Wrote) -> Option<Over> {
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

    fn event(
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
            "ready" => self.ready(text),
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
            "output" | "exit" | "closed" | "gap" => return self.output(&event, text),
            _ => {}
        }
        None
    }

    fn ready(&mut self, text: &str) {
        let limit = serde_json::from_str::<Value>(text)
            .ok()
            .and_then(|ready| ready["limits"]["max_message_bytes"].as_u64())
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(1 << 20);
        // Escaped, one byte may become six; the command around it needs some too.
        self.chunk = (limit.saturating_sub(512) / 6).clamp(64, stdio::BLOCK);
    }

    /// The attach was accepted: open stdin and stdout the first time, send again what has no answer.
    fn attached(&mut self, link: &mut Link, value: &Value) -> Option<Error> {
        let from = value["from"].as_u64().unwrap_or(1);
        self.epoch = value["epoch"].as_str().unwrap_or_default().to_owned();
        if self.seq.is_none() {
            self.seq = Some(from - 1);
            self.written = from - 1;
        }
        // The relay holds from here; what it thinks we have is no more than what we have.
        self.acked = from - 1;
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

    fn open_stdio(&mut self, relay_has: u64) -> Result<(), Error> {
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

    fn answered(&mut self, id: &str) {
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

    fn refused(&mut self, event: &Event<'_>, id: &str, attach_id: &str) -> Option<Over> {
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

    fn output(&mut self, event: &Event<'_>, text: &Utf8Bytes) -> Option<Over> {
        if event.session.as_deref() != Some(&*self.args.session) {
            return None;
        }
        if event.kind == "gap" {
            let (from, to) = (event.from.unwrap_or(0), event.to.unwrap_or(0));
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
        let seq = event.seq?;
        // Never twice, whatever a connection repeats.
        if self.seq.is_some_and(|known| seq <= known) {
            return None;
        }
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

    fn hand_out(&mut self, seq: u64, stderr: bool, bytes: Vec<u8>) {
        let Some(out) = &self.out else { return };
        // There is room: it was looked for before the message was read. A writer that ended has said why.
        if out.try_send(Piece { seq, stderr, bytes }).is_ok() {
            self.pending_out += 1;
        }
    }
}

async fn next_block(stdin: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match stdin {
        Some(stdin) => stdin.recv().await,
        None => std::future::pending().await,
    }
}

fn closed(frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Over {
    let Some(frame) = frame else { return Over::Lost("closed".into()) };
    let reason = agor_common::text::single_line(&frame.reason);
    match u16::from(frame.code) {
        4000 => Over::Fatal(Error::Busy {
            what: "another connect with the same state took this one's place".into(),
            hint: None,
        }),
        code => Over::Lost(format!("{reason} ({code})")),
    }
}
