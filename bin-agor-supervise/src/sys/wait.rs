//! wait4(2) and waitid(2): who ended, and at what cost.

#![expect(unsafe_code, reason = "wait4(2), waitid(2)")]

use std::io;

/// How a process ended, and what it used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// wait(2) status.
    pub(crate) status: i32,
    /// Maximum resident set size in KiB.
    pub(crate) max_rss_kib: i64,
    /// User CPU time in microseconds.
    pub(crate) user_us: i64,
    /// System CPU time in microseconds.
    pub(crate) system_us: i64,
}

/// What [`peek`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peek {
    /// This child has ended and is not reaped yet.
    Ended(i32),
    /// There are children, and none has ended.
    Running,
    /// There is no child at all.
    NoChild,
}

/// Looks for a child that has ended, without reaping it: any, or one.
pub(crate) fn peek(pid: Option<i32>) -> Peek {
    let (kind, id) = pid.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid.cast_unsigned()));
    // SAFETY: the record is plain data that waitid fills in; WNOWAIT leaves the child as it is.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        match libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
            0 => match info.si_pid() {
                0 => Peek::Running,
                pid => Peek::Ended(pid),
            },
            _ => Peek::NoChild,
        }
    }
}

/// The signal that the child was stopped by since the last call, or 0 when it goes on.
pub(crate) fn stop_change(pid: i32) -> Option<i32> {
    // SAFETY: as in `peek`; without WEXITED the child's end is not consumed.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
        if libc::waitid(libc::P_PID, pid.cast_unsigned(), &raw mut info, flags) != 0 || info.si_pid() == 0 {
            return None;
        }
        Some(if info.si_code == libc::CLD_STOPPED { info.si_status() } else { 0 })
    }
}

/// Reaps a child that has ended.
pub(crate) fn reap(pid: i32) -> io::Result<Ended> {
    // SAFETY: both records are plain data that wait4 fills in.
    unsafe {
        let mut status = 0;
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) != pid {
            return Err(io::Error::last_os_error());
        }
        let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        Ok(Ended {
            status,
            max_rss_kib: usage.ru_maxrss,
            user_us: micros(usage.ru_utime),
            system_us: micros(usage.ru_stime),
        })
    }
}
