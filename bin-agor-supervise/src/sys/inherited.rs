//! What the caller handed over before Rust's runtime changed it.
//!
//! The runtime sets SIGPIPE to ignored before `main`; the child must get what we got. A constructor that
//! runs before the runtime looks at it first.

#![expect(unsafe_code, reason = "sigaction(2), and a constructor in .init_array")]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    PIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Relaxed);
}

// SAFETY: the section holds pointers to functions of this type, called once before `main`; `look` needs
// nothing of the runtime.
#[unsafe(link_section = ".init_array")]
#[used]
static LOOK: extern "C" fn() = look;

/// Whether SIGPIPE was ignored when this program was executed.
pub(crate) fn sigpipe_ignored() -> bool {
    PIPE_IGNORED.load(Relaxed)
}

/// Whether `signal` is ignored now.
pub(crate) fn is_ignored(signal: i32) -> bool {
    // SAFETY: an all-zero sigaction is a valid value to be filled in; the new action is null, so nothing
    // is changed.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
