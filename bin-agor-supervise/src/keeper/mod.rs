//! The keeper: a small process between the supervisor and the command.
//!
//! It is the subreaper of everything that comes of the command, so nothing can escape it by forking twice
//! or by setsid(2). When the command ends it ends what is left; when the supervisor is gone (its end of the
//! socket closes, whatever ended it) it ends everything, and itself. It never writes to a database, never
//! decides, and never restarts anything.

mod kill;
pub(crate) mod launch;

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::clock;
use crate::protocol::{self, Command, Report};
use crate::sys::spawn::{self, Once, SpawnError, Stack, Template};
use crate::sys::wait::{self, Ended, Peek};
use crate::sys::{signals, title};

pub(crate) use kill::Isolation;

/// How long a process may take to die of SIGKILL before it is reported as stuck.
const DRAIN: Duration = Duration::from_secs(5);

/// What the keeper needs.
pub(crate) struct Setup {
    /// How the command is started.
    pub(crate) template: Template,
    /// Its environment.
    pub(crate) env: Vec<CString>,
    /// By what its descendants are found.
    pub(crate) isolation: Isolation,
    /// The keeper's end.
    pub(crate) socket: OwnedFd,
    /// Further descriptors that must stay open: the lock on the name.
    pub(crate) keep: Vec<OwnedFd>,
}

/// The command ended, and the rest is being ended.
struct Draining {
    ended: Ended,
    at: Duration,
}

struct Keeper {
    setup: Setup,
    stack: Stack,
    child: Option<i32>,
    draining: Option<Draining>,
}

/// The keeper's life, in a process of its own. Signals are blocked already.
pub(crate) fn run(setup: Setup) -> u8 {
    title::set("agor-keeper");
    // Out of the supervisor's group, so that a signal for that group does not take the keeper along. As the
    // init of a namespace it may lead one already, which is as good.
    let _ = rustix::process::setpgid(None, None);
    if rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_err() {
        return 71;
    }
    // Somebody may have stopped it when the supervisor dies: then that is what makes it go on and see it.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::CONT));
    kill::close_others(&setup);
    let Ok(signals) = signals::descriptor() else { return 71 };
    let mut keeper = Keeper { setup, stack: Stack::new(), child: None, draining: None };
    keeper.serve(&signals)
}

impl Keeper {
    fn serve(&mut self, signals: &OwnedFd) -> u8 {
        loop {
            let timeout = self.draining.as_ref().map(|draining| {
                let left = (draining.at + DRAIN).saturating_sub(clock::now());
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
            });
            let (supervisor, children) = {
                let mut fds =
                    [PollFd::new(&self.setup.socket, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
                // An interrupted or failed poll is an empty one; everything below copes with that.
                let _ = poll(&mut fds, timeout.as_ref());
                (!fds[0].revents().is_empty(), !fds[1].revents().is_empty())
            };
            if children {
                while signals::next(signals).is_some() {}
                self.look();
            } else if self.draining.is_some() {
                self.drain();
            }
            if supervisor {
                match protocol::receive_command(&self.setup.socket) {
                    Ok(Some(command)) => self.obey(command),
                    Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                    Ok(None) | Err(_) => {
                        self.end_everything(signals);
                        return 0;
                    }
                }
            }
        }
    }

    fn report(&self, report: Report) {
        // A supervisor that cannot be told is gone, and the next poll says so.
        let _ = protocol::send_report(&self.setup.socket, report);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Spawn { env, stdout, stderr, foreground } => {
                let report = self.spawn(&env, stdout.as_ref(), stderr.as_ref(), foreground);
                drop((stdout, stderr));
                self.report(report);
                // It may have ended before its SIGCHLD could be told from the one of a helper.
                self.look();
            }
            Command::Signal { signal, group } => {
                let Some(signal) = crate::names::signal(signal) else {
                    return;
                };
                if let Some(child) = self.child.and_then(Pid::from_raw) {
                    // Not reaped yet, so the number is still this child's, alive or not.
                    let _ =
                        if group { kill_process_group(child, signal) } else { kill_process(child, signal) };
                }
            }
            Command::Kill => self.kill_all(),
        }
    }

    fn spawn(
        &mut self,
        overrides: &[u8],
        stdout: Option<&OwnedFd>,
        stderr: Option<&OwnedFd>,
        foreground: bool,
    ) -> Report {
        let mut once = Once { env: merge(&self.setup.env, overrides), foreground, ..Once::default() };
        once.stdout = stdout.map(rustix::fd::AsRawFd::as_raw_fd);
        once.stderr = stderr.map(rustix::fd::AsRawFd::as_raw_fd);
        let cgroup = self.setup.isolation.entrance();
        once.cgroup = cgroup.as_ref().map(rustix::fd::AsRawFd::as_raw_fd);
        match spawn::spawn(&self.setup.template, &once, &mut self.stack) {
            Ok(pid) => {
                self.child = Some(pid);
                Report::Started(pid)
            }
            Err(SpawnError::Clone(errno)) => Report::NotStarted { errno, exec: false },
            Err(SpawnError::Exec(errno)) => Report::NotStarted { errno, exec: true },
        }
    }

    /// Reaps what has ended. The command is looked at first without reaping: while it is a zombie its
    /// number, which is its group's number too, cannot become somebody else's.
    fn look(&mut self) {
        while let Peek::Ended(pid) = wait::peek(None) {
            if Some(pid) == self.child {
                let at = clock::now();
                self.kill_group();
                let ended = wait::reap(pid).unwrap_or_default();
                self.child = None;
                self.draining = Some(Draining { ended, at });
            } else if wait::reap(pid).is_err() {
                break;
            }
        }
        if let Some(child) = self.child {
            while let Some(signal) = wait::stop_change(child) {
                self.report(Report::Stopped(signal));
            }
        }
        self.drain();
    }

    /// Ends what the command left behind; reports its end when there is nothing more.
    fn drain(&mut self) {
        let Some(draining) = &self.draining else { return };
        let (ended, at) = (draining.ended, draining.at);
        let stuck = match wait::peek(None) {
            Peek::NoChild => 0,
            Peek::Ended(_) | Peek::Running => {
                self.setup.isolation.kill_descendants();
                if clock::now() < at + DRAIN {
                    return;
                }
                self.setup.isolation.count_children().max(1)
            }
        };
        self.draining = None;
        let at_ns = i64::try_from(at.as_nanos()).unwrap_or(i64::MAX);
        self.report(Report::Exited { ended, at_ns, stuck });
    }

    fn kill_group(&self) {
        if let Some(child) = self.child.and_then(Pid::from_raw) {
            // Where nobody is left in it there is nothing to do.
            let _ = kill_process_group(child, Signal::KILL);
        }
    }

    fn kill_all(&self) {
        self.kill_group();
        self.setup.isolation.kill_descendants();
    }

    /// The supervisor is gone.
    fn end_everything(&mut self, signals: &OwnedFd) {
        let until = clock::now() + 2 * DRAIN;
        self.kill_all();
        loop {
            while let Peek::Ended(pid) = wait::peek(None) {
                if Some(pid) == self.child {
                    self.kill_group();
                    self.child = None;
                }
                if wait::reap(pid).is_err() {
                    break;
                }
            }
            if wait::peek(None) == Peek::NoChild || clock::now() >= until {
                break;
            }
            self.kill_all();
            let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let _ = poll(&mut [PollFd::new(&signals.as_fd(), PollFlags::IN)], Some(&wait));
            while signals::next(signals).is_some() {}
        }
        self.setup.isolation.leave();
    }
}

/// `base` with the `KEY=VALUE` strings of `overrides` (each ended by NUL) in place of those of the same key.
fn merge(base: &[CString], overrides: &[u8]) -> Vec<CString> {
    let overrides: Vec<&[u8]> =
        overrides.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).collect();
    let key = |entry: &[u8]| entry.iter().position(|byte| *byte == b'=').unwrap_or(entry.len());
    let replaced = |entry: &CString| {
        let entry = entry.as_bytes();
        overrides.iter().any(|new| new[..key(new)] == entry[..key(entry)])
    };
    base.iter()
        .filter(|entry| !replaced(entry))
        .cloned()
        .chain(overrides.iter().filter_map(|new| CString::new(*new).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_by_key() {
        let base: Vec<CString> =
            ["A=1", "AB=2", "C"].iter().map(|entry| CString::new(*entry).unwrap()).collect();
        let merged = merge(&base, b"A=9\0D=4\0");
        let text: Vec<&str> = merged.iter().map(|entry| entry.to_str().unwrap()).collect();
        assert_eq!(text, ["AB=2", "C", "A=9", "D=4"]);
    }
}
