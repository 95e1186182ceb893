//! What the kernel still holds for a peer.
#![expect(unsafe_code, reason = "the SIOCOUTQ ioctl and the TCP_NOTSENT_LOWAT socket option")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Bytes sent and not yet acknowledged (SIOCOUTQ, tcp(7)); 0 where that cannot be told.
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } == 0;
    if done { u64::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Lets the socket count as writable only while less than `bytes` are unsent, so that what waits for a slow
/// peer waits here, where a reply or a ping can still go ahead of it. A kernel that refuses changes nothing.
pub(crate) fn limit_unsent(socket: BorrowedFd<'_>, bytes: u32) {
    // SAFETY: the option takes a pointer to a 32-bit value and its size, and copies it.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            size_of::<u32>() as libc::socklen_t,
        );
    }
}
