//! What the caller handed over, before Rust's runtime and we ourselves change it.
//!
//! The runtime sets SIGPIPE to ignored before `main`; the child must get what we got. A constructor that
//! runs before the runtime looks at it first. SIGCHLD has to be the default here: where it is ignored the
//! kernel reaps children itself, and tells nobody how they ended.

#![expect(unsafe_code, reason = "sigaction(2), and a constructor in .init_array")]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static CHILD_IGNORED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    PIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Relaxed);
    CHILD_IGNORED.store(is_ignored(libc::SIGCHLD), Relaxed);
}

// SAFETY: the section holds pointers to functions of this type, called once before `main`; `look` needs
// nothing of the runtime.
#[unsafe(link_section = ".init_array")]
#[used]
static LOOK: extern "C" fn() = look;

/// Of SIGPIPE and SIGCHLD, what was ignored when this program was executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ignored {
    /// SIGPIPE.
    pub(crate) pipe: bool,
    /// SIGCHLD.
    pub(crate) child: bool,
}

/// What the caller ignored; the command gets the same.
pub(crate) fn ignored() -> Ignored {
    Ignored { pipe: PIPE_IGNORED.load(Relaxed), child: CHILD_IGNORED.load(Relaxed) }
}

/// From here on the ends of our children are ours to hear of.
pub(crate) fn hear_of_children() {
    // SAFETY: an all-zero sigaction is the default disposition with an empty mask.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
    }
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
