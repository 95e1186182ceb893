//! The restart rule: a pure function of (state, event, now) to (state, actions).
//!
//! Time is a [`Duration`] since any fixed moment of a clock that never jumps. Nothing here reads a clock,
//! starts a process or writes anything, so that hours of crashes can be tested in a millisecond.

mod backoff;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use backoff::Backoff;

/// A moment on a clock that never jumps.
pub(crate) type Moment = Duration;

/// Which exits are answered with a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    /// Exits that are not a success
    OnFailure,
    /// Every exit
    Always,
    /// None
    Never,
}

/// The rule's parameters.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Restarts in a row before giving up; 0 means never give up.
    pub(crate) max_attempts: u32,
    /// How long to wait before each.
    pub(crate) backoff: Backoff,
    /// A run this long sets the count back.
    pub(crate) stable_after: Duration,
    /// Which exits are unexpected.
    pub(crate) policy: Policy,
    /// Statuses (128 + n for a signal) that are a success.
    pub(crate) success: Vec<u8>,
    /// Statuses that another try cannot mend.
    pub(crate) no_retry: Vec<u8>,
    /// From the stop signal to SIGKILL.
    pub(crate) stop_grace: Duration,
    /// Whether to stay, failed, and wait for a restart by hand.
    pub(crate) hold: bool,
    /// Whether the command says itself when it is up.
    pub(crate) ready: bool,
    /// How long it may take to say so.
    pub(crate) ready_timeout: Option<Duration>,
}

/// How an incarnation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By exit(3).
    Code(u8),
    /// By a signal.
    Signal(u8),
    /// It never began: the command cannot be executed (126 or 127).
    NoExec(u8),
    /// It never began, for want of resources.
    NoFork,
}

impl Exit {
    /// As a shell reports it.
    pub(crate) fn status(self) -> u8 {
        match self {
            Exit::Code(code) | Exit::NoExec(code) => code,
            Exit::Signal(signal) => 128u8.saturating_add(signal),
            Exit::NoFork => 125,
        }
    }
}

/// What the engine knows about an end that the exit status does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    Plain,
    /// The reader of our stdout is gone.
    OutputClosed,
    /// The user ended it from the terminal that it had (Ctrl-C).
    Interrupted,
}

/// Why a running child is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A stop was asked for.
    Stop,
    /// A restart was asked for.
    Restart,
    /// No output and no heartbeat.
    Stall,
    /// No `WATCHDOG=1`.
    Watchdog,
    /// No `READY=1`.
    NotReady,
}

impl Cause {
    /// As it is recorded.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Cause::Stop => "stop",
            Cause::Restart => "restart",
            Cause::Stall => "stall",
            Cause::Watchdog => "watchdog",
            Cause::NotReady => "not ready",
        }
    }
}

/// How it all ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By itself, with success.
    Completed(u8),
    /// As asked; the status of the child, if there was one, and whether it had to be killed.
    Stopped {
        /// The last exit, where something was running.
        exit: Option<Exit>,
        /// SIGKILL was needed.
        killed: bool,
        /// It was given up before, and held.
        given_up: bool,
    },
    /// The user ended it from its terminal.
    Interrupted(Exit),
    /// Given up.
    Failed(Exit),
}

/// Where the supervisor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was started yet.
    Idle,
    /// Asked for, and not yet up.
    Starting {
        /// When it was asked for.
        since: Moment,
    },
    /// Up.
    Up {
        /// Since when.
        since: Moment,
    },
    /// Being ended.
    Ending {
        /// What for.
        cause: Cause,
        /// When to use SIGKILL.
        kill_at: Moment,
        /// It has been used.
        killed: bool,
        /// It was up.
        up: bool,
    },
    /// Waiting to start again.
    Backoff {
        /// When that is due.
        until: Moment,
    },
    /// Given up, and held.
    Held,
    /// Over.
    Over(Outcome),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Begin.
    Start,
    /// The child runs its program.
    Spawned,
    /// The child said READY=1.
    Ready,
    /// The child, and all that came of it, has ended or never began.
    Exited(Exit, Manner),
    /// Time passed.
    Tick,
    /// Stop it, with this signal.
    Stop(u8),
    /// Start it anew.
    Restart,
    /// Set the count back.
    Reset,
    /// It is alive but does not live.
    Fault(Cause),
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the command; the attempt that this is, 0 for a first or wanted start.
    Spawn(u32),
    /// Send this signal to the child's group, then SIGCONT.
    Signal(u8),
    /// End it and all its descendants with SIGKILL.
    Kill,
    /// Say that it crashed and when it comes back.
    Crashed(Exit, Duration),
    /// Say that it is given up.
    GaveUp(Exit),
    /// End with this.
    Finish(Outcome),
}

/// The supervisor's state of mind.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Where it is.
    pub(crate) phase: Phase,
    /// Unexpected ends in a row.
    pub(crate) failures: u32,
    /// The last failure, while it counts.
    pub(crate) last: Option<Exit>,
    rng: fastrand::Rng,
}

impl State {
    /// Before the start, with `failures` carried over from a supervisor that was lost.
    pub(crate) fn new(failures: u32, seed: u64) -> State {
        State { phase: Phase::Idle, failures, last: None, rng: fastrand::Rng::with_seed(seed) }
    }

    /// Attempts used, as shown: never more than there are.
    pub(crate) fn attempts(&self, rule: &Rule) -> u32 {
        if rule.max_attempts == 0 { self.failures } else { self.failures.min(rule.max_attempts) }
    }

    /// When [`Event::Tick`] is due next; `None` while nothing but events can change anything.
    pub(crate) fn deadline(&self, rule: &Rule) -> Option<Moment> {
        match self.phase {
            Phase::Starting { since } if rule.ready => rule.ready_timeout.map(|limit| since + limit),
            Phase::Up { since } if self.failures > 0 => Some(since.saturating_add(rule.stable_after)),
            Phase::Ending { kill_at, killed: false, .. } => Some(kill_at),
            Phase::Backoff { until } => Some(until),
            _ => None,
        }
    }

    /// One step. Timers that were due before `now` take effect first.
    pub(crate) fn step(mut self, rule: &Rule, event: Event, now: Moment) -> (State, Vec<Action>) {
        let mut actions = Vec::new();
        let overtaken = match event {
            // A stop that arrives together with the end of a backoff: nothing is started any more.
            Event::Stop(_) => matches!(self.phase, Phase::Backoff { .. }),
            // It ended just when it was to be killed.
            Event::Exited(..) => matches!(self.phase, Phase::Ending { .. }),
            _ => false,
        };
        if !overtaken {
            self.timers(rule, now, &mut actions);
        }
        match event {
            Event::Tick => {}
            Event::Start => {
                if self.phase == Phase::Idle {
                    self.spawn(now, &mut actions);
                }
            }
            Event::Spawned => {
                if matches!(self.phase, Phase::Starting { .. }) && !rule.ready {
                    self.phase = Phase::Up { since: now };
                }
            }
            Event::Ready => {
                if matches!(self.phase, Phase::Starting { .. }) {
                    self.phase = Phase::Up { since: now };
                }
            }
            Event::Exited(exit, manner) => self.exited(rule, exit, manner, now, &mut actions),
            Event::Stop(signal) => self.stop(rule, signal, now, &mut actions),
            Event::Restart => self.restart(rule, now, &mut actions),
            Event::Reset => self.failures = 0,
            Event::Fault(cause) => {
                if matches!(self.phase, Phase::Starting { .. } | Phase::Up { .. }) {
                    self.end(rule, cause, now, libc_term(), &mut actions);
                }
            }
        }
        (self, actions)
    }

    fn timers(&mut self, rule: &Rule, now: Moment, actions: &mut Vec<Action>) {
        if self.deadline(rule).is_none_or(|due| now < due) {
            return;
        }
        match &mut self.phase {
            Phase::Starting { .. } => self.end(rule, Cause::NotReady, now, libc_term(), actions),
            Phase::Up { .. } => self.failures = 0,
            Phase::Ending { killed, .. } => {
                *killed = true;
                actions.push(Action::Kill);
            }
            Phase::Backoff { .. } => self.spawn(now, actions),
            Phase::Idle | Phase::Held | Phase::Over(_) => {}
        }
    }

    fn spawn(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.phase = Phase::Starting { since: now };
        actions.push(Action::Spawn(self.failures));
    }

    fn end(&mut self, rule: &Rule, cause: Cause, now: Moment, signal: u8, actions: &mut Vec<Action>) {
        let up = matches!(self.phase, Phase::Up { .. });
        self.phase = Phase::Ending { cause, kill_at: now.saturating_add(rule.stop_grace), killed: false, up };
        actions.push(Action::Signal(signal));
    }

    fn finish(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.phase = Phase::Over(outcome);
        actions.push(Action::Finish(outcome));
    }

    fn stop(&mut self, rule: &Rule, signal: u8, now: Moment, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Idle | Phase::Backoff { .. } => {
                self.finish(Outcome::Stopped { exit: None, killed: false, given_up: false }, actions);
            }
            Phase::Held => {
                let exit = self.last;
                self.finish(Outcome::Stopped { exit, killed: false, given_up: true }, actions);
            }
            Phase::Starting { .. } | Phase::Up { .. } => self.end(rule, Cause::Stop, now, signal, actions),
            Phase::Ending { cause: Cause::Stop, killed, .. } => {
                if !*killed {
                    *killed = true;
                    actions.push(Action::Kill);
                }
            }
            // It has its signal already; from now on it is a stop.
            Phase::Ending { cause, .. } => *cause = Cause::Stop,
            Phase::Over(_) => {}
        }
    }

    fn restart(&mut self, rule: &Rule, now: Moment, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Idle | Phase::Backoff { .. } | Phase::Held => {
                self.failures = 0;
                self.spawn(now, actions);
            }
            Phase::Starting { .. } | Phase::Up { .. } => {
                self.end(rule, Cause::Restart, now, libc_term(), actions);
            }
            Phase::Ending { cause: Cause::Stop, .. } | Phase::Over(_) => {}
            Phase::Ending { cause, .. } => *cause = Cause::Restart,
        }
    }

    fn exited(&mut self, rule: &Rule, exit: Exit, manner: Manner, now: Moment, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::Ending { cause: Cause::Stop, killed, .. } => {
                self.finish(Outcome::Stopped { exit: Some(exit), killed, given_up: false }, actions);
            }
            Phase::Ending { cause: Cause::Restart, .. } => {
                self.failures = 0;
                self.spawn(now, actions);
            }
            Phase::Ending { .. } => self.failed(rule, exit, now, actions),
            Phase::Starting { .. } | Phase::Up { .. } => {
                let success =
                    matches!(exit, Exit::Code(_) | Exit::Signal(_)) && rule.success.contains(&exit.status());
                match manner {
                    Manner::Interrupted => self.finish(Outcome::Interrupted(exit), actions),
                    Manner::OutputClosed => self.finish(Outcome::Completed(0), actions),
                    Manner::Plain if success && rule.policy != Policy::Always => {
                        self.finish(Outcome::Completed(exit.status()), actions);
                    }
                    Manner::Plain => self.failed(rule, exit, now, actions),
                }
            }
            Phase::Idle | Phase::Backoff { .. } | Phase::Held | Phase::Over(_) => {}
        }
    }

    fn failed(&mut self, rule: &Rule, exit: Exit, now: Moment, actions: &mut Vec<Action>) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(exit);
        let hopeless = match exit {
            Exit::NoExec(_) => true,
            Exit::Code(_) | Exit::Signal(_) => rule.no_retry.contains(&exit.status()),
            Exit::NoFork => false,
        };
        let exhausted = rule.max_attempts != 0 && self.failures > rule.max_attempts;
        if hopeless || exhausted || rule.policy == Policy::Never {
            actions.push(Action::GaveUp(exit));
            if rule.hold {
                self.phase = Phase::Held;
            } else {
                self.finish(Outcome::Failed(exit), actions);
            }
            return;
        }
        let delay = rule.backoff.delay(self.failures, &mut self.rng);
        actions.push(Action::Crashed(exit, delay));
        if delay.is_zero() {
            self.spawn(now, actions);
        } else {
            self.phase = Phase::Backoff { until: now.saturating_add(delay) };
        }
    }
}

/// SIGTERM's number, the same on every Linux.
const fn libc_term() -> u8 {
    15
}
