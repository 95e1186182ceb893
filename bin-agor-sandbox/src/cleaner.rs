//! The helper that removes stand-ins when the sandbox is gone, however it ended.
//!
//! It is a process of its own, outside of the sandbox, in its own session, with nothing open but what it
//! needs. It sleeps until the kernel says that the tmpfs of the sandbox's mount namespace was unmounted,
//! which happens with the last process in that namespace. Only where the kernel has no more to say it with
//! (inotify(7): 128 instances for each user) it looks for such processes four times a second.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify;
use rustix::pipe::PipeFlags;

use crate::placeholder::Held;
use crate::sys::process;

/// How often it looks where it has to.
const OFTEN: Duration = Duration::from_millis(250);

/// The side of the sandbox.
pub(crate) enum Cleaner {
    /// Shared with the helper.
    Watches(OwnedFd),
    /// Tells the helper which namespace it is.
    Pipe(OwnedFd),
}

impl Cleaner {
    /// Starts it. The stand-ins are the helper's from here on.
    pub(crate) fn start(held: &[Held]) -> io::Result<Cleaner> {
        let sandbox = process::own_pidfd()?;
        match inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK) {
            Ok(watches) => {
                help(&sandbox, &watches, held, wait_for_unmount)?;
                Ok(Cleaner::Watches(watches))
            }
            Err(_) => {
                let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                help(&sandbox, &theirs, held, wait_for_processes)?;
                Ok(Cleaner::Pipe(ours))
            }
        }
    }

    /// Tells the helper what to wait for, from within the namespace. Without that it waits for COMMAND only, and not
    /// for what COMMAND leaves behind.
    pub(crate) fn watch(&self, tmpfs: &Path) -> rustix::io::Result<()> {
        match self {
            // Any event will do: that of the unmount comes with every watch (inotify(7), IN_UNMOUNT).
            Cleaner::Watches(watches) => {
                inotify::add_watch(watches, tmpfs, inotify::WatchFlags::DELETE_SELF).map(drop)
            }
            Cleaner::Pipe(pipe) => {
                let namespace = rustix::fs::readlink("/proc/self/ns/mnt", Vec::new())?;
                rustix::io::write(pipe, namespace.as_bytes()).map(drop)
            }
        }
    }
}

/// Runs the helper: COMMAND itself is waited for first, which is also all that there is when nothing could be told.
fn help(sandbox: &OwnedFd, told: &OwnedFd, held: &[Held], wait: fn(&OwnedFd)) -> io::Result<()> {
    process::orphan(|| {
        process::leave(&[Some(told), Some(sandbox)], &held_fds(held));
        until(sandbox);
        wait(told);
        // The other way round: what hides the others from git goes last.
        for one in held.iter().rev() {
            one.release();
        }
    })
}

fn held_fds(held: &[Held]) -> Vec<&OwnedFd> {
    held.iter().flat_map(Held::descriptors).collect()
}

fn until(fd: &OwnedFd) {
    while let Err(rustix::io::Errno::INTR) =
        rustix::event::poll(&mut [PollFd::new(&fd.as_fd(), PollFlags::IN)], None)
    {}
}

/// Until nothing is in the namespace any more whose name comes through a pipe.
fn wait_for_processes(pipe: &OwnedFd) {
    let mut buffer = [0_u8; 64];
    let Ok(length @ 1..) = rustix::io::read(pipe, &mut buffer) else { return };
    let inside = |process: std::fs::DirEntry| {
        std::fs::read_link(process.path().join("ns/mnt"))
            .is_ok_and(|namespace| namespace.as_os_str().as_bytes() == &buffer[..length])
    };
    let anybody = || std::fs::read_dir("/proc").is_ok_and(|all| all.flatten().any(inside));
    // More than once: a process can make another one and end while this looks.
    while (0..3).any(|_| anybody()) {
        std::thread::sleep(OFTEN);
    }
}

fn wait_for_unmount(watches: &OwnedFd) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    if !has_watch(watches) {
        return;
    }
    loop {
        until(watches);
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
