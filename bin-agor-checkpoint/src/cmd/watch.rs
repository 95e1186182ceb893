//! The loop: a pass every interval, one more when a WAL grows too large, and a last one on TERM.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agor_common::Exit;
use agor_common::output::Out;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

use crate::config::Config;
use crate::control::Control;
use crate::failure::Error;
use crate::growth::{Growth, REST};
use crate::report::{Outcome, Report};
use crate::schedule::Schedule;
use crate::seen::Seen;

/// What became of a pass.
struct Done {
    exit: Exit,
    /// A signal came, and the time that what runs then has was over before the pass was.
    cut: bool,
}

/// Why the loop woke up.
enum Wake {
    Stop,
    Due,
    Grown(HashSet<PathBuf>),
}

struct Loop<'a> {
    config: &'a Config,
    control: Control,
    schedule: Schedule,
    growth: Option<Growth>,
    /// inotify is not listened to before: a busy writer would keep the loop busy too.
    rest_until: Instant,
    watchdog: Option<Duration>,
}

pub(crate) fn run(config: &Config, interval: Duration) -> Result<Exit, Error> {
    let control = Control::start(super::GRACE)?;
    let growth = config.wal_max.map(|max| Growth::new(&config.targets, max)).transpose()?;
    let schedule = Schedule::start(interval)?;
    // Half of what the service manager allows, as sd_watchdog_enabled(3) recommends.
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    let mut this = Loop { config, control, schedule, growth, rest_until: Instant::now(), watchdog };
    notify(&[NotifyState::Ready]);
    this.run()
}

impl Loop<'_> {
    fn run(&mut self) -> Result<Exit, Error> {
        let mut out = Out::stdout();
        let mut seen = Seen::default();
        let mut done = self.pass(self.config, &mut seen, &mut out, "start")?;
        // After a pass that was cut what could be done in the grace is done.
        while !done.cut {
            match self.wait()? {
                Wake::Stop => {
                    notify(&[NotifyState::Stopping]);
                    return Ok(self.pass(self.config, &mut seen, &mut out, "stop")?.exit);
                }
                Wake::Due => {
                    done = self.pass(self.config, &mut seen, &mut out, "interval")?;
                    self.schedule.arm()?;
                }
                Wake::Grown(paths) => {
                    let mut some = self.config.clone();
                    some.targets.retain(|target| paths.contains(&target.path));
                    done = self.pass(&some, &mut seen, &mut out, "wal_max")?;
                }
            }
        }
        notify(&[NotifyState::Stopping]);
        Ok(done.exit)
    }

    fn pass(
        &mut self,
        config: &Config,
        seen: &mut Seen,
        out: &mut Out,
        trigger: &'static str,
    ) -> Result<Done, Error> {
        let summary = super::pass_all(config, &self.control, seen, out, trigger);
        summary.printed?;
        if let Some(growth) = &mut self.growth {
            for report in &summary.reports {
                growth.done(&report.database);
            }
            growth.refresh();
        }
        self.rest_until = Instant::now() + REST;
        notify(&[NotifyState::Status(&status(&summary.reports)), NotifyState::Watchdog]);
        let cut = summary.reports.iter().any(|report| report.outcome == Outcome::Interrupted);
        Ok(Done { exit: summary.exit, cut })
    }

    /// Waits for a signal, the timer or a grown WAL.
    fn wait(&mut self) -> Result<Wake, Error> {
        loop {
            let now = Instant::now();
            let resting = self.growth.is_some() && now < self.rest_until;
            let retry = self.growth.as_ref().and_then(Growth::retry_at);
            let until = [
                resting.then_some(self.rest_until),
                retry.filter(|_| !resting).map(|at| at.max(now)),
                self.watchdog.map(|every| now + every),
            ];
            let timeout = until.into_iter().flatten().min().map(|at| at.saturating_duration_since(now));
            let timeout = timeout.map(|left| {
                let left = left + Duration::from_micros(500);
                Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
            });
            let mut fds = vec![
                PollFd::from_borrowed_fd(self.control.fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.schedule.fd(), PollFlags::IN),
            ];
            if let Some(growth) = self.growth.as_ref().filter(|_| !resting) {
                fds.push(PollFd::from_borrowed_fd(growth.fd(), PollFlags::IN));
            }
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Error::system("wait for events")(error)),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                return Ok(Wake::Stop);
            }
            if ready[1] {
                return Ok(Wake::Due);
            }
            if !resting && let Some(growth) = &mut self.growth {
                let changed = ready.get(2) == Some(&true);
                if changed || retry.is_some_and(|at| Instant::now() >= at) {
                    self.rest_until = Instant::now() + REST;
                    let paths = growth.grown();
                    if !paths.is_empty() {
                        return Ok(Wake::Grown(paths));
                    }
                }
            }
            if self.watchdog.is_some() {
                notify(&[NotifyState::Watchdog]);
            }
        }
    }
}

/// For `systemctl status`: the last pass in one line.
fn status(reports: &[Report]) -> String {
    let one = |report: &Report| {
        let name = report.database.file_name().unwrap_or(report.database.as_os_str()).to_string_lossy();
        format!("{}: {}", agor_common::text::single_line(&name), report.outcome.name())
    };
    reports.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Tells the service manager, where there is one; a failure to do so is no reason to stop checkpointing.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "sd_notify");
    }
}
