//! When the next pass is due: on a grid from the start, so that it does not drift; and after a suspend or a
//! pass that took long once, not once for each interval that went by.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::failure::Error;

/// The first point of the grid `start + n * interval` (n >= 1) after `now`.
fn next(start: Duration, interval: Duration, now: Duration) -> Duration {
    let since = now.saturating_sub(start).as_nanos();
    let n = since / interval.as_nanos().max(1) + 1;
    let offset = n.saturating_mul(interval.as_nanos());
    start.saturating_add(Duration::from_nanos(u64::try_from(offset).unwrap_or(u64::MAX)))
}

/// A timer on CLOCK_BOOTTIME, which goes on while the machine is suspended: a pass that became due
/// meanwhile starts right after the resume.
pub(crate) struct Schedule {
    timer: OwnedFd,
    start: Duration,
    interval: Duration,
}

impl Schedule {
    pub(crate) fn start(interval: Duration) -> Result<Schedule, Error> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(Error::system("make a timer"))?;
        let mut schedule = Schedule { timer, start: now(), interval };
        schedule.arm()?;
        Ok(schedule)
    }

    /// Readable when a pass is due.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Sets the timer to the next point of the grid, and forgets what went by.
    pub(crate) fn arm(&mut self) -> Result<(), Error> {
        let due = next(self.start, self.interval, now());
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec::try_from(due).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let time = Itimerspec { it_interval: zero, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)
            .map_err(Error::system("set a timer"))?;
        Ok(())
    }
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_grid_does_not_drift() {
        assert_eq!(next(s(10.0), s(5.0), s(10.0)), s(15.0));
        // A pass that took 1.2 s.
        assert_eq!(next(s(10.0), s(5.0), s(16.2)), s(20.0));
        assert_eq!(next(s(10.0), s(5.0), s(20.0)), s(25.0));
    }

    #[test]
    fn a_suspend_is_one_pass() {
        // A hundred intervals went by: the next one lies ahead.
        assert_eq!(next(s(10.0), s(5.0), s(511.0)), s(515.0));
    }
}
