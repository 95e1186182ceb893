//! Waking a recipient: a file per agent in the runtime directory, touched after the commit, watched with inotify.
//!
//! The file's name is a hash of the agent's id, so that no id can name a path. Only who waits makes the file; a
//! sender that finds none has nobody to wake. Nothing is written to it, and nothing depends on it: who waits
//! also looks by itself every few seconds.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agor_common::paths;
use inotify::{Inotify, WatchMask};
use sha2::{Digest as _, Sha256};

/// How often who waits looks without being woken.
pub const NET: Duration = Duration::from_secs(5);

fn file(agent: &str) -> Option<PathBuf> {
    use std::fmt::Write as _;
    let hash = Sha256::digest(agent.as_bytes());
    let name = hash.iter().take(16).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    });
    Some(paths::Env::current().runtime_dir().ok()?.join("wake").join(name))
}

/// Wakes whoever waits for mail of `agent`.
pub fn touch(agent: &str) {
    let Some(path) = file(agent) else { return };
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    // No file: nobody waits. Any other failure costs a delay of a few seconds, and no mail.
    let _ = rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty());
}

/// Waits for mail of one agent.
pub struct Waiter {
    inotify: Option<Inotify>,
}

impl Waiter {
    /// From now on, so the caller looks into the database after this and before it waits.
    pub fn new(agent: &str) -> Waiter {
        Waiter { inotify: watch(agent) }
    }

    /// Sleeps in the kernel until the agent is woken, `until` comes, `due` is over or the net's turn is.
    pub fn wait(&mut self, until: Option<Instant>, due: Option<Duration>) {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let rest = [left, due].into_iter().flatten().fold(NET, Duration::min);
        let Some(inotify) = &mut self.inotify else {
            std::thread::sleep(rest.min(Duration::from_millis(500)));
            return;
        };
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(rest.subsec_nanos()),
        };
        let mut poll = [rustix::event::PollFd::new(&*inotify, rustix::event::PollFlags::IN)];
        let ready = rustix::event::poll(&mut poll, Some(&timeout)).unwrap_or(0);
        if ready > 0 {
            let mut buffer = [0; 1024];
            // Drained: one look at the database serves all of them.
            let _ = inotify.read_events(&mut buffer);
        }
    }
}

fn watch(agent: &str) -> Option<Inotify> {
    let path = file(agent)?;
    paths::ensure_private_dir(path.parent()?).ok()?;
    std::fs::OpenOptions::new().create(true).append(true).open(&path).ok()?;
    let inotify = Inotify::init().ok()?;
    inotify.watches().add(&path, WatchMask::ATTRIB | WatchMask::CLOSE_WRITE | WatchMask::DELETE_SELF).ok()?;
    Some(inotify)
}
