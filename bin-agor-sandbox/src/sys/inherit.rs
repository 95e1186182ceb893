//! What this process was started with and cannot keep while it prepares: the disposition of SIGPIPE, and which
//! of the descriptors 0 to 2 were closed.
#![expect(unsafe_code, reason = "poll(2), signal(2) and descriptors by number")]

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

const PIPE_IGNORED: u8 = 1 << 7;

/// Bits 0 to 2: that descriptor was closed. Bit 7: SIGPIPE was ignored.
static INHERITED: AtomicU8 = AtomicU8::new(0);

/// Notes what was inherited and makes it what this program needs: a broken pipe is an error and no signal, and
/// nothing that is opened later gets the number of a standard descriptor.
pub(crate) fn record() -> io::Result<()> {
    let mut bits = 0;
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three of them, which outlive the call.
    unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) };
    for polled in standard.iter().filter(|polled| polled.revents & libc::POLLNVAL != 0) {
        bits |= 1 << polled.fd;
        // The lowest free number, which is this one.
        // SAFETY: the path ends with NUL.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: ignoring a signal installs no handler.
    if unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } == libc::SIG_IGN {
        bits |= PIPE_IGNORED;
    }
    INHERITED.store(bits, Ordering::Relaxed);
    Ok(())
}

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
            // SAFETY: what is open there is the /dev/null that `record` put in; nobody owns it.
            unsafe {
                libc::close(fd);
            }
        }
    }
}

/// A copy of a descriptor that is known only by its number.
pub(crate) fn duplicate(fd: i32) -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: the number is only borrowed for the call; one that is not open gives EBADF.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    Ok(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?)
}
