//! Stopping: end of input, TERM to the process group, KILL; each with its own patience.

use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;

use super::{Session, State, Ticket};
use crate::protocol::{Code, Refusal};

/// How long each step waits for the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Graces {
    /// From end of input to TERM.
    pub(crate) eof: Duration,
    /// From TERM to KILL.
    pub(crate) term: Duration,
}

impl Default for Graces {
    fn default() -> Graces {
        Graces { eof: Duration::from_secs(1), term: Duration::from_secs(5) }
    }
}

impl Session {
    /// Stops the process, also one that was to be started again; does nothing where none runs. Returns at once.
    pub(crate) fn stop(self: &Rc<Self>, graces: Graces) {
        self.start_again.set(false);
        if !matches!(self.state.get(), State::Running | State::Stopping) {
            return;
        }
        self.state.set(State::Stopping);
        self.input.end();
        if self.paused.replace(false) {
            self.signal_group(Signal::CONT);
        }
        let pid = self.process.borrow().as_ref().map(super::process::Process::pid);
        let session = self.clone();
        tokio::task::spawn_local(async move {
            for (grace, signal) in [(graces.eof, Signal::TERM), (graces.term, Signal::KILL)] {
                let ended = session.ended.notified();
                if session.state.get() != State::Stopping || tokio::time::timeout(grace, ended).await.is_ok()
                {
                    return;
                }
                // Another process may have been started meanwhile: that one is not meant.
                let now = session.process.borrow().as_ref().map(super::process::Process::pid);
                if now != pid {
                    return;
                }
                session.signal_group(signal);
                session.signal_group(Signal::CONT);
            }
        });
    }

    /// Stops the process and starts it again.
    pub(crate) fn restart(self: &Rc<Self>, graces: Graces) -> Result<(), Refusal> {
        match self.state.get() {
            State::Idle | State::Ended => self.start(),
            State::Running | State::Stopping => {
                self.stop(graces);
                self.start_again.set(true);
                Ok(())
            }
        }
    }

    /// Waits until no process runs.
    pub(crate) async fn wait_until_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if matches!(self.state.get(), State::Idle | State::Ended) {
                return;
            }
            ended.await;
        }
    }

    /// Writes to the process; `ticket` hears when the bytes are in the pipe, or why not.
    pub(crate) fn write(&self, bytes: &[u8], eof: bool, ticket: Box<dyn Ticket>) {
        if self.state.get() == State::Idle {
            let message = format!("session {} has not been started", self.name);
            return ticket.done(Err(Refusal(Code::NotRunning, message)));
        }
        self.input.write(bytes, eof, ticket);
    }
}
