//! The helper that removes stand-ins when the sandbox is gone, however it ended.
//!
//! It is a process of its own, outside of the sandbox, in its own session, with nothing open but what it
//! needs. It sleeps until the kernel says that the tmpfs of the sandbox's mount namespace was unmounted,
//! which happens with the last process in that namespace; it polls nothing.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify;

use crate::placeholder::Held;
use crate::sys::process;

/// The side of the sandbox.
pub(crate) struct Cleaner {
    /// Shared with the helper.
    watches: Option<OwnedFd>,
}

impl Cleaner {
    /// Starts it. The stand-ins are the helper's from here on.
    pub(crate) fn start(held: &[Held]) -> io::Result<Cleaner> {
        // Few are allowed per user (fs.inotify.max_user_instances). Without one the helper still sees the
        // end of COMMAND itself, though not of what COMMAND leaves behind.
        let watches = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        let sandbox = process::own_pidfd()?;
        process::orphan(|| {
            process::leave(&[watches.as_ref(), Some(&sandbox)], &held_fds(held));
            wait(watches.as_ref(), &sandbox);
            // The other way round: what hides the others from git goes last.
            for one in held.iter().rev() {
                one.release();
            }
        })?;
        Ok(Cleaner { watches })
    }

    /// Tells the helper what to wait for.
    pub(crate) fn watch(&self, tmpfs: &Path) {
        if let Some(watches) = &self.watches {
            // Any event will do: that of the unmount comes with every watch (inotify(7), IN_UNMOUNT).
            let _ = inotify::add_watch(watches, tmpfs, inotify::WatchFlags::DELETE_SELF);
        }
    }
}

fn held_fds(held: &[Held]) -> Vec<&OwnedFd> {
    held.iter().flat_map(Held::descriptors).collect()
}

fn wait(watches: Option<&OwnedFd>, sandbox: &OwnedFd) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    // First COMMAND itself, which is also all that there is when no watch could be set.
    let until = |fd: &OwnedFd| loop {
        match rustix::event::poll(&mut [PollFd::new(&fd.as_fd(), PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result,
        }
    };
    let _ = until(sandbox);
    let Some(watches) = watches else { return };
    if !has_watch(watches) {
        return;
    }
    loop {
        let _ = until(watches);
        let mut reader = inotify::Reader::new(watches, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().intersects(inotify::ReadFlags::UNMOUNT | inotify::ReadFlags::IGNORED) {
                return;
            }
        }
    }
}

/// Whether the sandbox came so far as to set the watch; it is listed as long as it is there, and when it is
/// not, its last event still waits.
fn has_watch(watches: &OwnedFd) -> bool {
    let number = std::os::fd::AsRawFd::as_raw_fd(watches);
    let listed = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))
        .is_ok_and(|text| text.contains("inotify wd:"));
    listed
        || rustix::event::poll(
            &mut [PollFd::new(watches, PollFlags::IN)],
            Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }),
        )
        .is_ok_and(|ready| ready > 0)
}
