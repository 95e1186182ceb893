//! Signal masks of our own threads, and a watch on the signals that would end a command unseen.
//!
//! A watch is taken only where the disposition is the default one, and steps back as soon as the tool
//! installs a handler of its own (which may chain to ours). `exec` resets handlers to the default by itself.
#![expect(unsafe_code, reason = "sigaction(2), pthread_sigmask(3) and _exit(2) have no safe wrapper here")]

use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd as _;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// The pipe that the handler writes to; -1 when nobody watches.
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// The process that watches: a forked child must not write into its parent's pipe.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// Runs `f` with every signal blocked; threads that it starts inherit that, so that signals go on being
/// delivered to the threads that were there before.
pub(crate) fn blocked<T>(f: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid places to write; sigfillset initialises the first before it is read.
    let changed = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let result = f();
    if changed {
        // SAFETY: `before` was written by the successful call above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    }
    result
}

extern "C" fn on_signal(signal: libc::c_int) {
    let fd = PIPE.load(Ordering::Relaxed);
    // SAFETY: getpid, sigaction and write are async-signal-safe (signal-safety(7)); errno is put back.
    unsafe {
        if fd < 0 || libc::getpid() != OWNER.load(Ordering::Relaxed) || !is_ours(signal) {
            return;
        }
        let errno = *libc::__errno_location();
        let byte = u8::try_from(signal).unwrap_or(0);
        libc::write(fd, ptr::from_ref(&byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

fn is_ours(signal: libc::c_int) -> bool {
    disposition(signal) == Some(on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t)
}

fn disposition(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a query only; `current` is a valid place, and read only after success.
    unsafe {
        (libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) == 0)
            .then(|| current.assume_init().sa_sigaction)
    }
}

fn set_disposition(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: an all-zero sigaction is valid (no flags, empty mask); the handler is SIG_DFL or `on_signal`.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// What ends a command that does not handle it.
const WATCHED: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Reads the next watched signal.
pub(crate) struct Watch(std::io::PipeReader);

impl Watch {
    /// Takes over TERM, INT and HUP where they have the default disposition; `None` where none has.
    pub(crate) fn start() -> Option<Watch> {
        let mine: Vec<_> =
            WATCHED.into_iter().filter(|signal| disposition(*signal) == Some(libc::SIG_DFL)).collect();
        if mine.is_empty() || PIPE.load(Ordering::Relaxed) >= 0 {
            return None;
        }
        let (reader, writer) = std::io::pipe().ok()?;
        rustix::io::ioctl_fionbio(&writer, true).ok()?;
        OWNER.store(rustix::process::getpid().as_raw_nonzero().get(), Ordering::Relaxed);
        PIPE.store(writer.into_raw_fd(), Ordering::Relaxed);
        for signal in mine {
            set_disposition(signal, on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t);
        }
        Some(Watch(reader))
    }

    /// Blocks until a watched signal arrives; `None` when that cannot happen any more.
    pub(crate) fn next(&mut self) -> Option<libc::c_int> {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(1) => Some(libc::c_int::from(byte[0])),
            _ => None,
        }
    }
}

/// Gives the watched signals their default disposition back, where it is still ours.
pub(crate) fn unwatch() {
    for signal in WATCHED {
        if is_ours(signal) {
            set_disposition(signal, libc::SIG_DFL);
        }
    }
}

/// Ends this process by `signal`, as it would have ended without a watch.
pub(crate) fn die_by(signal: libc::c_int) -> ! {
    set_disposition(signal, libc::SIG_DFL);
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by sigemptyset before use; kill on ourselves and _exit take plain
    // numbers. Process 1 of a container does not die by a default signal: then _exit ends it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}
