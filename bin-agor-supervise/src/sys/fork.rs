//! fork(2), for the keeper.

#![expect(unsafe_code, reason = "fork(2), clone(2), _exit(2)")]

use std::io;

/// Forks; `work` runs in the new process, which ends with its result and never returns from here. With
/// `namespace` the new process is the init of a PID namespace of its own.
///
/// Other threads do not exist in the new process: `work` must touch nothing that they may have locked, but
/// for the allocator, which the C library makes safe across fork.
pub(crate) fn fork(namespace: bool, work: impl FnOnce() -> u8) -> io::Result<i32> {
    if namespace {
        // SAFETY: only this process's later children are affected.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the child only runs `work`, under the contract above, and ends with _exit, so that nothing of
    // the parent's (destructors, buffers) runs twice.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(70);
                libc::_exit(i32::from(status))
            }
            pid => Ok(pid),
        }
    }
}

/// Closes a descriptor by number if it is marked close-on-exec.
pub(crate) fn close_if_cloexec(fd: i32) {
    // SAFETY: only for a fresh fork that owns nothing through these numbers any more but what its caller
    // kept out of this.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFD);
        if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
            libc::close(fd);
        }
    }
}
