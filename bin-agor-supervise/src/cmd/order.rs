//! `restart`, `stop`, `kill` and `reset`: one line into the supervisor's FIFO, and then its answer.

use std::io;
use std::time::Duration;

use agor_common::output::Out;
use agor_common::process::Identity;
use agor_common::sessions::{Health, Supervised, SupervisorState};
use agor_common::{Exit, text};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{find, view};
use crate::cli::{KillArgs, OrderArgs};
use crate::clock;
use crate::error::SuperviseError;
use crate::place::{self, Place, State};
use crate::rule::Moment;
use crate::watch::Watch;

/// An order under way.
struct Order<'a> {
    name: &'a str,
    verb: &'static str,
    place: Place,
    watch: Watch,
    until: Moment,
    timeout: Duration,
    id: String,
    /// Whom it is for.
    supervisor: Identity,
}

impl<'a> Order<'a> {
    /// Sends `verb`; waits for the answer, and returns the number of the incarnation then.
    fn send(
        name: &'a str,
        verb: &'static str,
        line: &str,
        timeout: Duration,
    ) -> Result<(Order<'a>, u64), SuperviseError> {
        // Unknown, or known and not running: said before anything is waited for.
        let run = find::run(name)?;
        if run.supervisor_state() != SupervisorState::Alive {
            return Err(SuperviseError::NotRunning { name: name.into(), why: super::words(&run) });
        }
        let place = Place::of(name, true)?;
        let watch = Watch::new(&place.dir)?;
        let id = format!("#{:016x}", fastrand::u64(..));
        let until = clock::now() + timeout;
        let mut order = Order { name, verb, place, watch, until, timeout, id, supervisor: run.supervisor };
        // It begins with an end of line: somebody else's order may have none.
        let line = format!("\n{line} {}\n", order.id);
        order.write(&line)?;
        let incarnation = order.answer()?;
        Ok((order, incarnation))
    }

    fn write(&mut self, line: &str) -> Result<(), SuperviseError> {
        let path = self.place.control();
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        loop {
            let result = rustix::fs::open(&path, flags, Mode::empty())
                .and_then(|fifo| rustix::io::write(&fifo, line.as_bytes()));
            match result {
                Ok(_) => return Ok(()),
                // It has only just been started, or is about to end, or has many orders to read.
                Err(error @ (Errno::NOENT | Errno::NXIO | Errno::AGAIN)) => {
                    if !self.supervisor.is_alive() {
                        return self.gone();
                    }
                    self.in_time()?;
                    let soon = clock::now() + Duration::from_millis(20);
                    if error == Errno::NOENT {
                        place::remind(self.supervisor.pid);
                    }
                    self.watch.wait(Some(self.supervisor.pid), Some(soon.min(self.until)));
                }
                Err(error) => return Err(SuperviseError::Place { path, source: error.into() }),
            }
        }
    }

    /// What it means that the supervisor is gone: a stop is answered by the end itself, too.
    fn gone(&self) -> Result<(), SuperviseError> {
        if self.verb == "stop" {
            return Ok(());
        }
        let why = find::run(self.name).map_or("its supervisor is gone".into(), |run| super::words(&run));
        Err(SuperviseError::NotRunning { name: self.name.into(), why })
    }

    fn in_time(&self) -> Result<(), SuperviseError> {
        if clock::now() >= self.until {
            return Err(self.late(&format!("told to {}", self.verb)));
        }
        Ok(())
    }

    fn late(&self, wanted: &str) -> SuperviseError {
        SuperviseError::Deadline {
            name: self.name.into(),
            wanted: wanted.into(),
            limit: agor_common::time::human(self.timeout),
        }
    }

    fn answer(&mut self) -> Result<u64, SuperviseError> {
        loop {
            // Asked first: what one that is gone has answered is read after that.
            let is_gone = !self.supervisor.is_alive();
            let state: Option<State> = self.place.read();
            let answer =
                state.and_then(|state| state.answers.into_iter().find(|answer| answer.id == self.id));
            match answer {
                Some(answer) => {
                    return match answer.refused {
                        Some(why) => {
                            Err(SuperviseError::Refused { what: self.verb, name: self.name.into(), why })
                        }
                        None => Ok(answer.incarnation),
                    };
                }
                None if is_gone => return self.gone().map(|()| 0),
                None => self.in_time()?,
            }
            self.watch.wait(Some(self.supervisor.pid), Some(self.until));
        }
    }

    /// Waits until `done` says so of the state.
    fn until(
        &mut self,
        wanted: &str,
        done: impl Fn(&Supervised, &Identity) -> Option<Result<(), String>>,
    ) -> Result<Supervised, SuperviseError> {
        loop {
            let run = find::run(self.name)?;
            match done(&run, &self.supervisor) {
                Some(Ok(())) => return Ok(run),
                Some(Err(why)) => {
                    return Err(SuperviseError::Never {
                        name: self.name.into(),
                        wanted: wanted.into(),
                        found: why,
                    });
                }
                None if clock::now() >= self.until => return Err(self.late(wanted)),
                None => self.watch.wait(Some(self.supervisor.pid), Some(self.until)),
            }
        }
    }
}

#[derive(serde::Serialize)]
struct Done<'a> {
    schema: u32,
    name: &'a str,
    done: &'a str,
}

fn say(run: Option<&Supervised>, name: &str, done: &str, json: bool) -> Result<Exit, SuperviseError> {
    let mut out = Out::stdout();
    match run {
        Some(run) if json => out.json(&view::json(run, None))?,
        None if json => out.json(&Done { schema: 1, name, done })?,
        _ => out.line(text::single_line(&format!("{name}: {done}")))?,
    }
    out.flush()?;
    Ok(Exit::OK)
}

/// Starts it anew, and waits until it is up.
pub(super) fn restart(args: &OrderArgs) -> Result<Exit, SuperviseError> {
    let (mut order, before) = Order::send(&args.name, "restart", "restart", args.timeout)?;
    if args.no_wait {
        return say(None, &args.name, "restarting", args.json);
    }
    let run = order.until("restarted", |run, _| {
        let gone = run.supervisor_state() != SupervisorState::Alive;
        let anew = run.incarnation > before;
        // One that has ended with success already was up.
        if anew && (run.is_healthy() || run.health == Health::Stopped) {
            return Some(Ok(()));
        }
        let over = gone || (anew && matches!(run.health, Health::Failed { .. }));
        over.then(|| Err(super::words(run)))
    })?;
    let pid = run.child.as_ref().map_or(String::new(), |child| format!(", pid {}", child.pid));
    say(Some(&run), &args.name, &format!("restarted{pid}"), args.json)
}

/// Stops it, and waits until its supervisor has ended.
pub(super) fn stop(args: &OrderArgs) -> Result<Exit, SuperviseError> {
    let (mut order, _) = Order::send(&args.name, "stop", "stop", args.timeout)?;
    if args.no_wait {
        return say(None, &args.name, "stopping", args.json);
    }
    // By the time that is seen another supervisor may have the name.
    let run = order.until("stopped", |_, supervisor| (!supervisor.is_alive()).then_some(Ok(())))?;
    say(Some(&run), &args.name, "stopped", args.json)
}

/// Sets the count back.
pub(super) fn reset(args: &OrderArgs) -> Result<Exit, SuperviseError> {
    Order::send(&args.name, "reset", "reset", args.timeout)?;
    say(None, &args.name, "reset", args.json)
}

/// Sends a signal.
pub(super) fn kill(args: &KillArgs) -> Result<Exit, SuperviseError> {
    let line = format!("kill {}", args.signal);
    Order::send(&args.name, "kill", &line, Duration::from_secs(10))?;
    say(None, &args.name, "signal sent", args.json)
}

impl From<io::Error> for SuperviseError {
    fn from(source: io::Error) -> SuperviseError {
        SuperviseError::System { what: "watch the runtime directory", source }
    }
}
