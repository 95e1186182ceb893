//! Ending what runs: TERM, INT and HUP, and a checkpoint that keeps writers waiting for too long.
//!
//! SQLite's copying loop looks at its interrupt flag for every page, so one thread with a clock can bound
//! both. An interrupted checkpoint has moved pages but says nothing of them in the index: no harm is done,
//! the next one moves them again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agor_common::db::rusqlite::InterruptHandle;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Error;

/// How long what is printed may take after the end, before nobody is thought to read it.
const READ: Duration = Duration::from_millis(100);

/// How long after an interrupt the next one follows, while the statement goes on: one that comes between
/// two statements has no effect.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Default)]
struct State {
    /// The running statement's connection.
    running: Option<InterruptHandle>,
    /// When it must end for the writers' sake.
    due: Option<Instant>,
    /// Something is being printed.
    printing: bool,
    /// The signal that ends the program, and when everything must be over.
    stop: Option<(i32, Instant)>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stopped: OwnedFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops what runs; cloned freely.
#[derive(Clone)]
pub(crate) struct Control(Arc<Shared>);

impl Control {
    /// Takes over TERM, INT and HUP (the latter two unless they are ignored, as `nohup` has it). From such
    /// a signal on, what runs has `grace` to end by itself.
    pub(crate) fn start(grace: Duration) -> Result<Control, Error> {
        let stopped = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(Error::system("make an eventfd"))?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), stopped });
        let ignored = ignored_signals();
        let wanted = [SIGTERM, SIGINT, SIGHUP]
            .into_iter()
            .filter(|signal| *signal == SIGTERM || ignored & (1 << (signal - 1)) == 0);
        let mut signals = Signals::new(wanted).map_err(Error::system("take over signals"))?;
        let told = Arc::clone(&shared);
        let listen = move || {
            for signal in signals.forever() {
                let mut state = told.lock();
                // A second signal means now.
                let grace = if state.stop.is_some() { Duration::ZERO } else { grace };
                state.stop = Some((signal, Instant::now() + grace));
                told.changed.notify_all();
                drop(state);
                let _ = rustix::io::write(&told.stopped, &1u64.to_ne_bytes());
            }
        };
        let clock = Arc::clone(&shared);
        for (name, work) in [
            ("signals", Box::new(listen) as Box<dyn FnOnce() + Send>),
            ("clock", Box::new(move || watch(&clock))),
        ] {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(work)
                .map_err(Error::system("start a thread"))?;
        }
        Ok(Control(shared))
    }

    /// The signal that ends the program.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.0.lock().stop.map(|(signal, _)| signal)
    }

    /// Whether nothing may run any more.
    pub(crate) fn is_over(&self) -> bool {
        self.0.lock().stop.is_some_and(|(_, end)| Instant::now() >= end)
    }

    /// When everything must be over, once a signal has come.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.0.lock().stop.map(|(_, end)| end)
    }

    /// Readable once a signal has come.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.stopped.as_fd()
    }

    /// Runs `work` on the connection of `handle`, interrupted at the end or by [`Control::limit`].
    pub(crate) fn run<T>(&self, handle: InterruptHandle, work: impl FnOnce() -> T) -> T {
        {
            let mut state = self.0.lock();
            state.running = Some(handle);
            state.due = None;
            self.0.changed.notify_all();
        }
        let value = work();
        let mut state = self.0.lock();
        state.running = None;
        state.due = None;
        value
    }

    /// Runs `work`, which prints. A write to a pipe that nobody reads does not end, so where the program must
    /// end, the signal does what it does by default.
    pub(crate) fn print<T>(&self, work: impl FnOnce() -> T) -> T {
        let printing = |now| {
            self.0.lock().printing = now;
            self.0.changed.notify_all();
        };
        printing(true);
        let value = work();
        printing(false);
        value
    }

    /// The running statement must end at `due`.
    pub(crate) fn limit(&self, due: Instant) {
        self.0.lock().due = Some(due);
        self.0.changed.notify_all();
    }

    /// Sleeps, but not beyond the end.
    pub(crate) fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        let mut state = self.0.lock();
        loop {
            let end = state.stop.map_or(until, |(_, end)| end.min(until));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The clock: interrupts the running statement when its time is over, and ends a write that does not.
fn watch(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if let Some((signal, end)) = state.stop.filter(|_| state.printing) {
            let left = (end + READ).saturating_duration_since(Instant::now());
            if left.is_zero() && !takes_more() {
                // It returns only where it failed.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            let left = left.max(READ);
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let end = state.stop.map(|(_, end)| end);
        let Some(due) = state.due.into_iter().chain(end).min().filter(|_| state.running.is_some()) else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let mut left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if let Some(running) = &state.running {
                running.interrupt();
            }
            left = AGAIN;
        }
        state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Whether what is printed could be written now: it is only this program that has not got round to it then.
fn takes_more() -> bool {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let mut fds = [PollFd::new(&out, PollFlags::OUT), PollFd::new(&err, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)) == Ok(fds.len())
}

/// The mask of ignored signals (`SigIgn`, proc_pid_status(5)).
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
