//! Sees WALs grow, by inotify: nothing is looked at until the kernel says that a file has changed.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agor_common::db::{files, locks};
use inotify::{Inotify, WatchMask};

use crate::config::Target;
use crate::failure::Error;

/// A busy writer changes its WAL thousands of times a second: after a look the next one waits this long.
pub(crate) const REST: Duration = Duration::from_millis(100);
/// Longest pause between two passes over a WAL that does not get smaller.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Watches the WALs of some databases.
pub(crate) struct Growth {
    inotify: Inotify,
    files: Vec<(PathBuf, Backoff)>,
    max: u64,
}

/// When a pass for a database's growth may start again.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    fn allows(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|time| now >= time)
    }

    fn record(&mut self, now: Instant, helped: bool) {
        if helped {
            *self = Backoff::default();
            return;
        }
        let wait = Duration::from_secs(1).saturating_mul(1 << self.failures.min(5)).min(MAX_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + wait);
    }
}

impl Growth {
    pub(crate) fn new(targets: &[Target], max: u64) -> Result<Growth, Error> {
        let inotify = Inotify::init().map_err(Error::system("start inotify"))?;
        let files = targets.iter().map(|target| (target.path.clone(), Backoff::default())).collect();
        let mut growth = Growth { inotify, files, max };
        growth.refresh();
        Ok(growth)
    }

    /// Readable when something has changed.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches what is there now: a WAL for its writes, its directory for a WAL that comes to be. Adding a
    /// watch that exists changes nothing.
    pub(crate) fn refresh(&mut self) {
        let mut watches = self.inotify.watches();
        for (path, _) in &self.files {
            let wal = locks::beside(path, "-wal");
            if let Some(dir) = wal.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                // A directory or file that is not there yet is found by the next pass of the schedule.
                let _ = watches.add(dir, WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR);
            }
            let _ = watches.add(&wal, WatchMask::MODIFY);
        }
    }

    /// Takes the events off the queue and returns the databases whose WAL is too large now.
    pub(crate) fn grown(&mut self) -> HashSet<PathBuf> {
        let mut buffer = [0; 16 * 1024];
        // What has changed does not matter (and an overflow of the queue neither): the sizes tell.
        while self.inotify.read_events(&mut buffer).is_ok_and(|mut events| events.next().is_some()) {}
        self.refresh();
        let now = Instant::now();
        self.files
            .iter()
            .filter(|(path, backoff)| backoff.allows(now) && files::wal_bytes(path) > self.max)
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// When to look again though no event may come: a database whose pause is not over yet is too large.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.files
            .iter()
            .filter(|(path, _)| files::wal_bytes(path) > self.max)
            .filter_map(|(_, backoff)| backoff.not_before)
            .min()
    }

    /// After a pass over `path`.
    pub(crate) fn done(&mut self, path: &PathBuf) {
        let now = Instant::now();
        for (_, backoff) in self.files.iter_mut().filter(|(file, _)| file == path) {
            backoff.record(now, files::wal_bytes(path) <= self.max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_stays_large_is_tried_ever_less_often() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert!(backoff.allows(now));
        let mut waits = Vec::new();
        for _ in 0..7 {
            backoff.record(now, false);
            assert!(!backoff.allows(now));
            waits.push(backoff.not_before.unwrap().duration_since(now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        backoff.record(now, true);
        assert!(backoff.allows(now));
    }

    #[test]
    fn growth_is_seen_also_of_a_log_that_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let mut growth = Growth::new(&[Target { path: path.clone(), named: true }], 100).unwrap();
        assert!(growth.grown().is_empty());
        let wal = dir.path().join("a.db-wal");
        std::fs::write(&wal, vec![0; 50]).unwrap();
        assert!(growth.grown().is_empty());
        std::fs::write(&wal, vec![0; 500]).unwrap();
        let mut ready = [rustix::event::PollFd::from_borrowed_fd(growth.fd(), rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ready, None).unwrap(), 1);
        assert_eq!(growth.grown(), HashSet::from([path.clone()]));
        // So often in vain that the next try is half a minute away.
        (0..6).for_each(|_| growth.done(&path));
        assert!(growth.grown().is_empty() && growth.retry_at().is_some());
        std::fs::write(&wal, "").unwrap();
        growth.done(&path);
        assert!(growth.retry_at().is_none());
    }
}
