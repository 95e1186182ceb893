//! Descriptors that this process inherited.
#![expect(unsafe_code, reason = "close_range, and taking over an inherited descriptor by its number")]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::FromRawFd as _;

/// Marks everything above stderr close-on-exec, so that no session sees a descriptor of ours: sockets from
/// the service manager, the token's descriptor, whatever a parent left open.
pub(crate) fn close_on_exec() {
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call only sets a flag on descriptors; it closes nothing.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0;
    if !done {
        // Before Linux 5.11: one by one. A bound of 4096 covers what a parent plausibly left.
        for fd in 3..4096 {
            // SAFETY: F_SETFD changes a flag; on a number that is not open it fails with EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Reads inherited descriptor `fd` to its end (at most 8 KiB) and closes it.
pub(crate) fn read_inherited(fd: i32) -> io::Result<String> {
    if fd < 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: F_GETFD has no effect; it tells whether the number is an open descriptor.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, the user named it for this one purpose, and nothing else here uses it.
    let file = unsafe { File::from_raw_fd(fd) };
    let mut text = String::new();
    file.take(8192).read_to_string(&mut text)?;
    Ok(text)
}
