//! Signals as file descriptor events: everything is blocked and read from a signalfd(2).

#![expect(unsafe_code, reason = "sigprocmask(2), signalfd(2)")]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// A signal mask.
#[derive(Clone, Copy)]
pub(crate) struct Mask(pub(crate) libc::sigset_t);

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal {
    /// Its number.
    pub(crate) number: i32,
    /// Whether the kernel sent it (a terminal's key or hangup) and not a process.
    pub(crate) from_kernel: bool,
}

/// Blocks every signal that can be blocked, for this thread and those it starts, but for the faults of
/// the program itself. Returns the mask that was in force.
pub(crate) fn block_all() -> io::Result<Mask> {
    // SAFETY: both sets are owned, valid for the calls, and initialised by sigfillset and sigprocmask.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        for fault in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGABRT,
            libc::SIGTRAP,
            libc::SIGSYS,
        ] {
            libc::sigdelset(&raw mut all, fault);
        }
        match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) {
            0 => Ok(Mask(before)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// A descriptor that yields every blocked signal.
pub(crate) fn descriptor() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigfillset; the descriptor that signalfd returns is owned by
    // nobody else.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        match libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// The next signal that arrived, if any.
pub(crate) fn next(fd: &OwnedFd) -> Option<Signal> {
    // SAFETY: the buffer is as large as one record, which is plain data; a short read is discarded.
    unsafe {
        let mut record: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let got = libc::read(fd.as_raw_fd(), (&raw mut record).cast(), size);
        (usize::try_from(got) == Ok(size)).then(|| Signal {
            number: record.ssi_signo.cast_signed(),
            from_kernel: record.ssi_code == libc::SI_KERNEL,
        })
    }
}

/// Unblocks one signal for a moment and sends it to ourselves: for SIGSTOP's polite relatives.
pub(crate) fn stop_ourselves() {
    // SAFETY: raise(3) with a valid signal number; SIGSTOP cannot be blocked, so no mask is involved.
    unsafe {
        libc::raise(libc::SIGSTOP);
    }
}

/// The highest real-time signal.
pub(crate) fn realtime_max() -> i32 {
    libc::SIGRTMAX()
}

/// A real-time signal as a value to send.
pub(crate) fn realtime(number: i32) -> Option<rustix::process::Signal> {
    if !(libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number) {
        return None;
    }
    // SAFETY: the number is in the range that the C library leaves to programs.
    Some(unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}
