//! Starting the command, and what is heard of it.

use std::os::fd::AsFd as _;
use std::time::Duration;

use agor_common::mail::presence::{self, Lease};
use agor_common::process::Identity;
use agor_common::sessions::IncarnationEnd;
use agor_common::{output, telemetry, time};
use rustix::process::Signal;

use super::setup::TAIL;
use super::{Child, Engine, KEEPER, LAST_WORDS, LAST_WORDS_AT_MOST, PendingExit, UNBORN};
use crate::clock;
use crate::command;
use crate::keeper::launch;
use crate::protocol::{self, Command, Report};
use crate::pump::{self, Pump};
use crate::recorder::Note;
use crate::rule::{Cause, Event, Exit, Manner, Moment, Phase};
use crate::sys::wait::{self, Ended, Peek};

impl Engine {
    /// Starts the command as soon as the last incarnation's output has been passed on.
    pub(super) fn try_spawn(&mut self) {
        if self.out.as_ref().is_some_and(|pump| !pump.shared.is_idle()) {
            // Woken when it is.
            return;
        }
        let Some(attempt) = self.pending_spawn.take() else { return };
        self.run.incarnation += 1;
        self.failure = None;
        self.incarnation_span = tracing::info_span!(
            parent: &self.span,
            "supervise.incarnation",
            agor.name = %self.config.name,
            agor.agent = self.config.agent.as_deref().unwrap_or_default(),
            agor.incarnation = self.run.incarnation,
            agor.attempt = attempt,
        );
        if self.keeper.is_none() {
            match self.plan.launch() {
                Ok(keeper) => self.keeper = Some(keeper),
                Err(error) => return self.not_started(attempt, &format!("start the keeper: {error}")),
            }
        }
        let open = |pump: Option<&Pump>| pump.map(Pump::open).transpose();
        let fds = match (open(self.out.as_ref()), open(self.err.as_ref())) {
            (Ok(out), Ok(err)) => (out, err),
            (Err(error), _) | (_, Err(error)) => {
                return self.not_started(attempt, &format!("make a pipe: {error}"));
            }
        };
        let foreground = self.terminal.as_ref().is_some_and(crate::terminal::Terminal::is_ours);
        self.foreground = foreground;
        let command = Command::Spawn { env: self.variables(attempt), stdout: None, stderr: None, foreground };
        if self.recorder.is_none() {
            // Before the command, which may ask for its state, or give orders, as soon as it runs.
            self.publish();
        }
        let sent = self
            .keeper
            .as_ref()
            .map(|keeper| protocol::send_command(&keeper.socket, &command, launch::borrow(&fds)));
        // Where it could not be sent the keeper is gone, and the next poll says so.
        drop((fds, sent));
    }

    /// What differs between incarnations.
    fn variables(&self, attempt: u32) -> Vec<u8> {
        let mut env = Vec::new();
        let mut set = |name: &str, value: &str| {
            env.extend_from_slice(format!("{name}={}\0", value.replace('\0', "")).as_bytes());
        };
        set("AGOR_INCARNATION", &self.run.incarnation.to_string());
        set("AGOR_ATTEMPT", &attempt.to_string());
        if self.config.agent.is_some() {
            // Its heartbeats know whether we still live.
            let lease = Lease::of(&self.run.supervisor);
            set(presence::SUPERVISOR, &serde_json::to_string(&lease).unwrap_or_default());
        }
        if let Some(last) = &self.run.last_exit {
            set("AGOR_LAST_EXIT", last);
        }
        if let Some(listener) = &self.listener {
            set("NOTIFY_SOCKET", &listener.address.to_string_lossy());
        }
        if let Some(watchdog) = self.config.watchdog {
            set("WATCHDOG_USEC", &watchdog.as_micros().to_string());
        }
        for (name, value) in telemetry::child_env(&self.incarnation_span) {
            set(name, &value);
        }
        env
    }

    /// It could not even be tried.
    fn not_started(&mut self, attempt: u32, why: &str) {
        self.note_start(attempt, None);
        self.ended_without_start(Exit::NoFork, why, "not started");
    }

    fn note_start(&mut self, attempt: u32, pid: Option<i32>) {
        self.note(Note::Started { incarnation: self.run.incarnation, attempt, pid, at_ms: time::now_ms() });
    }

    fn ended_without_start(&mut self, exit: Exit, why: &str, reason: &str) {
        self.failure = Some(why.to_owned());
        self.run.reason = Some(reason.to_owned());
        let end = IncarnationEnd {
            ended_ms: time::now_ms(),
            exit_code: match exit {
                Exit::NoExec(code) => Some(code.into()),
                _ => None,
            },
            reason: reason.to_owned(),
            last_error: Some(why.to_owned()),
            ..IncarnationEnd::default()
        };
        self.note(Note::Ended { incarnation: self.run.incarnation, end: Box::new(end) });
        self.never_started = Some(exit);
    }

    /// What the keeper reports.
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Started(pid) => self.started(pid),
            Report::NotStarted { errno, exec } => {
                self.keeper_due = None;
                self.note_start(self.state.failures, None);
                let program = self.config.command[0].to_string_lossy().into_owned();
                if exec && !command::is_passing(errno) {
                    let path = std::env::var_os("PATH");
                    let candidates = command::candidates(&self.config.command[0], path.as_deref());
                    let (code, why) = command::exec_failure(&candidates, &program, errno);
                    self.ended_without_start(Exit::NoExec(code), &why, "exec failed");
                } else {
                    let why = std::io::Error::from_raw_os_error(errno);
                    self.ended_without_start(
                        Exit::NoFork,
                        &format!("cannot start {program}: {why}"),
                        "not started",
                    );
                }
            }
            Report::Exited { ended, at_ns, stuck } => {
                self.keeper_due = None;
                let at = Duration::from_nanos(at_ns.unsigned_abs());
                let pending = PendingExit { ended, at, stuck, until: at + LAST_WORDS };
                self.pending_exit = Some(pending);
                if self.err.as_ref().is_none_or(|pump| pump.shared.is_idle()) {
                    self.finish_exit();
                }
            }
            Report::Stopped(signal) => self.suspended(signal),
        }
    }

    fn started(&mut self, pid: i32) {
        let now = clock::now();
        let pid = self.outer_pid(pid);
        self.child = Some(Child { pid, started: now });
        if let Some(terminal) = &mut self.terminal {
            // In a shell's background it was never ours to lend.
            terminal.lent = self.foreground && !terminal.is_ours();
        }
        self.liveness.begin(now);
        self.note_start(self.state.failures, Some(pid));
        self.run.child = Identity::of(pid);
        self.run.child_since_ms = Some(time::now_ms());
        if self.run.incarnation > 1 {
            self.run.restarts += 1;
            telemetry::count("agor.supervise.restarts", 1, &[("agor.name", &self.config.name)]);
        }
        // Also where it is not up yet: its pid is to be seen.
        self.dirty = true;
        self.emit("started", &[("pid", pid.into())]);
        if self.config.rule.ready {
            self.note(Note::Starting);
        }
        self.event(Event::Spawned, now);
    }

    /// The command's number as it is outside of the keeper's PID namespace.
    fn outer_pid(&self, pid: i32) -> i32 {
        if self.plan.isolation != crate::keeper::Isolation::Pid {
            return pid;
        }
        let Some(keeper) = &self.keeper else { return pid };
        let children = format!("/proc/{0}/task/{0}/children", keeper.pid);
        let inner = |pid: &i32| -> Option<i32> {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            line.split_ascii_whitespace().next_back()?.parse().ok()
        };
        std::fs::read_to_string(children)
            .ok()
            .and_then(|list| {
                let mut pids = list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
                pids.find(|outer| inner(outer) == Some(pid))
            })
            .unwrap_or(pid)
    }

    /// Whether the last words on stderr are worth some more time.
    pub(super) fn waits_for_words(&mut self, now: Moment) -> bool {
        let (Some(pending), Some(err)) = (&mut self.pending_exit, &self.err) else { return false };
        let most = pending.at + LAST_WORDS_AT_MOST;
        // What could not be ended may keep its end of the pipe.
        if err.shared.is_idle() || now >= most || pending.stuck > 0 {
            return false;
        }
        if pump::is_full(std::io::stderr().as_fd()) {
            // Its reader is slow. A start does not wait for him; the end does, later, in any case.
            let asked = matches!(self.state.phase, Phase::Ending { .. });
            let (exit, _) = command::decode(pending.ended.status);
            let event = Event::Exited(exit, Manner::Plain);
            let (after, _) = self.state.clone().step(&self.config.rule, event, pending.at);
            if asked || !matches!(after.phase, Phase::Over(_) | Phase::Held) {
                return false;
            }
        }
        pending.until = (now + LAST_WORDS).min(most);
        true
    }

    /// The end of an incarnation, with its last words.
    pub(super) fn finish_exit(&mut self) {
        let Some(PendingExit { ended, at, stuck, .. }) = self.pending_exit.take() else { return };
        let Some(child) = self.child.take() else { return };
        let (exit, core_dumped) = command::decode(ended.status);
        let had_terminal = self.terminal.as_ref().is_some_and(|terminal| terminal.lent);
        if let Some(terminal) = &mut self.terminal {
            terminal.take_back();
        }
        self.liveness.end();
        if let Some(listener) = &self.listener {
            // What the dead said does not count for the living.
            listener.read();
        }
        let tail = self.err.as_ref().map(|pump| pump.shared.take_tail()).unwrap_or_default();
        // Masked as a whole: half of a secret would not be known for one.
        let words = command::last_lines(&self.mask.apply(command::whole_words(&tail, TAIL).as_ref()), 10);
        let manner = self.manner(exit, had_terminal);
        let ending = match self.state.phase {
            Phase::Ending { cause, .. } => Some(cause),
            _ => None,
        };
        let what = match ending {
            Some(Cause::Stall) => format!("stalled: no output and no heartbeat; {}", command::describe(exit)),
            Some(Cause::Watchdog) => format!("watchdog: no WATCHDOG=1; {}", command::describe(exit)),
            Some(Cause::NotReady) => format!("not ready in time; {}", command::describe(exit)),
            _ => command::describe(exit),
        };
        self.failure = Some(if words.is_empty() { what } else { format!("{what}: {words}") });
        self.run.last_exit = Some(command::describe(exit));
        self.run.child = None;
        self.run.child_since_ms = None;
        self.run.status_text = None;
        if stuck > 0 {
            let name = &self.config.name;
            output::warning(crate::TOOL, &format!("{name}: {stuck} of its processes could not be ended"));
            self.emit("stuck", &[("processes", stuck.into())]);
        }
        let started = child.started;
        // A start with no delay comes first and has the next number; the record is this one's.
        let incarnation = self.run.incarnation;
        let failure = self.failure.clone();
        let before = self.state.failures;
        self.event(Event::Exited(exit, manner), at.max(started));
        let failed = self.state.failures > before;
        let reason = match (ending, manner) {
            (Some(cause), _) => cause.word(),
            (None, Manner::OutputClosed) => "output closed",
            (None, Manner::Interrupted) => "interrupted",
            (None, Manner::Plain) if failed => "crash",
            (None, Manner::Plain) => "completed",
        };
        self.run.reason = Some(reason.to_owned());
        let ran = at.saturating_sub(started);
        self.note_end(incarnation, exit, core_dumped, &ended, ran, reason, failure.filter(|_| failed));
    }

    #[expect(clippy::too_many_arguments, reason = "a row has that many columns")]
    fn note_end(
        &mut self,
        incarnation: u64,
        exit: Exit,
        core_dumped: bool,
        ended: &Ended,
        ran: Duration,
        reason: &str,
        last_error: Option<String>,
    ) {
        let end = IncarnationEnd {
            ended_ms: time::now_ms(),
            duration_s: ran.as_secs_f64(),
            exit_code: match exit {
                Exit::Code(code) | Exit::NoExec(code) => Some(code.into()),
                Exit::Signal(_) | Exit::NoFork => None,
            },
            signal: match exit {
                Exit::Signal(signal) => Some(signal.into()),
                _ => None,
            },
            core_dumped,
            max_rss_bytes: ended.max_rss_kib * 1024,
            user_cpu_s: ended.user_us as f64 / 1e6,
            system_cpu_s: ended.system_us as f64 / 1e6,
            reason: reason.to_owned(),
            last_error,
        };
        self.note(Note::Ended { incarnation, end: Box::new(end) });
    }

    /// What the exit status does not say.
    fn manner(&self, exit: Exit, had_terminal: bool) -> Manner {
        let interrupted = matches!(exit, Exit::Signal(2) | Exit::Code(130));
        let hung_up = self.terminal.is_some() && crate::terminal::is_hung_up();
        if (had_terminal && interrupted) || hung_up {
            return Manner::Interrupted;
        }
        let closed = self.out.as_ref().is_some_and(|pump| pump.shared.is_closed()) || stdout_is_closed();
        if closed { Manner::OutputClosed } else { Manner::Plain }
    }

    /// The keeper has not said what became of a kill. It waits for an execve(2) that does not end (on a dead
    /// network file system), or is traced, and the rest is up to us.
    pub(super) fn give_keeper_up(&mut self) {
        self.keeper_lost("the keeper did not answer");
    }

    /// The keeper is gone, or has to go: everything that it kept is then our own child, or dead.
    pub(super) fn keeper_lost(&mut self, why: &str) {
        if self.keeper.take().is_none() {
            return;
        }
        self.keeper_due = None;
        let spare = |pid: i32| self.hooks.is_running(pid);
        let left = launch::end_orphans(&self.plan.isolation, spare, Duration::from_secs(5));
        let was_running = self.child.is_some();
        let was_asked = matches!(self.state.phase, Phase::Starting { .. } | Phase::Ending { .. });
        if self.pending_exit.is_some() || !(was_running || was_asked) {
            return;
        }
        output::warning(crate::TOOL, &format!("{}: {why}", self.config.name));
        if was_running {
            let ended = Ended { status: libc::SIGKILL, ..Ended::default() };
            let left = i64::try_from(left).unwrap_or(0);
            let now = clock::now();
            self.pending_exit = Some(PendingExit { ended, at: now, stuck: left, until: now });
            self.finish_exit();
        } else if self.pending_spawn.is_none() && self.never_started.is_none() {
            self.ended_without_start(Exit::NoFork, why, "not started");
        }
    }

    /// Sends the stop signal, then SIGCONT, so that a stopped command can act on it.
    pub(super) fn signal_to_end(&mut self, signal: u8) {
        if self.pending_spawn.take().is_some() {
            // It waits for the last one's output: there is nothing to signal, and it is not started any more.
            self.never_started = Some(Exit::NoFork);
            return;
        }
        self.signal_child(signal.into(), true);
        self.signal_child(libc::SIGCONT, true);
        self.let_unborn_go_on();
    }

    /// What was stopped before it executed its program can get no signal but by us, nor the keeper any order.
    pub(super) fn let_unborn_go_on(&mut self) {
        self.unborn_due = None;
        if let (Some(keeper), None, Phase::Ending { killed: false, .. }) =
            (&self.keeper, &self.child, self.state.phase)
        {
            launch::signal_unborn(keeper.pid, Signal::CONT);
            self.unborn_due = Some(clock::now() + UNBORN);
        }
    }

    /// Sends a signal to the command or its group. The keeper does it: only who reaps a process knows that
    /// its number is still its own.
    pub(super) fn signal_child(&mut self, signal: i32, group: bool) {
        self.order_keeper(&Command::Signal { signal, group });
    }

    /// SIGKILL for it and all its descendants.
    pub(super) fn kill(&mut self) {
        self.order_keeper(&Command::Kill);
        if let (Some(keeper), None) = (&self.keeper, &self.child) {
            launch::signal_unborn(keeper.pid, Signal::KILL);
        }
        self.keeper_due = Some(clock::now() + KEEPER);
    }

    fn order_keeper(&self, command: &Command) {
        if let Some(keeper) = &self.keeper {
            // One that is gone has ended everything.
            let _ = protocol::send_command(&keeper.socket, command, (None, None));
        }
    }

    /// SIGCHLD: the keeper, a hook, an orphan of the keeper's, or somebody who has an order and misses our files.
    pub(super) fn reap(&mut self) {
        self.dirty |= !self.has_place();
        if let Some(keeper) = &self.keeper {
            launch::go_on(keeper.pid);
        }
        while let Peek::Ended(pid) = wait::peek(None) {
            let Ok(ended) = wait::reap(pid) else { return };
            if self.hooks.is_running(pid) {
                self.hooks.ended(ended.status);
            }
            // The keeper's end shows on its socket.
        }
    }
}

/// Whether the reader of our stdout is gone: a command that cannot be heard any more has not crashed.
fn stdout_is_closed() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
