//! Descriptors in the event loop.
#![expect(unsafe_code, reason = "AsyncFd::register asks for a promise about the descriptor")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches a non-blocking descriptor for as long as it is open.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is a valid descriptor, always the same one, and stays open until it is dropped,
    // which the AsyncFd, as its owner, does after deregistering.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}
