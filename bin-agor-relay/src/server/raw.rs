//! `/raw/NAME`: a private instance of a session, one message per line and no protocol around it, for clients
//! that know nothing of it. The instance ends with its connection; nothing can be resumed.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use super::Relay;
use super::client::Client;
use super::connection::{End, cut, end_of, goodbye, websocket_config};
use super::io::Stream;
use super::nuisance::Nuisance;
use super::outbox::{Cut, Outbox};
use super::watch::{Verdict, Watch};
use crate::history::At;
use crate::protocol::Refusal;
use crate::session::{Graces, Session, State, Ticket};

/// Bytes on their way to the process before the connection is no longer read from, and what each line costs in
/// them beyond its own.
const WINDOW: usize = 1 << 20;
const OVERHEAD: usize = 128;
const TURN: usize = 64;

struct Written {
    bytes: usize,
    waiting: Rc<Cell<usize>>,
    outbox: Rc<Outbox>,
}

impl Ticket for Written {
    fn done(self: Box<Self>, result: Result<(), Refusal>) {
        self.waiting.set(self.waiting.get() - self.bytes);
        // Where the process takes no more input its end follows, and that ends the connection.
        let _ = result;
        self.outbox.wake.wake();
    }
}

/// One raw connection.
pub(crate) struct Raw {
    relay: Rc<Relay>,
    ws: WebSocketStream<Stream>,
    pub(super) session: Rc<Session>,
    client: Rc<Client>,
    pub(crate) outbox: Rc<Outbox>,
    binary: bool,
    next: u64,
    /// Output that is not a whole line yet, and where in it the next line may end.
    line: Vec<u8>,
    searched: usize,
    ended: bool,
    waiting: Rc<Cell<usize>>,
    unflushed: bool,
    blocked: bool,
    ping_due: bool,
    nuisance: Nuisance,
}

impl Raw {
    pub(crate) async fn new(
        relay: Rc<Relay>,
        stream: Stream,
        early: Vec<u8>,
        token: &str,
        session: Rc<Session>,
        binary: bool,
    ) -> Raw {
        let config = websocket_config(relay.limits.max_message);
        stream.counters.limit(relay.limits.max_message as u64 * 2 + (64 << 10));
        let ws = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
        let outbox = Rc::new(Outbox::default());
        let client = Client::new("", token);
        client.connect(&outbox);
        session.hold_for(&client, 0);
        session.watch(&outbox.wake);
        Raw {
            relay,
            ws,
            session,
            client,
            outbox,
            binary,
            next: 1,
            line: Vec::new(),
            searched: 0,
            ended: false,
            waiting: Rc::default(),
            unflushed: false,
            blocked: false,
            ping_due: false,
            nuisance: Nuisance::default(),
        }
    }

    /// Serves the connection to its end, and ends the process with it.
    pub(crate) async fn run(mut self) -> End {
        let mut tick = tokio::time::interval(self.relay.limits.look());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watch = Watch::default();
        let end = loop {
            let end = tokio::select! {
                biased;
                end = std::future::poll_fn(|cx| self.poll(cx)) => Some(end),
                _ = tick.tick() => {
                    let verdict = watch.look(self.ws.get_ref(), self.blocked, &self.relay.limits);
                    self.ping_due |= matches!(verdict, Verdict::Ping);
                    verdict.end()
                }
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.client.disconnect(&self.outbox);
        self.session.unclaim(&self.client);
        self.session.stop(Graces::default());
        if let End::Cut(cut) = &end {
            goodbye(&mut self.ws, cut.code, cut.reason).await;
        } else if matches!(end, End::Closed) {
            use futures_util::SinkExt as _;
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), self.ws.flush()).await;
        }
        self.relay.account(&self.ws.get_ref().counters);
        self.session.wait_until_ended().await;
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.outbox.wake.register(cx.waker());
        // What a session that has ended still had to say is sent first, where there is time for it.
        let last_words = |cut: &Cut| cut.flush && self.session.state() == State::Ended;
        if let Some(cut) = self.outbox.is_cut().filter(|cut| !last_words(cut)) {
            return Poll::Ready(End::Cut(cut));
        }
        for turn in 0.. {
            if self.waiting.get() > WINDOW {
                break;
            }
            if turn == TURN {
                cx.waker().wake_by_ref();
                break;
            }
            let message = match Pin::new(&mut self.ws).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(End::Closed),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(end_of(&error)),
                Poll::Ready(Some(Ok(message))) => message,
            };
            self.ws.get_ref().counters.complete();
            match message {
                Message::Text(text) => self.write(text.as_bytes()),
                Message::Binary(bytes) => self.write(&bytes),
                Message::Close(_) => return Poll::Ready(End::Closed),
                Message::Ping(_) | Message::Pong(_) => {
                    if let Some(end) = self.nuisance.count() {
                        return Poll::Ready(end);
                    }
                }
                Message::Frame(_) => {}
            }
        }
        match self.poll_write(cx) {
            Ok(Some(end)) => Poll::Ready(end),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(end_of(&error)),
        }
    }

    fn write(&mut self, message: &[u8]) {
        let mut line = Vec::with_capacity(message.len() + 1);
        line.extend_from_slice(message);
        line.push(b'\n');
        let bytes = line.len() + OVERHEAD;
        self.waiting.set(self.waiting.get() + bytes);
        let written = Written { bytes, waiting: self.waiting.clone(), outbox: self.outbox.clone() };
        self.session.write(&line, false, Box::new(written));
    }

    /// The next line, without its newline; `Err` where it is too long to be one message.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, ()> {
        loop {
            if let Some(at) = self.line[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + at;
                let rest = self.line.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.line, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.line.len();
            if self.line.len() > self.relay.limits.max_message {
                return Err(());
            }
            match self.session.at(self.next) {
                At::Nothing => return Ok(None),
                At::Gap { to, .. } => self.next = to + 1,
                At::Event(payload) => {
                    self.session.ack(&self.client, self.next);
                    self.next += 1;
                    if payload.is_empty() {
                        self.ended = true;
                        let last = std::mem::take(&mut self.line);
                        self.searched = 0;
                        return Ok((!last.is_empty()).then_some(last));
                    }
                    self.line.extend_from_slice(&payload);
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Option<End>, WsError> {
        self.blocked = false;
        for turn in 0.. {
            match Pin::new(&mut self.ws).poll_ready(cx) {
                Poll::Pending => {
                    self.blocked = true;
                    return Ok(None);
                }
                Poll::Ready(ready) => ready?,
            }
            if std::mem::take(&mut self.ping_due) {
                Pin::new(&mut self.ws).start_send(Message::Ping(Bytes::new()))?;
                self.unflushed = true;
            }
            if turn == TURN {
                cx.waker().wake_by_ref();
                break;
            }
            let line = match self.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(()) => return Ok(Some(cut(1009, "line too long"))),
            };
            let message = if self.binary {
                Message::Binary(line.into())
            } else {
                match String::from_utf8(line) {
                    Ok(text) => Message::Text(Utf8Bytes::from(text)),
                    Err(error) => Message::Binary(error.into_bytes().into()),
                }
            };
            Pin::new(&mut self.ws).start_send(message)?;
            self.unflushed = true;
        }
        if self.unflushed {
            match Pin::new(&mut self.ws).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.unflushed = false;
                }
                Poll::Pending => self.blocked = true,
            }
        }
        let over =
            if self.relay.draining.get() { cut(1001, "going away") } else { cut(1000, "the session ended") };
        Ok((self.ended && !self.unflushed).then_some(over))
    }
}
