//! Starting a keeper, and choosing by what it isolates.

use std::ffi::CString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, kill_process};

use super::{Isolation, Setup};
use crate::cli::Isolate;
use crate::error::SuperviseError;
use crate::sys::fork;
use crate::sys::inherited::Ignored;
use crate::sys::signals::Mask;
use crate::sys::spawn::Template;
use crate::sys::wait;

/// What every keeper of this supervisor is made from.
pub(crate) struct Plan {
    /// Paths to try.
    pub(crate) candidates: Vec<CString>,
    /// The arguments.
    pub(crate) argv: Vec<CString>,
    /// The environment.
    pub(crate) env: Vec<CString>,
    /// The mask that the caller had.
    pub(crate) mask: Mask,
    /// What the caller ignored.
    pub(crate) ignored: Ignored,
    /// Whether stdin is a terminal that can be lent.
    pub(crate) terminal: bool,
    /// Whether `LISTEN_PID` has to name the command.
    pub(crate) listen_pid: bool,
    /// By what its descendants are found.
    pub(crate) isolation: Isolation,
    /// The lock on the name.
    pub(crate) lock: Option<OwnedFd>,
}

/// A running keeper.
pub(crate) struct Link {
    /// Our end.
    pub(crate) socket: OwnedFd,
    /// Its process.
    pub(crate) pid: i32,
}

impl Plan {
    fn setup(&self, socket: OwnedFd) -> io::Result<Setup> {
        let template = Template {
            candidates: self.candidates.clone(),
            argv: self.argv.clone(),
            mask: self.mask,
            ignored: self.ignored,
            terminal: self.terminal.then_some(0),
            listen_pid: self.listen_pid,
        };
        let mut keep = Vec::new();
        if let Some(lock) = &self.lock {
            keep.push(lock.try_clone()?);
        }
        Ok(Setup { template, env: self.env.clone(), isolation: self.isolation.clone(), socket, keep })
    }

    /// Starts a keeper.
    pub(crate) fn launch(&self) -> io::Result<Link> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let setup = self.setup(theirs)?;
        if self.isolation != Isolation::Pid {
            let pid = fork::fork(|| super::run(setup))?;
            return Ok(Link { socket: ours, pid });
        }
        let (mut read, mut write) = io::pipe()?;
        // The namespace begins with the first child after unshare(2). That call is made in a process
        // between, so that our own later children stay outside; the keeper becomes our child when that
        // process ends, because we are a subreaper.
        let between = fork::fork(move || {
            let mut tell = |number: i32| write.write_all(&number.to_ne_bytes()).is_ok();
            let keeper = fork::unshare_pid().and_then(|()| {
                fork::fork(|| match fork::mount_proc() {
                    Ok(()) => super::run(setup),
                    Err(_) => 71,
                })
            });
            match keeper {
                Ok(pid) => u8::from(!tell(pid)),
                Err(error) => u8::from(!tell(-error.raw_os_error().unwrap_or(libc::EPERM))),
            }
        })?;
        let mut number = [0; 4];
        let got = read.read_exact(&mut number);
        while wait::peek(Some(between)) == wait::Peek::Running {
            std::thread::yield_now();
        }
        // It was ours to wait for, and said what it had to say.
        let _ = wait::reap(between);
        got?;
        match i32::from_ne_bytes(number) {
            pid if pid > 0 => Ok(Link { socket: ours, pid }),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

/// A keeper that somebody stopped could neither carry out an order nor note an end: it goes on at once.
pub(crate) fn go_on(keeper: i32) {
    while let Some(signal) = wait::stop_change(keeper) {
        if signal != 0
            && let Some(pid) = Pid::from_raw(keeper)
        {
            // It is our child and not reaped, or nothing would be known of it.
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

/// Sends a signal to what `keeper` is just starting. Until that has executed its program the keeper waits for it
/// (vfork(2)), and neither sees that somebody stopped it nor carries out an order.
pub(crate) fn signal_unborn(keeper: i32, signal: Signal) {
    for pid in Pid::from_raw(keeper).map(super::kill::children_of).unwrap_or_default() {
        // Who waits does not reap, and who does not wait any more has the same orders to carry out itself.
        let _ = kill_process(pid, signal);
    }
}

/// The isolation for `--isolate`, with `label` in the name of its cgroup; `auto` takes the strongest that has no side effect.
pub(crate) fn choose(isolate: Isolate, label: &str) -> Result<Isolation, SuperviseError> {
    match isolate {
        Isolate::Keeper => Ok(Isolation::Keeper),
        Isolate::Pid => Ok(Isolation::Pid),
        Isolate::Cgroup => make_cgroup(label)
            .map(Isolation::Cgroup)
            .map_err(|source| SuperviseError::Isolation { what: "cgroup", source }),
        Isolate::Auto => Ok(match own_cgroup() {
            Ok(own) if is_delegated(&own) => make_cgroup(label).map_or(Isolation::Keeper, Isolation::Cgroup),
            _ => Isolation::Keeper,
        }),
    }
}

/// Our cgroup v2 directory.
fn own_cgroup() -> io::Result<PathBuf> {
    let missing = || io::Error::other("there is no cgroup v2 here");
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(missing)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    // proc_pid_mountinfo(5): … root mountpoint options… - type source options
    let mount = mounts
        .lines()
        .find(|line| line.split(" - ").nth(1).is_some_and(|rest| rest.starts_with("cgroup2 ")))
        .and_then(|line| line.split(' ').nth(4))
        .ok_or_else(missing)?;
    Ok(PathBuf::from(mount).join(own.trim_start_matches('/')))
}

/// Whether a manager gave this cgroup to us: systemd marks one with `Delegate=yes`, and a user's own
/// belongs to that user.
fn is_delegated(dir: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let mut value = [0u8; 8];
    for attribute in ["user.delegate", "trusted.delegate"] {
        if rustix::fs::getxattr(dir, attribute, &mut value[..]).is_ok_and(|n| &value[..n] == b"1") {
            return true;
        }
    }
    let me = rustix::process::geteuid().as_raw();
    me != 0 && fs::metadata(dir).is_ok_and(|meta| meta.uid() == me)
}

/// Makes the cgroup of `label` below ours. What a killed predecessor left in it is ended.
fn make_cgroup(label: &str) -> io::Result<PathBuf> {
    let dir = own_cgroup()?.join(format!("agor-{label}"));
    match fs::create_dir(&dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::write(dir.join("cgroup.kill"), "1")?;
        }
        Err(error) => return Err(error),
    }
    // Both files are needed: to enter, and (Linux 5.14) to end it.
    for file in ["cgroup.procs", "cgroup.kill"] {
        fs::OpenOptions::new().write(true).open(dir.join(file))?;
    }
    Ok(dir)
}

/// Ends, from the supervisor, all that became our children because the keeper was killed; `spare` are our
/// own. Returns how many are left after `patience`.
pub(crate) fn end_orphans(
    isolation: &Isolation,
    spare: impl Fn(i32) -> bool,
    patience: std::time::Duration,
) -> usize {
    let until = crate::clock::now() + patience;
    loop {
        let mine: Vec<_> =
            super::kill::children().into_iter().filter(|pid| !spare(pid.as_raw_nonzero().get())).collect();
        if mine.is_empty() || crate::clock::now() >= until {
            return mine.len();
        }
        if let Isolation::Cgroup(dir) = isolation {
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
        for pid in mine {
            let _ = kill_process(pid, Signal::KILL);
            // Reaped as soon as it is gone; those that are not yet come again in the next round.
            let _ = wait::reap(pid.as_raw_nonzero().get());
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A borrowed pair of descriptors for a spawn.
pub(crate) fn borrow(
    fds: &(Option<OwnedFd>, Option<OwnedFd>),
) -> (Option<std::os::fd::BorrowedFd<'_>>, Option<std::os::fd::BorrowedFd<'_>>) {
    (fds.0.as_ref().map(|fd| fd.as_fd()), fds.1.as_ref().map(|fd| fd.as_fd()))
}
