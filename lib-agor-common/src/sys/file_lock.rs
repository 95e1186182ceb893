//! POSIX record locks of other processes, seen through a descriptor that this process already has.
//!
//! Closing any descriptor of a file drops every POSIX lock that the process holds on it (fcntl_locking(2)).
//! So nothing here ever opens or closes one: a descriptor is found in `/proc/self/fd` and borrowed.
#![expect(unsafe_code, reason = "F_GETLK on, and borrowing of, a descriptor that SQLite owns")]

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;

/// A lock of another process on one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocking {
    /// Its owner; 0 or less when that is not a process of this pid namespace.
    pub(crate) pid: i32,
    /// Whether it excludes readers too.
    pub(crate) exclusive: bool,
}

/// A descriptor of this process for the file `(device, inode)`, if it has one.
pub(crate) fn own_descriptor(file: (u64, u64)) -> Option<RawFd> {
    std::fs::read_dir("/proc/self/fd").ok()?.flatten().find_map(|entry| {
        let fd: RawFd = entry.file_name().to_str()?.parse().ok()?;
        // stat through the link: it opens nothing.
        let meta = std::fs::metadata(entry.path()).ok()?;
        ((meta.dev(), meta.ino()) == file).then_some(fd)
    })
}

/// Runs `work` with this process's own descriptor for `file`; `None` where it has none. The caller must
/// keep the connection that owns the descriptor open meanwhile.
pub(crate) fn with_own<T>(file: (u64, u64), work: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
    let fd = own_descriptor(file)?;
    // SAFETY: the descriptor was open a moment ago and belongs to a connection that the caller keeps; were
    // it closed after all, `work` would see EBADF or another file of ours, which it only reads or syncs.
    Some(work(unsafe { BorrowedFd::borrow_raw(fd) }))
}

/// The lock of another process that would keep this one from write-locking byte `at`.
pub(crate) fn blocking(fd: RawFd, at: i64) -> io::Result<Option<Blocking>> {
    // SAFETY: `flock` is plain old data; all zeroes is a valid value of every field.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = at;
    lock.l_len = 1;
    // SAFETY: `lock` outlives the call, which only writes to it; a stale `fd` is EBADF or a question
    // about another file, and F_GETLK changes nothing.
    if unsafe { libc::fcntl(fd, libc::F_GETLK, &raw mut lock) } == -1 {
        return Err(io::Error::last_os_error());
    }
    if i32::from(lock.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    Ok(Some(Blocking { pid: lock.l_pid, exclusive: i32::from(lock.l_type) == libc::F_WRLCK }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn an_open_file_is_found_and_asked() {
        let ours = tempfile::NamedTempFile::new().unwrap();
        let meta = ours.as_file().metadata().unwrap();
        let fd = own_descriptor((meta.dev(), meta.ino())).unwrap();
        assert_eq!(fd, ours.as_raw_fd());
        assert_eq!(own_descriptor((meta.dev(), u64::MAX)), None);
        assert_eq!(blocking(fd, 120).unwrap(), None);
        // An open file description lock belongs to no process, and so conflicts with this one's.
        let other = std::fs::OpenOptions::new().read(true).write(true).open(ours.path()).unwrap();
        // SAFETY: all zeroes is a valid `flock`.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_start = 120;
        lock.l_len = 1;
        // SAFETY: `lock` outlives the call and the descriptor is open.
        assert_eq!(unsafe { libc::fcntl(other.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }, 0);
        assert_eq!(blocking(fd, 120).unwrap(), Some(Blocking { pid: -1, exclusive: true }));
        assert_eq!(blocking(fd, 121).unwrap(), None);
    }
}
