//! Namespaces and the helper process.
#![expect(unsafe_code, reason = "unshare(2), fork(2) and what follows it")]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use agor_common::Exit;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A mount namespace of our own; takes CAP_SYS_ADMIN.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: this process has one thread, and nothing in it relies on sharing its mounts.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })
}

/// A user namespace and a mount namespace in it.
pub(crate) fn unshare_user_and_mounts() -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })
}

/// A descriptor of this very process.
pub(crate) fn own_pidfd() -> io::Result<OwnedFd> {
    let pid = rustix::process::getpid();
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// The stack of the helper process; what is not touched costs nothing.
const STACK: usize = 256 * 1024;

/// Runs `act` in a process that is nobody's child: init, or the nearest subreaper, takes it over. It ends with
/// `act`.
pub(crate) fn orphan<F: FnOnce()>(act: F) -> io::Result<()> {
    extern "C" fn middle<F: FnOnce()>(data: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `data` is the option below; who lent it sleeps until this process is gone.
        let act = unsafe { &mut *data.cast::<Option<F>>() };
        // SAFETY: this process has one thread, so the child may go on like any program.
        match unsafe { libc::fork() } {
            0 => {
                if let Some(act) = act.take() {
                    act();
                }
                end_with(0)
            }
            failed => libc::c_int::from(failed < 0),
        }
    }
    let mut act = Some(act);
    let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
    // The one in the middle lives as long as its fork takes, and in this memory: copying the page tables for
    // it too would cost as much again.
    // SAFETY: the stack grows down from its end, which is aligned to 16; CLONE_VFORK keeps this process from
    // running until the other one has ended, so that neither the stack nor `act` is used by two at once.
    let child = unsafe {
        libc::clone(
            middle::<F>,
            stack.as_mut_ptr().add(stack.capacity()).cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut act).cast(),
        )
    };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: the pointer is to a number that outlives the call. Where SIGCHLD is ignored it waits until the
    // child is gone and fails with ECHILD, which is as good.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return Ok(());
        }
    }
    if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EAGAIN)) }
}

/// Has the kernel keep the status of children that end, also for a caller that ignores SIGCHLD. Whether it did.
fn heed_children() -> bool {
    // SAFETY: setting the default action installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) == libc::SIG_IGN }
}

/// Does something in a child that ends at once, and brings its errno back.
pub(crate) fn in_child(act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    heed_children();
    // SAFETY: this process has one thread, so the child may go on like any program.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        let code = act().map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
        // SAFETY: ends this process without running anybody's clean-up.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: the pointer is to a number that outlives the call.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Starts a child, whose status can be waited for; `None` in the child.
pub(crate) fn fork_child() -> io::Result<Option<i32>> {
    let ignored = heed_children();
    // SAFETY: this process has one thread, so the child may go on like any program.
    match unsafe { libc::fork() } {
        failed if failed < 0 => Err(io::Error::last_os_error()),
        0 => {
            if ignored {
                // COMMAND gets what its caller left.
                // SAFETY: ignoring a signal installs no handler.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            }
            Ok(None)
        }
        child => Ok(Some(child)),
    }
}

/// A descriptor of a child that has not been waited for.
pub(crate) fn pidfd(child: i32) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(child).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Waits for a child to end; its status as a shell would give it.
pub(crate) fn wait_for(child: i32) -> io::Result<Exit> {
    let mut status = 0;
    // SAFETY: the pointer is to a number that outlives the call.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
    Ok(if libc::WIFSIGNALED(status) {
        Exit::signal(libc::WTERMSIG(status) as u8)
    } else {
        Exit::child(libc::WEXITSTATUS(status) as u8)
    })
}

static CHILD: AtomicI32 = AtomicI32::new(0);

extern "C" fn forward(signal: libc::c_int) {
    // SAFETY: kill(2) may be called from a signal handler; the child is not waited for before the end.
    unsafe {
        libc::kill(CHILD.load(Ordering::Relaxed), signal);
    }
}

/// Hands signals on to the child. What a terminal sends reaches the whole group anyway: that is ignored here.
pub(crate) fn forward_signals(child: i32) {
    CHILD.store(child, Ordering::Relaxed);
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: the handler does nothing but what a handler may.
        unsafe {
            libc::signal(signal, forward as extern "C" fn(libc::c_int) as libc::sighandler_t);
        }
    }
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// In the helper: leaves the terminal, the directory and every descriptor behind but these.
pub(crate) fn leave(optional: &[Option<&OwnedFd>], others: &[&OwnedFd]) {
    let mut keep: Vec<i32> =
        optional.iter().flatten().chain(others).map(|descriptor| descriptor.as_raw_fd()).collect();
    keep.sort_unstable();
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    // SAFETY: no pointers but a string that ends with NUL; 0 to 2 are never used again in this process.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        for standard in 0..3 {
            libc::close(standard);
        }
    }
    let _ = super::exec::close_others(&keep);
}

/// Sends what goes to stdout to stderr from here on.
pub(crate) fn stdout_to_stderr() {
    // SAFETY: both are numbers; std only ever writes to them by number too.
    unsafe {
        libc::dup2(2, 1);
    }
}

/// Ends a copy of this process at once: nothing of the one that it was copied from is to be flushed.
pub(crate) fn end_with(code: u8) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
