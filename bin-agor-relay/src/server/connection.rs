//! One authenticated connection: reads commands, writes answers ahead of output, notices silence.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::client::Client;
use super::io::{Counters, Stream};
use super::nuisance::Nuisance;
use super::outbox::{Cut, Outbox};
use super::watch::{Verdict, Watch};
use super::{Relay, commands};
use crate::error::{GONE, plainly};
use crate::history::At;
use crate::session::Session;
use crate::sys;
use crate::token::Grant;

/// Messages that are read, and bytes that are written, before the other direction has its turn.
const READ_TURN: usize = 64;
const WRITE_TURN: usize = 256 << 10;
/// How long a patient answer waits for company.
const MOMENT: Duration = Duration::from_millis(1);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Sizes for both sides. The write buffer is small, since what waits for a slow peer waits in the history.
pub(crate) fn websocket_config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(64 << 10)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}

/// A session that this connection follows.
pub(crate) struct Attachment {
    pub(crate) session: Rc<Session>,
    pub(crate) next: u64,
    /// Session bytes before `next`, where that is known.
    pub(crate) position: Option<u64>,
    pub(crate) controller: bool,
}

/// A connection after the upgrade.
pub(crate) struct Connection {
    pub(crate) relay: Rc<Relay>,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) client: Rc<Client>,
    pub(crate) grant: Grant,
    pub(crate) attached: Vec<Attachment>,
    ws: WebSocketStream<Stream>,
    counters: Arc<Counters>,
    turn: usize,
    unflushed: bool,
    blocked: bool,
    ping_due: bool,
    /// Runs since patient answers had to wait.
    moment: Option<Pin<Box<tokio::time::Sleep>>>,
    nuisance: Nuisance,
}

/// How a connection ended.
pub(crate) enum End {
    /// The peer closed it.
    Closed,
    /// We close it, with a reason.
    Cut(Cut),
    /// It broke, or the peer is silent: nothing more can be said.
    Broken(String),
}

pub(crate) fn cut(code: u16, reason: &'static str) -> End {
    End::Cut(Cut { code, reason, flush: false })
}

/// What a read error means for the peer.
pub(crate) fn end_of(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => cut(1009, "message too large"),
        WsError::Utf8(_) => cut(1007, "invalid UTF-8"),
        // It is gone: there is nobody to say anything to.
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Broken(GONE.into()),
        WsError::Protocol(_) => cut(1002, "protocol error"),
        WsError::ConnectionClosed | WsError::AlreadyClosed => End::Closed,
        other => End::Broken(plainly(other)),
    }
}

/// Says why, as far as the peer still listens.
pub(crate) async fn goodbye(ws: &mut WebSocketStream<Stream>, code: u16, reason: &'static str) {
    let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
    let polite = async {
        if ws.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        let mut answered = false;
        while let Some(Ok(message)) = ws.next().await {
            answered |= message.is_close();
        }
        if answered {
            return;
        }
        // It may be in the middle of what was refused. To close over bytes that nobody has read is to reset the
        // connection (RFC 2525, section 2.17), and then it fails to send the rest instead of reading why.
        let stream = ws.get_mut();
        let _ = stream.shutdown().await;
        let mut block = [0; 4096];
        while let Ok(1..) = stream.read(&mut block).await {}
    };
    // Whoever does not listen is left without ceremony.
    let _ = tokio::time::timeout(GOODBYE, polite).await;
}

impl Connection {
    pub(crate) async fn new(relay: Rc<Relay>, stream: Stream, early: Vec<u8>, grant: Grant) -> Connection {
        let counters = stream.counters.clone();
        counters.limit(relay.limits.max_message as u64 * 2 + (64 << 10));
        sys::socket::limit_unsent(stream.socket(), 128 << 10);
        let config = websocket_config(relay.limits.max_message);
        let ws = if early.is_empty() {
            WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
        } else {
            WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await
        };
        let outbox = Rc::new(Outbox::default());
        let client = Client::new("", &grant.name);
        client.connect(&outbox);
        Connection {
            relay,
            outbox,
            client,
            grant,
            attached: Vec::new(),
            ws,
            counters,
            turn: 0,
            unflushed: false,
            blocked: false,
            ping_due: false,
            moment: None,
            nuisance: Nuisance::default(),
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) -> End {
        self.outbox.send(commands::ready(&self));
        let mut tick = tokio::time::interval(self.relay.limits.look());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watch = Watch::default();
        let end = loop {
            let end = tokio::select! {
                biased;
                end = std::future::poll_fn(|cx| self.poll(cx)) => Some(end),
                _ = tick.tick() => {
                    let verdict = watch.look(self.ws.get_ref(), self.blocked, &self.relay.limits);
                    if matches!(verdict, Verdict::Ping) {
                        self.ping_due = true;
                    }
                    verdict.end()
                }
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.leave();
        if let End::Cut(cut) = &end {
            goodbye(&mut self.ws, cut.code, cut.reason).await;
        } else if matches!(end, End::Closed) {
            let _ = tokio::time::timeout(GOODBYE, self.ws.flush()).await;
        }
        self.relay.account(&self.counters);
        end
    }

    /// Releases what this connection held, at its end or when another takes its place.
    fn leave(&mut self) {
        let current = self.client.disconnect(&self.outbox);
        for attachment in std::mem::take(&mut self.attached) {
            attachment.session.unwatch(&self.outbox.wake);
            if attachment.controller {
                attachment.session.controller_went();
            }
            // A client without an id cannot come back for the rest.
            if current && self.client.id.is_empty() {
                attachment.session.unclaim(&self.client);
            }
        }
    }

    pub(crate) fn detach(&mut self, name: &str) -> bool {
        let Some(at) = self.attached.iter().position(|attachment| attachment.session.name == name) else {
            return false;
        };
        let attachment = self.attached.swap_remove(at);
        attachment.session.unwatch(&self.outbox.wake);
        if attachment.controller {
            attachment.session.controller_went();
            attachment.session.unclaim(&self.client);
        }
        true
    }

    /// Forgets an attachment that a new one replaces; the claim on the session stays.
    pub(crate) fn detach_quietly(&mut self, name: &str) {
        if let Some(at) = self.attached.iter().position(|attachment| attachment.session.name == name) {
            let attachment = self.attached.swap_remove(at);
            attachment.session.unwatch(&self.outbox.wake);
            if attachment.controller {
                attachment.session.controller_went();
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.outbox.wake.register(cx.waker());
        let cut = self.outbox.is_cut();
        if let Some(cut) = cut.as_ref().filter(|cut| !cut.flush) {
            return Poll::Ready(End::Cut(cut.clone()));
        }
        for turn in 0.. {
            // Who does not take answers gets to ask no more.
            if self.outbox.bytes() > self.relay.limits.write_buffer {
                break;
            }
            if turn == READ_TURN {
                cx.waker().wake_by_ref();
                break;
            }
            match Pin::new(&mut self.ws).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(End::Closed),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(end_of(&error)),
                Poll::Ready(Some(Ok(message))) => {
                    if let Some(end) = self.take(&message) {
                        return Poll::Ready(end);
                    }
                }
            }
        }
        if self.may_wait(cx) {
            return Poll::Pending;
        }
        if let Err(error) = self.poll_write(cx) {
            return Poll::Ready(end_of(&error));
        }
        match cut {
            Some(cut) if !self.unflushed && !self.waiting() => Poll::Ready(End::Cut(cut)),
            _ => Poll::Pending,
        }
    }

    /// Whether nothing waits but answers that may, and their moment is not over. The moment is one timer for as
    /// many answers as come while it runs: arming one for each would cost a write to the event loop's own
    /// descriptor every time. So an answer waits for that long at most, and often for less.
    fn may_wait(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(moment) = &mut self.moment
            && moment.as_mut().poll(cx).is_ready()
        {
            self.moment = None;
            return false;
        }
        let idle = !self.unflushed && !self.ping_due && self.outbox.is_cut().is_none();
        if !(idle && self.outbox.is_patient() && !self.has_events()) {
            return false;
        }
        if self.moment.is_none() {
            let mut moment = Box::pin(tokio::time::sleep(MOMENT));
            // Polled once, so that it wakes this task.
            if moment.as_mut().poll(cx).is_ready() {
                return false;
            }
            self.moment = Some(moment);
        }
        true
    }

    fn has_events(&self) -> bool {
        self.attached.iter().any(|attachment| attachment.next < attachment.session.next_seq())
    }

    /// Whether something waits to be sent.
    fn waiting(&self) -> bool {
        self.outbox.len() > 0 || self.has_events()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), WsError> {
        let mut budget = WRITE_TURN;
        self.blocked = false;
        loop {
            match Pin::new(&mut self.ws).poll_ready(cx) {
                Poll::Pending => {
                    self.blocked = true;
                    return Ok(());
                }
                Poll::Ready(ready) => ready?,
            }
            if std::mem::take(&mut self.ping_due) {
                Pin::new(&mut self.ws).start_send(Message::Ping(Bytes::new()))?;
                self.unflushed = true;
                continue;
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            let Some(text) = self.next() else { break };
            budget = budget.saturating_sub(text.len());
            Pin::new(&mut self.ws).start_send(Message::Text(text))?;
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
        Ok(())
    }

    /// The next message: answers first, then one event of each session in turn.
    fn next(&mut self) -> Option<Utf8Bytes> {
        if let Some(answer) = self.outbox.next() {
            return Some(answer);
        }
        for _ in 0..self.attached.len() {
            self.turn = (self.turn + 1) % self.attached.len();
            let attachment = &mut self.attached[self.turn];
            match attachment.session.at(attachment.next) {
                At::Nothing => {}
                At::Event(payload) => {
                    attachment.next += 1;
                    if attachment.position.is_some() {
                        attachment.position = attachment.session.position(attachment.next);
                    }
                    // Events are written by this program, as UTF-8.
                    return Utf8Bytes::try_from(payload).ok();
                }
                At::Gap { to, end } => {
                    self.relay.metrics.gaps.add(1);
                    let bytes =
                        attachment.position.zip(end).and_then(|(position, end)| end.checked_sub(position));
                    let gap = serde_json::json!({
                        "type": "gap",
                        "session": attachment.session.name,
                        "from": attachment.next,
                        "to": to,
                        "bytes": bytes,
                    });
                    attachment.next = to + 1;
                    attachment.position = attachment.session.position(attachment.next);
                    return Some(gap.to_string().into());
                }
            }
        }
        None
    }

    fn take(&mut self, message: &Message) -> Option<End> {
        self.counters.complete();
        match message {
            Message::Text(text) => commands::execute(self, text),
            Message::Binary(_) => {
                commands::refuse_binary(self);
                self.nuisance()
            }
            Message::Ping(_) | Message::Pong(_) => self.nuisance(),
            Message::Close(_) => Some(End::Closed),
            Message::Frame(_) => None,
        }
    }

    pub(crate) fn nuisance(&mut self) -> Option<End> {
        self.nuisance.count()
    }
}
