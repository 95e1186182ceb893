//! `--on-event`: a shell command for every event, one at a time and in order. It never holds supervision
//! up: events wait in a bounded queue, and one that hangs is ended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use agor_common::output;
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::rule::Moment;

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How many events wait.
const QUEUE: usize = 64;

/// The hook and what it has to do.
pub(crate) struct Hooks {
    command: Option<String>,
    queue: VecDeque<String>,
    running: Option<(i32, Moment)>,
    dropped: bool,
}

impl Hooks {
    /// For a shell command, or none.
    pub(crate) fn new(command: Option<String>) -> Hooks {
        Hooks { command, queue: VecDeque::new(), running: None, dropped: false }
    }

    /// Whether there is a hook at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.command.is_some()
    }

    /// An event, as one line of JSON.
    pub(crate) fn push(&mut self, event: String) {
        if self.queue.len() >= QUEUE {
            self.queue.pop_front();
            if !std::mem::replace(&mut self.dropped, true) {
                output::warning(crate::TOOL, "--on-event is too slow: events are dropped");
            }
        }
        self.queue.push_back(event + "\n");
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.is_empty()
    }

    /// Something that changes whenever one begins or ends.
    pub(crate) fn progress(&self) -> (usize, Option<i32>) {
        (self.queue.len(), self.running.map(|(pid, _)| pid))
    }

    /// When the running one has to be ended.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.running.map(|(_, until)| until)
    }

    /// Whether that process is the running one.
    pub(crate) fn is_running(&self, pid: i32) -> bool {
        self.running.is_some_and(|(running, _)| running == pid)
    }

    /// It has ended.
    pub(crate) fn ended(&mut self, status: i32) {
        self.running = None;
        if status != 0 {
            let status: std::process::ExitStatus = std::os::unix::process::ExitStatusExt::from_raw(status);
            output::warning(crate::TOOL, &format!("--on-event: {status}"));
        }
    }

    /// Starts the next one, and ends one that took too long.
    pub(crate) fn go_on(&mut self, now: Moment) {
        if let Some((pid, until)) = self.running {
            if now >= until {
                self.kill(pid);
                // Its end is seen later; until then nothing else is started.
                self.running = Some((pid, now + LIMIT));
            }
            return;
        }
        let Some(command) = &self.command else { return };
        let Some(event) = self.queue.pop_front() else { return };
        let child = input(&event).and_then(|input| {
            Command::new("/bin/sh")
                .arg("-c")
                .arg(command)
                .stdin(input)
                // Stdout belongs to the command's peer.
                .stdout(io::stderr())
                .process_group(0)
                .spawn()
        });
        match child {
            Ok(child) => self.running = Some((child.id().cast_signed(), now + LIMIT)),
            Err(error) => output::warning(crate::TOOL, &format!("--on-event: {error}")),
        }
    }

    fn kill(&self, pid: i32) {
        if let Some(group) = Pid::from_raw(pid) {
            // Not reaped yet, so the number is still its group's.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Ends what runs.
    pub(crate) fn abandon(&mut self) {
        if let Some((pid, _)) = self.running.take() {
            self.kill(pid);
        }
        self.queue.clear();
    }
}

/// A hook's stdin: a file in memory and no pipe, which would make us wait for one that does not read.
fn input(event: &str) -> io::Result<Stdio> {
    let mut file = File::from(rustix::fs::memfd_create("agor-event", MemfdFlags::CLOEXEC)?);
    file.write_all(event.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_nobody_reads_is_not_waited_for() {
        let mut hooks = Hooks::new(Some("sleep 1000".into()));
        hooks.push("x".repeat(1 << 20));
        hooks.go_on(Moment::ZERO);
        let (pid, _) = hooks.running.unwrap();
        hooks.abandon();
        let status = rustix::process::waitpid(Pid::from_raw(pid), rustix::process::WaitOptions::empty());
        assert_eq!(status.unwrap().unwrap().1.terminating_signal(), Some(9));
    }
}
