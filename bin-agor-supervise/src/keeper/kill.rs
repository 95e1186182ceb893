//! How every descendant is found and ended.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::Setup;

/// What guarantees that nothing of the command survives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// The keeper is a subreaper: everything that loses its parent becomes the keeper's own child.
    Keeper,
    /// And all of it is in a cgroup, which the kernel ends as one.
    Cgroup(PathBuf),
    /// And all of it is in a PID namespace whose init is the keeper.
    Pid,
}

impl Isolation {
    /// As `status` names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Isolation::Keeper => "keeper",
            Isolation::Cgroup(_) => "cgroup",
            Isolation::Pid => "pid namespace",
        }
    }

    /// The file that a process writes to in order to enter the cgroup.
    pub(super) fn entrance(&self) -> Option<OwnedFd> {
        let Isolation::Cgroup(dir) = self else { return None };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(dir.join("cgroup.procs"), flags, Mode::empty()).ok()
    }

    /// Sends SIGKILL to all that can be found now. What is forked meanwhile becomes findable when its
    /// parent dies, so the caller repeats this until there is no child any more.
    pub(super) fn kill_descendants(&self) {
        if let Isolation::Cgroup(dir) = self {
            // cgroup v2, Linux 5.14; where it fails the list below does it.
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
        if *self == Isolation::Pid && getpid() == Pid::INIT {
            // As the namespace's init this reaches all of it and not ourselves.
            let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
        }
        for child in children() {
            // Our own child, not reaped yet: the number is its.
            let _ = kill_process(child, Signal::KILL);
        }
    }

    /// How many children are left, ended or not.
    pub(super) fn count_children(&self) -> i64 {
        i64::try_from(children().len()).unwrap_or(i64::MAX)
    }

    /// Removes the cgroup, which is empty now.
    pub(super) fn leave(&self) {
        if let Isolation::Cgroup(dir) = self {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Our children.
pub(super) fn children() -> Vec<Pid> {
    children_of(getpid())
}

/// A process's children: from the kernel's list, or, where it has none (CONFIG_PROC_CHILDREN), by looking at all.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get();
    if let Ok(list) = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        return list
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter_map(Pid::from_raw)
            .collect();
    }
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .filter_map(Pid::from_raw)
        .collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|byte| *byte == b')')? + 2;
    let rest = std::str::from_utf8(stat.get(after..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Closes what the keeper has of the supervisor's: everything from 3 up that would not survive an exec,
/// but for its own. What the caller meant the command to inherit stays.
pub(super) fn close_others(setup: &Setup) {
    let mut keep: Vec<RawFd> = vec![setup.socket.as_raw_fd()];
    keep.extend(setup.keep.iter().map(rustix::fd::AsRawFd::as_raw_fd));
    keep.extend(setup.template.terminal);
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open {
        if fd > 2 && !keep.contains(&fd) {
            crate::sys::fork::close_if_cloexec(fd);
        }
    }
}
