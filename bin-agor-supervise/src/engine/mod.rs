//! The event loop: the restart rule's eyes and hands.
//!
//! One thread waits in ppoll(2) for signals, the keeper, orders, what the command says, and the nearest
//! deadline; with nothing to wait for it never wakes. Databases, files of the command's streams and hooks
//! are others' work, and come after the command has been started again.

mod child;
mod close;
mod input;
mod publish;
mod setup;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use agor_common::Exit as Status;
use agor_common::sessions::Supervised;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::config::Config;
use crate::error::SuperviseError;
use crate::hooks::Hooks;
use crate::keeper::launch::{Link, Plan};
use crate::liveness::Liveness;
use crate::mask::Mask;
use crate::notify::{Listener, Manager};
use crate::place::{Answer, Place};
use crate::protocol::{self, Received};
use crate::pump::Pump;
use crate::recorder::{Note, Recorder};
use crate::rule::{Action, Event, Exit, Manner, Moment, Outcome, State};
use crate::sys::inherited;
use crate::sys::wait::Ended;
use crate::terminal::Terminal;

/// The running command.
struct Child {
    pid: i32,
    started: Moment,
}

/// An end that waits for the last words on stderr.
struct PendingExit {
    ended: Ended,
    at: Moment,
    stuck: i64,
    until: Moment,
}

/// The supervisor.
pub(crate) struct Engine {
    config: Config,
    state: State,
    plan: Plan,
    keeper: Option<Link>,
    /// When the keeper must have said what became of a kill.
    keeper_due: Option<Moment>,
    /// When to look again whether what is to end was stopped before it began.
    unborn_due: Option<Moment>,
    place: Option<Place>,
    run: Supervised,
    child: Option<Child>,
    pending_spawn: Option<u32>,
    pending_exit: Option<PendingExit>,
    /// A start came to nothing. It may be part of a step of the rule, so it is the next step and not one
    /// within that.
    never_started: Option<Exit>,
    /// What went wrong with the incarnation that is just over.
    failure: Option<String>,
    finished: Option<Outcome>,
    /// A stop came after the end.
    hurry: bool,
    signals: OwnedFd,
    wake: OwnedFd,
    control: Option<OwnedFd>,
    orders: Vec<u8>,
    /// What orders were answered, and when.
    answers: VecDeque<(Moment, Answer)>,
    listener: Option<Listener>,
    manager: Manager,
    manager_due: Option<Moment>,
    manager_again: Option<Moment>,
    told_ready: bool,
    stopping_told: bool,
    liveness: Liveness,
    out: Option<Pump>,
    err: Option<Pump>,
    recorder: Option<Recorder>,
    /// The last run of a predecessor that was killed.
    lost: Option<Box<Supervised>>,
    backlog: Vec<Note>,
    hooks: Hooks,
    terminal: Option<Terminal>,
    foreground: bool,
    mask: Mask,
    ignored: setup::Ignored,
    span: tracing::Span,
    incarnation_span: tracing::Span,
    dirty: bool,
    state_complained: bool,
}

/// Supervises as configured, until it is over; the status to exit with.
pub(crate) fn run(config: Config, inherited: crate::sys::signals::Mask) -> Result<Status, SuperviseError> {
    let mut engine = setup::engine(config, inherited)?;
    engine.event(Event::Start, clock::now());
    engine.stand_aside();
    engine.open_late();
    engine.serve();
    Ok(engine.close())
}

impl Engine {
    /// Leaves the processors to the keeper until it has said what became of the first start: threads and
    /// databases can wait, the command should not.
    fn stand_aside(&self) {
        let Some(keeper) = &self.keeper else { return };
        let patience = Timespec { tv_sec: 0, tv_nsec: FIRST_START.subsec_nanos().into() };
        // An interrupted or failed wait is a short one.
        let _ = poll(&mut [PollFd::new(&keeper.socket, PollFlags::IN)], Some(&patience));
    }

    /// Until there is an outcome and the streams have been passed on.
    fn serve(&mut self) {
        while self.finished.is_none() {
            if self.dirty {
                self.publish();
            }
            self.wait(None);
        }
    }

    /// Waits for something to happen, and deals with it.
    fn wait(&mut self, limit: Option<Moment>) {
        let now = clock::now();
        let due = [self.deadline(), limit].into_iter().flatten().min();
        let timeout = due.map(|due| {
            let left = due.saturating_sub(now);
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let ready = {
            let mut fds =
                vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
            let others = [
                self.keeper.as_ref().map(|keeper| &keeper.socket),
                self.control.as_ref(),
                self.listener.as_ref().map(Listener::fd),
            ];
            fds.extend(others.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
            // A poll that fails is taken as one that saw everything: each reader below copes with nothing.
            let failed = poll(&mut fds, timeout.as_ref()).is_err();
            let mut seen = fds.iter().map(|fd| failed || !fd.revents().is_empty());
            let mut next = |there: bool| there && seen.next().unwrap_or(false);
            let (signals, wake) = (next(true), next(true));
            let [keeper, control, listener] = others.map(|fd| next(fd.is_some()));
            Ready { signals, wake, keeper, control, listener }
        };
        // What a person wants comes before what the command does: a stop that arrives together with a
        // crash is a stop.
        if ready.signals {
            self.take_signals();
        }
        if ready.control {
            self.take_orders();
        }
        if ready.keeper {
            self.take_reports();
        }
        if ready.listener {
            self.take_words();
        }
        if ready.wake {
            let mut count = [0; 8];
            // Only a wake-up; what it is about is looked at below.
            let _ = rustix::io::read(&self.wake, &mut count);
        }
        self.timers(ready.wake);
    }

    fn timers(&mut self, woken: bool) {
        let now = clock::now();
        if let Some(pending) = &self.pending_exit
            && (self.err.as_ref().is_none_or(|pump| pump.shared.is_idle()) || now >= pending.until)
            && !self.waits_for_words(now)
        {
            self.finish_exit();
        }
        if let Some(exit) = self.never_started.take() {
            self.event(Event::Exited(exit, Manner::Plain), now);
        }
        if self.pending_spawn.is_some() {
            self.try_spawn();
        }
        if self.state.deadline(&self.config.rule).is_some_and(|due| now >= due) {
            self.event(Event::Tick, now);
        }
        if self.keeper_due.is_some_and(|due| now >= due) {
            self.give_keeper_up();
        }
        if self.unborn_due.is_some_and(|due| now >= due) {
            self.let_unborn_go_on();
        }
        self.look_after(now, woken);
        if self.manager_due.is_some_and(|due| now >= due) {
            self.manager.tell("WATCHDOG=1");
            self.manager_due = self.manager.watchdog.map(|every| now + every);
        }
        if self.manager_again.is_some_and(|due| now >= due) {
            self.tell_manager();
        }
        if !self.hooks.is_idle() {
            self.hooks.go_on(now);
        }
    }

    fn deadline(&self) -> Option<Moment> {
        let hooks = self.hooks.deadline();
        [
            self.never_started.map(|_| Moment::ZERO),
            self.state.deadline(&self.config.rule),
            self.liveness.deadline(),
            self.manager_due,
            self.manager_again,
            self.keeper_due,
            self.unborn_due,
            hooks,
            self.pending_exit.as_ref().map(|pending| pending.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// One step of the rule, and what it asks for.
    fn event(&mut self, event: Event, at: Moment) {
        let before = self.state.phase;
        let (state, actions) = self.state.clone().step(&self.config.rule, event, at);
        self.state = state;
        self.dirty |= before != self.state.phase || !actions.is_empty() || event == Event::Reset;
        for action in actions {
            match action {
                Action::Spawn(attempt) => {
                    self.pending_spawn = Some(attempt);
                    self.try_spawn();
                }
                Action::Signal(signal) => self.signal_to_end(signal),
                Action::Kill => self.kill(),
                Action::Crashed(exit, delay) => self.say_crashed(exit, delay, at),
                Action::GaveUp(exit) => self.say_gave_up(exit),
                Action::Finish(outcome) => self.finished = Some(outcome),
            }
        }
        if before != self.state.phase {
            self.phase_changed();
        }
    }

    fn take_reports(&mut self) {
        while let Some(keeper) = &self.keeper {
            match protocol::receive_report(&keeper.socket) {
                Received::Report(report) => self.report(report),
                Received::Nothing => return,
                Received::Gone => self.keeper_lost("the keeper was killed"),
            }
        }
    }
}

struct Ready {
    signals: bool,
    wake: bool,
    keeper: bool,
    control: bool,
    listener: bool,
}

/// How long the first start may keep us from everything else.
const FIRST_START: Duration = Duration::from_millis(50);
/// How long the keeper may take for a kill: longer than it waits itself before it calls a process stuck.
const KEEPER: Duration = Duration::from_secs(8);
/// Between looks at a command that is to end and has not begun.
const UNBORN: Duration = Duration::from_millis(50);
/// How long a slow reader of stderr is waited for, and with it the last words there, before a command is started
/// again without them.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// The same where no reader keeps them, or nothing is kept waiting: only we have not come to read them yet.
const LAST_WORDS_AT_MOST: Duration = Duration::from_secs(5);

/// What the caller had ignored.
fn ignored() -> setup::Ignored {
    setup::Ignored { hup: inherited::is_ignored(libc::SIGHUP), int: inherited::is_ignored(libc::SIGINT) }
}
