//! Starting the command: clone(2) that shares memory until execve(2), as vfork does, so that it costs the
//! same however large the parent is, and the failure of execve comes back as a value.

#![expect(unsafe_code, reason = "clone(2), and the calls between it and execve(2)")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use super::inherited::Ignored;
use super::signals::Mask;

/// What stays the same for every incarnation.
pub(crate) struct Template {
    /// Paths to try in this order; more than one when PATH was searched.
    pub(crate) candidates: Vec<CString>,
    /// The argument vector.
    pub(crate) argv: Vec<CString>,
    /// The mask that the caller had.
    pub(crate) mask: Mask,
    /// What the caller ignored.
    pub(crate) ignored: Ignored,
    /// The terminal to take over, when the command is to be in its foreground.
    pub(crate) terminal: Option<RawFd>,
    /// Whether `LISTEN_PID` is to name the child (sd_listen_fds(3)).
    pub(crate) listen_pid: bool,
}

/// What differs.
#[derive(Default)]
pub(crate) struct Once {
    /// `KEY=VALUE`, complete.
    pub(crate) env: Vec<CString>,
    /// Descriptor for stdout, if not our own.
    pub(crate) stdout: Option<RawFd>,
    /// Descriptor for stderr, if not our own.
    pub(crate) stderr: Option<RawFd>,
    /// A `cgroup.procs` file to join.
    pub(crate) cgroup: Option<RawFd>,
    /// Whether it takes the terminal over.
    pub(crate) foreground: bool,
}

/// Why there is no child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpawnError {
    /// clone(2) failed, or a step before execve(2): trying again may help.
    Clone(i32),
    /// execve(2) failed: the errno of the candidate that was most nearly right.
    Exec(i32),
}

const LISTEN: &[u8] = b"LISTEN_PID=";

struct Shared {
    candidates: Vec<*const c_char>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    listen: Option<*mut u8>,
    mask: libc::sigset_t,
    ignored: Ignored,
    terminal: Option<RawFd>,
    stdout: Option<RawFd>,
    stderr: Option<RawFd>,
    cgroup: Option<RawFd>,
    parent: i32,
    exec_errno: AtomicI32,
    setup_errno: AtomicI32,
}

/// A stack for the child until it executes.
pub(crate) struct Stack(Vec<u128>);

impl Stack {
    /// 64 KiB: the child calls nothing deep.
    pub(crate) fn new() -> Stack {
        Stack(vec![0; 4096])
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Starts the command in a process group of its own, to be killed when this process dies.
pub(crate) fn spawn(template: &Template, once: &Once, stack: &mut Stack) -> Result<i32, SpawnError> {
    let mut listen_buffer = [0u8; 32];
    listen_buffer[..LISTEN.len()].copy_from_slice(LISTEN);
    let mut envp = pointers(&once.env);
    let mut listen = None;
    if template.listen_pid {
        let null = envp.len() - 1;
        envp[null] = listen_buffer.as_ptr().cast();
        envp.push(std::ptr::null());
        listen = Some(listen_buffer.as_mut_ptr());
        envp[null] = listen_buffer.as_mut_ptr().cast();
    }
    let shared = Shared {
        candidates: template.candidates.iter().map(|s| s.as_ptr()).collect(),
        argv: pointers(&template.argv),
        envp,
        listen,
        mask: template.mask.0,
        ignored: template.ignored,
        terminal: template.terminal.filter(|_| once.foreground),
        stdout: once.stdout,
        stderr: once.stderr,
        cgroup: once.cgroup,
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        exec_errno: AtomicI32::new(0),
        setup_errno: AtomicI32::new(0),
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child runs `child` on a stack of its own while this thread is suspended (CLONE_VFORK), and
    // `shared` and what it points to outlive it: it leaves this memory by execve or _exit before clone
    // returns. The stack grows down from its end, which is aligned to 16 bytes.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr_range().end;
        libc::clone(child, top.cast::<c_void>(), flags, (&raw const shared).cast_mut().cast())
    };
    if pid < 0 {
        return Err(SpawnError::Clone(io::Error::last_os_error().raw_os_error().unwrap_or(0)));
    }
    let (setup, exec) = (shared.setup_errno.load(Relaxed), shared.exec_errno.load(Relaxed));
    if setup == 0 && exec == 0 {
        return Ok(pid);
    }
    // It has ended without having executed anything: reap it here, so that nobody takes it for a crash.
    // SAFETY: the pid is that of our own child, which nobody else waits for.
    unsafe {
        while libc::waitpid(pid, std::ptr::null_mut(), 0) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
    Err(if setup != 0 { SpawnError::Clone(setup) } else { SpawnError::Exec(exec) })
}

/// The child until it executes: system calls only, no allocation, no lock.
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `argument` is the `Shared` of `spawn`, alive while the parent is suspended; the pointers in it
    // end with null where execve needs that; every call here is async-signal-safe.
    unsafe {
        let shared = &*argument.cast::<Shared>();
        let fail = |code: &AtomicI32| -> ! {
            code.store(*libc::__errno_location(), Relaxed);
            libc::_exit(127)
        };
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != shared.parent {
            libc::_exit(127);
        }
        libc::setpgid(0, 0);
        if let Some(procs) = shared.cgroup
            && libc::write(procs, b"0\n".as_ptr().cast(), 2) < 0
        {
            fail(&shared.setup_errno);
        }
        for (source, target) in [(shared.stdout, 1), (shared.stderr, 2)] {
            if let Some(source) = source
                && libc::dup2(source, target) < 0
            {
                fail(&shared.setup_errno);
            }
        }
        if let Some(terminal) = shared.terminal {
            // SIGTTOU is blocked here, so this works from the background; where it does not, the
            // command just starts in the background.
            libc::tcsetpgrp(terminal, libc::getpid());
        }
        if let Some(buffer) = shared.listen {
            write_pid(buffer.add(LISTEN.len()), libc::getpid());
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        for (signal, ignored) in [(libc::SIGPIPE, shared.ignored.pipe), (libc::SIGCHLD, shared.ignored.child)]
        {
            action.sa_sigaction = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const shared.mask, std::ptr::null_mut());
        let mut worst = libc::ENOENT;
        for candidate in &shared.candidates {
            libc::execve(*candidate, shared.argv.as_ptr(), shared.envp.as_ptr());
            // As execvp(3): the search goes on past what is not there, and remembers a denial.
            match *libc::__errno_location() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => worst = libc::EACCES,
                other => {
                    worst = other;
                    break;
                }
            }
        }
        shared.exec_errno.store(worst, Relaxed);
        libc::_exit(127)
    }
}

/// Decimal digits and a NUL. `to` must have room for 11 bytes.
unsafe fn write_pid(to: *mut u8, pid: i32) {
    let mut digits = [0u8; 10];
    let mut count = 0;
    let mut rest = pid.unsigned_abs();
    while count == 0 || rest > 0 {
        digits[count] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
    }
    for i in 0..count {
        // SAFETY: at most ten digits and the NUL are written, as the caller promised room for.
        unsafe { to.add(i).write(digits[count - 1 - i]) };
    }
    // SAFETY: as above.
    unsafe { to.add(count).write(0) };
}
