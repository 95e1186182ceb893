//! A session: one local process (again and again, if it is started again), its numbered events, its input,
//! who writes to it, and what happens when nobody is there.
//!
//! Everything runs on one thread; a `RefCell` here is never borrowed across an await.

mod input;
mod process;
mod stop;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::Instant;

use agor_common::{output, time};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;

pub(crate) use input::Ticket;
pub(crate) use process::{command, program};
pub(crate) use stop::Graces;

use crate::TOOL;
use crate::cli::Alone;
use crate::config::{Limits, Spec};
use crate::history::{At, History};
use crate::protocol::{self, Code, Refusal};
use crate::server::client::Client;
use crate::server::outbox::Wake;
use input::Input;
use process::Process;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Configured and not started yet.
    Idle,
    Running,
    Stopping,
    /// The process ended; `session_start` runs it again.
    Ended,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Ended => "ended",
        }
    }
}

/// The writer that output waits for.
struct Holder {
    client: Rc<Client>,
    /// Everything up to here has arrived.
    acked: u64,
    /// When that last moved.
    moved: Instant,
}

/// One session.
pub(crate) struct Session {
    pub(crate) name: String,
    /// Tells this session from one of the same name in another life of the relay.
    pub(crate) epoch: String,
    /// Events are bare lines instead of JSON: the private session of a raw connection.
    raw: bool,
    pub(crate) spec: RefCell<Spec>,
    limits: Rc<Limits>,
    history: RefCell<History>,
    state: Cell<State>,
    process: RefCell<Option<Process>>,
    input: Input,
    /// Where the last `exit` event is, for late joiners.
    last_exit: Cell<Option<u64>>,
    holder: RefCell<Option<Holder>>,
    writer: RefCell<Option<Rc<Client>>>,
    room: Notify,
    ended: Notify,
    watchers: RefCell<Vec<Weak<Wake>>>,
    controllers: Cell<usize>,
    /// Counts departures of the last controller, so that a timer knows whether it is still meant.
    departures: Cell<u64>,
    paused: Cell<bool>,
    start_again: Cell<bool>,
    spill_failed: Cell<bool>,
}

impl Session {
    pub(crate) fn new(
        name: &str,
        spec: Spec,
        limits: &Rc<Limits>,
        spill_dir: &Path,
        raw: bool,
    ) -> std::io::Result<Rc<Session>> {
        let spill = limits.spill.map(|size| (spill_dir, size));
        Ok(Rc::new(Session {
            name: name.to_owned(),
            epoch: uuid::Uuid::new_v4().simple().to_string(),
            raw,
            spec: RefCell::new(spec),
            limits: limits.clone(),
            history: RefCell::new(History::new(limits.ring, spill)?),
            state: Cell::new(State::Idle),
            process: RefCell::new(None),
            input: Input::default(),
            last_exit: Cell::new(None),
            holder: RefCell::new(None),
            writer: RefCell::new(None),
            room: Notify::new(),
            ended: Notify::new(),
            watchers: RefCell::new(Vec::new()),
            controllers: Cell::new(0),
            departures: Cell::new(0),
            paused: Cell::new(false),
            start_again: Cell::new(false),
            spill_failed: Cell::new(false),
        }))
    }

    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    pub(crate) fn is_pty(&self) -> bool {
        self.spec.borrow().pty.is_some()
    }

    /// The event at `seq`.
    pub(crate) fn at(&self, seq: u64) -> At {
        self.history.borrow().at(seq)
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.history.borrow().next_seq()
    }

    pub(crate) fn position(&self, seq: u64) -> Option<u64> {
        self.history.borrow().position(seq)
    }

    pub(crate) fn last_exit(&self) -> Option<u64> {
        self.last_exit.get()
    }

    /// The fields of `state_sync` and `session_list`.
    pub(crate) fn describe(&self) -> serde_json::Value {
        let history = self.history.borrow();
        json!({
            "session": self.name,
            "epoch": self.epoch,
            "state": self.state.get().name(),
            "paused": self.paused.get(),
            "pty": self.is_pty(),
            "pid": self.process.borrow().as_ref().map(Process::pid),
            "writer": self.writer.borrow().as_ref().map(|client| client.label()),
            "first_seq": history.first_seq(),
            "next_seq": history.next_seq(),
            "controllers": self.controllers.get(),
            "command": self.spec.borrow().argv.first().map(|word| word.to_string_lossy().into_owned()),
        })
    }

    // ---- events -----------------------------------------------------------------------------------------

    pub(crate) fn watch(&self, wake: &Rc<Wake>) {
        let mut watchers = self.watchers.borrow_mut();
        watchers.retain(|other| other.strong_count() > 0);
        watchers.push(Rc::downgrade(wake));
    }

    pub(crate) fn unwatch(&self, wake: &Rc<Wake>) {
        self.watchers.borrow_mut().retain(|other| !std::ptr::eq(other.as_ptr(), Rc::as_ptr(wake)));
    }

    fn push(&self, payload: Bytes, bytes: u64) {
        let keep = self.keep();
        let trimmed = {
            let mut history = self.history.borrow_mut();
            history.push(payload, bytes);
            history.trim(keep)
        };
        if let Err(error) = trimmed
            && !self.spill_failed.replace(true)
        {
            output::warning(TOOL, &format!("session {}: spill file given up: {error}", self.name));
        }
        for watcher in self.watchers.borrow().iter() {
            if let Some(wake) = watcher.upgrade() {
                wake.wake();
            }
        }
    }

    fn push_output(&self, stream: &str, data: &[u8], partial: bool) {
        let payload = if self.raw {
            // A raw connection carries lines and nothing else.
            if stream == "stderr" {
                return;
            }
            Bytes::copy_from_slice(data)
        } else {
            protocol::output(&self.name, self.next_seq(), stream, data, partial).into()
        };
        self.push(payload, data.len() as u64);
    }

    fn push_exit(&self, code: Option<i32>, signal: Option<i32>) {
        let seq = self.next_seq();
        self.last_exit.set(Some(seq));
        if self.raw {
            return self.push(Bytes::new(), 0);
        }
        let now = time::now_rfc3339();
        let exit = json!({ "type": "exit", "session": self.name, "seq": seq, "code": code, "signal": signal, "time": now });
        self.push(exit.to_string().into(), 0);
        if !self.start_again.get() {
            let reason = if self.state.get() == State::Stopping { "stopped" } else { "exited" };
            let closed = json!({
                "type": "closed", "session": self.name, "seq": self.next_seq(), "reason": reason, "time": now,
            });
            self.push(closed.to_string().into(), 0);
        }
    }

    // ---- flow: output waits for the writer, within reason -------------------------------------------------

    /// Events from here on must not be dropped; `u64::MAX` where nobody is waited for.
    fn keep(&self) -> u64 {
        let holder = self.holder.borrow();
        let Some(holder) = holder.as_ref() else { return u64::MAX };
        let held = if holder.client.is_connected() {
            holder.moved.elapsed() < self.limits.stall || self.limits.stall.is_zero()
        } else {
            holder.client.away() < self.limits.hold
        };
        if held { holder.acked + 1 } else { u64::MAX }
    }

    /// Waits while the history is full of what the writer has not seen.
    async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            if !self.history.borrow().is_full(self.keep()) {
                return;
            }
            // The holder's patience has to be looked at again, also when nothing else happens.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(250), room).await;
        }
    }

    /// `client` has everything up to `seq`.
    pub(crate) fn ack(&self, client: &Rc<Client>, seq: u64) {
        let mut holder = self.holder.borrow_mut();
        if let Some(holder) = holder.as_mut().filter(|holder| Rc::ptr_eq(&holder.client, client)) {
            if seq > holder.acked && seq < self.next_seq() {
                holder.acked = seq;
            }
            holder.moved = Instant::now();
            self.room.notify_waiters();
        }
    }

    /// From now on output waits for `client`, which has been sent everything up to `sent`. What it has
    /// acknowledged before counts where that is less: the rest may still be on its way to a disk or a reader, and a
    /// client that is killed then comes back for it.
    pub(crate) fn hold_for(&self, client: &Rc<Client>, sent: u64) {
        let before =
            self.holder.borrow().as_ref().filter(|old| Rc::ptr_eq(&old.client, client)).map(|old| old.acked);
        let acked = before.map_or(sent, |acked| acked.min(sent));
        *self.holder.borrow_mut() = Some(Holder { client: client.clone(), acked, moved: Instant::now() });
        self.room.notify_waiters();
    }

    // ---- who is there ---------------------------------------------------------------------------------------

    /// Makes `client` the writer; a writer that has no connection gives way, one that has does not unless `take`.
    pub(crate) fn claim(&self, client: &Rc<Client>, take: bool) -> Result<(), Refusal> {
        let mut writer = self.writer.borrow_mut();
        match writer.as_ref() {
            Some(other) if Rc::ptr_eq(other, client) => {}
            Some(other) if other.is_connected() && !take => {
                let message = format!("session {} has a writer: {}", self.name, other.label());
                return Err(Refusal(Code::WriterTaken, message));
            }
            _ => *writer = Some(client.clone()),
        }
        Ok(())
    }

    pub(crate) fn unclaim(&self, client: &Rc<Client>) {
        let mut writer = self.writer.borrow_mut();
        if writer.as_ref().is_some_and(|other| Rc::ptr_eq(other, client)) {
            *writer = None;
        }
        let mut holder = self.holder.borrow_mut();
        if holder.as_ref().is_some_and(|holder| Rc::ptr_eq(&holder.client, client)) {
            *holder = None;
            self.room.notify_waiters();
        }
    }

    /// A controller came.
    pub(crate) fn controller_came(&self) {
        self.controllers.set(self.controllers.get() + 1);
        if self.paused.replace(false) {
            self.signal_group(rustix::process::Signal::CONT);
            output::notice(TOOL, &format!("session {}: a controller is back: continued", self.name));
        }
    }

    /// A controller went; after the last one the dead-man policy counts down.
    pub(crate) fn controller_went(self: &Rc<Self>) {
        self.controllers.set(self.controllers.get().saturating_sub(1));
        let (policy, after) = {
            let spec = self.spec.borrow();
            (spec.alone, spec.alone_after)
        };
        if self.controllers.get() > 0 || policy == Alone::Keep {
            return;
        }
        let departure = self.departures.get() + 1;
        self.departures.set(departure);
        let session = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(after).await;
            let still_alone = session.controllers.get() == 0 && session.departures.get() == departure;
            if !still_alone || session.state.get() != State::Running {
                return;
            }
            let gone = format!("session {}: no controller for {} s", session.name, after.as_secs_f64());
            match policy {
                Alone::Keep => {}
                Alone::Stop => {
                    output::notice(TOOL, &format!("{gone}: stopping it"));
                    session.stop(Graces::default());
                }
                Alone::Pause => {
                    output::notice(TOOL, &format!("{gone}: paused"));
                    session.paused.set(true);
                    session.signal_group(rustix::process::Signal::STOP);
                }
            }
        });
    }
}
