//! Sleeping until a state file changes or a supervisor ends; nothing is polled.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::clock;
use crate::rule::Moment;

/// A watch on the runtime directory.
pub(crate) struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    /// Watches `dir`: what happens from now on is not missed.
    pub(crate) fn new(dir: &Path) -> io::Result<Watch> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE;
        inotify::add_watch(&inotify, dir, events)?;
        Ok(Watch { inotify })
    }

    /// Until something in the directory changes, that supervisor ends, or it is late.
    pub(crate) fn wait(&mut self, supervisor: Option<i32>, until: Option<Moment>) {
        let pidfd =
            supervisor.and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let mut fds = vec![PollFd::new(&self.inotify, PollFlags::IN)];
        fds.extend(pidfd.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = until.map(|until| {
            let left = until.saturating_sub(clock::now());
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        // An interrupted wait is a short one: the caller looks again either way.
        let _ = poll(&mut fds, timeout.as_ref());
        let mut events = [MaybeUninit::<u8>::uninit(); 4096];
        while rustix::io::read(&self.inotify, &mut events).is_ok_and(|(read, _)| !read.is_empty()) {}
    }
}
