//! What this process was started with and Rust's start-up code changes before `main`: the disposition of
//! SIGPIPE, and which of the descriptors 0 to 2 were closed.
#![expect(unsafe_code, reason = "a function that runs before main, and sigaction(2)")]

use std::sync::atomic::{AtomicU8, Ordering};

const PIPE_IGNORED: u8 = 1 << 7;

/// Bits 0 to 2: that descriptor was closed. Bit 7: SIGPIPE was ignored.
static INHERITED: AtomicU8 = AtomicU8::new(0);

extern "C" fn record() {
    let mut bits = 0;
    for fd in 0..3 {
        // SAFETY: F_GETFD takes no pointer and changes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            bits |= 1 << fd;
        }
    }
    // SAFETY: sigaction is plain data for which all zeroes are valid; a null new action only reads.
    let ignored = unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    };
    if ignored {
        bits |= PIPE_IGNORED;
    }
    INHERITED.store(bits, Ordering::Relaxed);
}

// SAFETY: the loader calls every entry of .init_array once, before main, with no other thread running;
// `record` calls only functions that are safe at that time.
#[unsafe(link_section = ".init_array")]
#[used]
static RECORD: extern "C" fn() = record;

/// Brings back what was inherited, right before `execve`.
pub(crate) fn restore() {
    let bits = INHERITED.load(Ordering::Relaxed);
    if bits & PIPE_IGNORED == 0 {
        // SAFETY: setting the default action installs no handler.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
    }
    for fd in 0..3 {
        if bits & (1 << fd) != 0 {
            // SAFETY: what is open there is the /dev/null that the start-up code put in; nobody owns it.
            unsafe {
                libc::close(fd);
            }
        }
    }
}

/// A copy of a descriptor that is known only by its number.
pub(crate) fn duplicate(fd: i32) -> std::io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the number is only borrowed for the call; one that is not open gives EBADF.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?)
}
