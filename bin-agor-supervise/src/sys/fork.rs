//! fork(2), for the keeper, and the namespaces it may live in.

#![expect(unsafe_code, reason = "fork(2), unshare(2), _exit(2)")]

use std::io;

/// Forks; `work` runs in the new process, which ends with its result and never returns from here.
///
/// Other threads do not exist in the new process: `work` must touch nothing that they may have locked, but
/// for the allocator, which the C library makes safe across fork.
pub(crate) fn fork(work: impl FnOnce() -> u8) -> io::Result<i32> {
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

/// Moves this process's later children into a PID namespace, and itself into a mount namespace; without
/// the privilege for that, inside a user namespace in which the user stays who it is.
pub(crate) fn unshare_pid() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    // SAFETY: unshare changes this process only, which was forked for this and has one thread.
    unsafe {
        if libc::unshare(flags) == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EPERM) {
            return Err(error);
        }
        if libc::unshare(flags | libc::CLONE_NEWUSER) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // user_namespaces(7): setgroups must be given up before a gid map may be written without privilege.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Gives this namespace its own `/proc`, which nobody outside sees.
pub(crate) fn mount_proc() -> io::Result<()> {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None)?;
    Ok(())
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
