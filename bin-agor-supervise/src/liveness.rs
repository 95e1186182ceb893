//! More than "the process exists": stalls, the watchdog, and heartbeats sent for an agent. Pure: it is
//! told what happened and when, and says what to do.

use std::time::Duration;

use crate::rule::Moment;

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Neither output nor heartbeat for this long is a stall.
    pub(crate) stall_after: Option<Duration>,
    /// The watchdog's period.
    pub(crate) watchdog: Option<Duration>,
    /// Send the agent's heartbeat this often.
    pub(crate) heartbeat: Option<Duration>,
    /// There is an agent whose own heartbeats count.
    pub(crate) agent: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask how old the agent's heartbeat is, then call [`Liveness::heard`].
    AskHeartbeat,
    /// It has stalled.
    Stalled,
    /// The watchdog was not fed.
    WatchdogMissed,
    /// It made progress: send its heartbeat.
    Beat,
}

/// What is known of the current incarnation.
#[derive(Debug, Clone)]
pub(crate) struct Liveness {
    limits: Limits,
    since: Option<Moment>,
    progress: Moment,
    fed: Moment,
    beat: Moment,
    asked: bool,
    reported: bool,
}

impl Liveness {
    /// With these limits, and nothing running.
    pub(crate) fn new(limits: Limits) -> Liveness {
        let zero = Duration::ZERO;
        Liveness { limits, since: None, progress: zero, fed: zero, beat: zero, asked: false, reported: false }
    }

    /// An incarnation begins. The watchdog counts from READY.
    pub(crate) fn begin(&mut self, now: Moment) {
        *self = Liveness {
            since: Some(now),
            progress: now,
            fed: now,
            beat: now,
            asked: false,
            reported: false,
            limits: self.limits.clone(),
        };
    }

    /// It has ended: what an old incarnation says does not count any more.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// Something came of it.
    pub(crate) fn progress(&mut self, at: Moment) {
        if at > self.progress {
            self.progress = at;
            self.reported = false;
        }
    }

    /// The watchdog was fed.
    pub(crate) fn feed(&mut self, now: Moment) {
        self.fed = now;
        self.progress(now);
    }

    /// The age of the agent's heartbeat, asked for before.
    pub(crate) fn heard(&mut self, age: Option<Duration>, now: Moment) {
        self.asked = false;
        let at = age.map_or(Duration::ZERO, |age| now.saturating_sub(age));
        // One of an earlier incarnation is too old to count.
        if self.since.is_some_and(|since| at >= since) {
            self.progress(at);
        }
        if self.stall_due() <= Some(now) {
            self.asked = self.limits.agent;
        }
    }

    fn stall_due(&self) -> Option<Moment> {
        if self.reported {
            return None;
        }
        Some(self.progress.saturating_add(self.limits.stall_after?))
    }

    /// When to look next.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.since?;
        let stall = self.stall_due().filter(|_| !self.asked);
        let watchdog = self.limits.watchdog.map(|period| self.fed.saturating_add(period));
        let beat = self.limits.heartbeat.map(|every| self.beat.saturating_add(every));
        [stall, watchdog, beat].into_iter().flatten().min()
    }

    /// Time passed. `answered` says that the agent's heartbeat is known as of now.
    pub(crate) fn tick(&mut self, now: Moment, answered: bool) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if self.since.is_none() {
            return verdicts;
        }
        if self.limits.watchdog.is_some_and(|period| now >= self.fed.saturating_add(period)) {
            self.fed = now;
            verdicts.push(Verdict::WatchdogMissed);
        }
        if let Some(every) = self.limits.heartbeat
            && now >= self.beat.saturating_add(every)
        {
            if self.progress > self.beat {
                verdicts.push(Verdict::Beat);
            }
            self.beat = now;
        }
        if self.stall_due().is_some_and(|due| now >= due) {
            if self.limits.agent && !answered {
                if !self.asked {
                    self.asked = true;
                    verdicts.push(Verdict::AskHeartbeat);
                }
            } else {
                self.asked = false;
                self.reported = true;
                verdicts.push(Verdict::Stalled);
            }
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn with(limits: Limits) -> Liveness {
        let mut liveness = Liveness::new(limits);
        liveness.begin(100 * S);
        liveness
    }

    #[test]
    fn silence_is_a_stall_and_output_is_not() {
        let mut liveness = with(Limits { stall_after: Some(10 * S), ..Limits::default() });
        assert_eq!(liveness.deadline(), Some(110 * S));
        liveness.progress(105 * S);
        assert_eq!(liveness.tick(110 * S, false), []);
        assert_eq!(liveness.deadline(), Some(115 * S));
        assert_eq!(liveness.tick(115 * S, false), [Verdict::Stalled]);
        assert_eq!(liveness.deadline(), None, "reported once");
        liveness.progress(120 * S);
        assert_eq!(liveness.deadline(), Some(130 * S));
    }

    #[test]
    fn an_agents_heartbeat_counts_unless_it_is_an_old_incarnations() {
        let limits = Limits { stall_after: Some(10 * S), agent: true, ..Limits::default() };
        let mut liveness = with(limits.clone());
        assert_eq!(liveness.tick(110 * S, false), [Verdict::AskHeartbeat]);
        assert_eq!(liveness.deadline(), None, "waits for the answer");
        liveness.heard(Some(3 * S), 110 * S);
        assert_eq!(liveness.tick(110 * S, true), []);
        assert_eq!(liveness.deadline(), Some(117 * S));
        let mut liveness = with(limits);
        liveness.tick(110 * S, false);
        liveness.heard(Some(30 * S), 110 * S);
        assert_eq!(liveness.tick(110 * S, true), [Verdict::Stalled]);
    }

    #[test]
    fn the_watchdog_wants_food_and_heartbeats_want_progress() {
        let limits = Limits { watchdog: Some(5 * S), heartbeat: Some(2 * S), ..Limits::default() };
        let mut liveness = with(limits);
        assert_eq!(liveness.tick(102 * S, false), []);
        liveness.feed(103 * S);
        assert_eq!(liveness.tick(104 * S, false), [Verdict::Beat]);
        assert_eq!(liveness.tick(106 * S, false), []);
        assert_eq!(liveness.tick(108 * S, false), [Verdict::WatchdogMissed]);
        liveness.end();
        assert_eq!(liveness.deadline(), None);
        assert_eq!(liveness.tick(500 * S, false), []);
    }
}
