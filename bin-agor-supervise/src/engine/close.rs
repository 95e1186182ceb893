//! The end: what was written is passed on, what happened is recorded, and nothing is left.

use std::time::Duration;

use agor_common::Exit as Status;
use agor_common::{output, time};

use super::Engine;
use crate::clock;
use crate::keeper::launch;
use crate::rule::{Exit, Outcome};

/// How long the databases may take: a slow disk. A lock is given up after a second or two.
const RECORDS: Duration = Duration::from_secs(10);
/// How long the hook may take for each of the last events.
const HOOKS: Duration = Duration::from_secs(3);
/// And for all of them.
const ALL_HOOKS: Duration = Duration::from_secs(15);
/// How long our manager may take to read what it could not be told at once.
const MANAGER: Duration = Duration::from_secs(1);

impl Engine {
    /// Ends everything and returns the status to exit with.
    pub(super) fn close(mut self) -> Status {
        let outcome =
            self.finished.unwrap_or(Outcome::Stopped { exit: None, killed: false, given_up: false });
        // What the command wrote and a slow reader has not taken yet is waited for: as long as it takes
        // after an end of its own, for the grace period after a stop. Another stop ends the wait.
        let asked = matches!(outcome, Outcome::Stopped { .. } | Outcome::Interrupted(_));
        let patience = asked.then(|| clock::now() + self.config.rule.stop_grace);
        if !self.is_flushed() && self.dirty {
            self.publish();
        }
        while !self.is_flushed() && patience.is_none_or(|until| clock::now() < until) {
            if self.was_stopped() {
                break;
            }
            self.wait_for_pumps(patience);
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.take_back();
        }
        self.run.ended_ms = Some(time::now_ms());
        self.run.child = None;
        self.publish();
        // The keeper ends when our end of the socket closes; its own end is the last process's.
        let keeper = self.keeper.take().map(|keeper| keeper.pid);
        let begin = clock::now();
        let (mut until, mut over, mut at) = (begin + HOOKS, false, self.hooks.progress());
        loop {
            self.hooks.go_on(clock::now());
            // Its time is what it takes itself, and not what we take to come to it.
            if at != self.hooks.progress() {
                at = self.hooks.progress();
                until = (clock::now() + HOOKS).min(begin + ALL_HOOKS);
                over = false;
            }
            let now = clock::now();
            if self.manager_again.is_some_and(|due| now >= due) {
                self.tell_manager();
            }
            let untold = self.manager_again.filter(|_| now < begin + MANAGER);
            let busy = !self.hooks.is_idle() || keeper.is_some_and(is_running);
            if !(busy && !over || untold.is_some()) {
                break;
            }
            self.wait_for_signals(untold.map_or(until, |due| due.min(until)));
            over = now >= until;
            if let Some(pid) = keeper {
                launch::go_on(pid);
            }
        }
        self.hooks.abandon();
        self.reap();
        if let Some(recorder) = self.recorder.take()
            && !recorder.finish(RECORDS)
        {
            let name = &self.config.name;
            output::warning(crate::TOOL, &format!("{name}: its end could not be recorded"));
        }
        if let Some(place) = &self.place {
            place.tidy(self.config.auto_name);
        }
        status(outcome, self.config.failed_exit)
    }

    fn is_flushed(&self) -> bool {
        [&self.out, &self.err].into_iter().flatten().all(|pump| pump.shared.is_idle())
    }

    /// Whether it was asked, by a signal or an order, not to wait any more.
    fn was_stopped(&mut self) -> bool {
        let mut again = false;
        while let Some(signal) = crate::sys::signals::next(&self.signals) {
            again |= matches!(signal.number, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP);
        }
        self.reap();
        self.take_orders();
        if self.dirty {
            self.publish();
        }
        again || std::mem::take(&mut self.hurry)
    }

    fn wait_for_pumps(&mut self, until: Option<Duration>) {
        let control = self.control.as_ref();
        poll(
            &[Some(&self.signals), Some(&self.wake), control].into_iter().flatten().collect::<Vec<_>>(),
            until,
        );
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.wake, &mut count);
    }

    fn wait_for_signals(&mut self, until: Duration) {
        let due = self.hooks.deadline().map_or(until, |due| due.min(until));
        poll(&[&self.signals], Some(due));
        while crate::sys::signals::next(&self.signals).is_some() {}
        self.reap();
    }
}

fn poll(fds: &[&std::os::fd::OwnedFd], until: Option<Duration>) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = until.map(|until| {
        let left = until.saturating_sub(clock::now());
        Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
    });
    // An interrupted wait is a short one.
    let _ = poll(&mut fds, timeout.as_ref());
}

fn is_running(pid: i32) -> bool {
    agor_common::process::start_time(pid).is_some()
}

/// The status to exit with.
fn status(outcome: Outcome, failed_exit: Option<u8>) -> Status {
    if let (Outcome::Stopped { given_up: true, .. }, Some(code)) = (outcome, failed_exit) {
        return Status::child(code);
    }
    match outcome {
        Outcome::Completed(code) => Status::child(code),
        Outcome::Failed(exit) => Status::child(failed_exit.unwrap_or(exit.status())),
        Outcome::Interrupted(Exit::Signal(1) | Exit::Code(129)) => Status::signal(1),
        Outcome::Interrupted(_) => Status::signal(2),
        Outcome::Stopped { killed: true, .. } => Status::signal(9),
        // It ended by the signal that it was asked with: that is what was wanted.
        Outcome::Stopped { exit: Some(Exit::Signal(1 | 2 | 3 | 15) | Exit::NoFork) | None, .. } => Status::OK,
        Outcome::Stopped { exit: Some(Exit::Code(129 | 130 | 131 | 143)), .. } => Status::OK,
        Outcome::Stopped { exit: Some(exit), .. } => Status::child(exit.status()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let stopped = |exit| Outcome::Stopped { exit, killed: false, given_up: false };
        for (outcome, expected) in [
            (Outcome::Completed(0), 0),
            (Outcome::Completed(143), 143),
            (Outcome::Failed(Exit::Code(3)), 3),
            (Outcome::Failed(Exit::Signal(11)), 139),
            (stopped(None), 0),
            (stopped(Some(Exit::Signal(15))), 0),
            (stopped(Some(Exit::Code(7))), 7),
            (Outcome::Stopped { exit: Some(Exit::Signal(9)), killed: true, given_up: false }, 137),
        ] {
            assert_eq!(status(outcome, None).code(), expected, "{outcome:?}");
        }
        assert_eq!(status(Outcome::Failed(Exit::Code(3)), Some(99)).code(), 99);
        assert_eq!(status(stopped(Some(Exit::Code(7))), Some(99)).code(), 7);
        let held = Outcome::Stopped { exit: Some(Exit::Code(7)), killed: false, given_up: true };
        assert_eq!(status(held, Some(99)).code(), 99);
        assert_eq!(status(held, None).code(), 7);
    }
}
