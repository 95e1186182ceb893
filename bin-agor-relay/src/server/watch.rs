//! Notices a peer that is silent or takes nothing. Bytes that the peer's kernel acknowledges count as a sign
//! of life, so that a slow link full of output is not taken for a dead one.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::connection::{End, cut};
use super::io::Stream;
use crate::config::Limits;
use crate::sys;

/// What was seen last, and when something last moved.
#[derive(Debug)]
pub(crate) struct Watch {
    read: u64,
    written: u64,
    unacknowledged: u64,
    alive: Instant,
    moved: Instant,
    pinged: Instant,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// It is time to ask for a sign of life.
    Ping,
    /// None came.
    Silent,
    /// Something waits, and the peer takes nothing.
    Slow,
}

impl Verdict {
    pub(crate) fn end(self) -> Option<End> {
        match self {
            Verdict::Fine | Verdict::Ping => None,
            Verdict::Silent => Some(End::Broken("the peer is silent".into())),
            Verdict::Slow => Some(cut(1008, "too slow")),
        }
    }
}

impl Default for Watch {
    fn default() -> Watch {
        let now = Instant::now();
        Watch { read: 0, written: 0, unacknowledged: 0, alive: now, moved: now, pinged: now }
    }
}

impl Watch {
    /// Looks at `stream`; `blocked` says that something waits to be written to it.
    pub(crate) fn look(&mut self, stream: &Stream, blocked: bool, limits: &Limits) -> Verdict {
        let read = stream.counters.read.load(Relaxed);
        let written = stream.counters.written.load(Relaxed);
        let unacknowledged = sys::socket::unacknowledged(stream.socket());
        self.judge(Instant::now(), (read, written, unacknowledged), blocked, limits)
    }

    fn judge(&mut self, now: Instant, seen: (u64, u64, u64), blocked: bool, limits: &Limits) -> Verdict {
        let (read, written, unacknowledged) = seen;
        // Written means no more than that the kernel took it, but it takes only what the peer makes room for.
        let drained = unacknowledged < self.unacknowledged || (blocked && written > self.written);
        if read > self.read || drained {
            self.alive = now;
        }
        if drained || !blocked {
            self.moved = now;
        }
        (self.read, self.written, self.unacknowledged) = (read, written, unacknowledged);
        if now.duration_since(self.alive) >= limits.ping * 2 {
            return Verdict::Silent;
        }
        if now.duration_since(self.moved) >= limits.write_timeout {
            return Verdict::Slow;
        }
        if now.duration_since(self.pinged) >= limits.ping {
            self.pinged = now;
            return Verdict::Ping;
        }
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Table, limits};
    use std::time::Duration;

    /// Looks every 10 s of virtual time at what `seen` says and returns when the first end came.
    fn until_end(seen: impl Fn(u64) -> (u64, u64, u64), blocked: bool) -> Option<(u64, Verdict)> {
        let limits = limits(&crate::cli::Serve::default(), &Table::default()).unwrap();
        let mut watch = Watch::default();
        let start = watch.alive;
        (1..60).map(|n| n * 10).find_map(|second| {
            let verdict = watch.judge(start + Duration::from_secs(second), seen(second), blocked, &limits);
            matches!(verdict, Verdict::Silent | Verdict::Slow).then_some((second, verdict))
        })
    }

    #[test]
    fn a_silent_peer_is_cut_after_two_intervals() {
        assert_eq!(until_end(|_| (0, 0, 0), false), Some((40, Verdict::Silent)));
    }

    #[test]
    fn a_slow_link_that_drains_is_not_silent() {
        assert_eq!(until_end(|second| (0, second * 20_000, 1_000_000 - second), true), None);
        assert_eq!(until_end(|second| (0, 0, 1_000_000 - second), false), None);
    }

    #[test]
    fn a_peer_that_asks_and_never_reads_is_cut() {
        assert_eq!(until_end(|second| (second, 0, 500_000), true), Some((30, Verdict::Slow)));
    }
}
