//! The private mount namespace: entering it and making the changes of [`crate::mounts`].
//!
//! As root, or with CAP_SYS_ADMIN, the namespace alone; else inside a user namespace in which this user
//! keeps its own numbers. COMMAND can undo none of it: it has no capabilities and may not mount.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use crate::cleaner::Cleaner;
use crate::error::Error;
use crate::mounts::{Change, Mount};
use crate::placeholder::{self, Held};
use crate::plan::Plan;
use crate::profile::UnixMode;
use crate::status::{State, Status};
use crate::sys::{mount as sys, process};

/// In the tmpfs that holds what is mounted over hidden and absent names.
const STASH: &str = ".agor-sandbox";

/// Where that tmpfs may be: directories that no grant leads into.
const STASH_PLACES: [&str; 6] = ["/run", "/media", "/mnt", "/srv", "/boot", "/opt"];

/// Whether a directory was emptied by a sandbox that this one runs in.
pub(crate) fn is_stash(dir: &Path) -> bool {
    dir.join(STASH).is_dir()
}

fn describe(plan: &Plan) -> String {
    let count =
        |wanted: fn(&Change) -> bool| plan.mounts.iter().filter(|mount| wanted(&mount.change)).count();
    let protected = count(|change| matches!(change, Change::ReadOnly | Change::Absent { .. }));
    let hidden = count(|change| matches!(change, Change::Hidden { .. } | Change::Emptied { .. }));
    format!("{protected} protected, {hidden} hidden")
}

/// Enters the namespace and makes the changes. Whether other programs' sockets are out of reach.
pub(crate) fn apply(plan: &Plan, status: &mut Status) -> Result<bool, Error> {
    if plan.mounts.is_empty() {
        status.add("mounts", State::Off, Some("nothing to protect or to hide".into()));
        return Ok(plan.policy.unix.mode == UnixMode::Listed);
    }
    apply_all(plan, status)
}

#[inline(never)]
fn apply_all(plan: &Plan, status: &mut Status) -> Result<bool, Error> {
    let listed = plan.policy.unix.mode == UnixMode::Listed;
    let mut problems = Vec::new();
    let held = hold(&plan.mounts, &mut problems);
    // Started before the namespace is there: it must stay outside.
    let cleaner = match held.as_slice() {
        [] => None,
        held => Some(Cleaner::start(held).map_err(|error| {
            held.iter().for_each(Held::release);
            cannot_clean(error)
        })?),
    };
    drop(held);
    let cwd = std::env::current_dir().ok();
    let result = enter().and_then(|ipc| Ok((ipc, Stash::new(plan)?)));
    let (ipc, stash) = match result {
        Ok(entered) => entered,
        Err(error) => {
            let why = refused(&error);
            if let Some(mount) = plan.mounts.iter().find(|mount| mount.vital) {
                return Err(overlap(mount, plan, why));
            }
            status.add("mounts", State::Absent, Some(format!("{why}; not kept: {}", names(&plan.mounts))));
            return Ok(false);
        }
    };
    if let (Some(cleaner), Some(stash)) = (&cleaner, &stash) {
        cleaner.watch(&stash.place);
    }
    let mut sockets = listed;
    for mount in &plan.mounts {
        if let Err(error) = change(mount, stash.as_ref()) {
            if mount.vital {
                return Err(overlap(mount, plan, error.to_string()));
            }
            sockets &= !mount.why.contains("socket");
            problems.push(format!("{}: {error}", mount.path.display()));
        }
    }
    // The working directory may have been covered by a mount of itself: what is below is the old one.
    if let Some(cwd) = cwd {
        std::env::set_current_dir(&cwd)
            .map_err(|error| Error::apply(format!("return to {}", cwd.display()), error))?;
    }
    if problems.is_empty() {
        enforced(plan, ipc, status);
    } else {
        status.add("mounts", State::Degraded, Some(format!("not kept: {}", problems.join(", "))));
    }
    Ok(sockets)
}

/// What [`apply`] would report, found out in a process of its own that changes nothing.
pub(crate) fn predict(plan: &Plan, status: &mut Status) -> bool {
    let listed = plan.policy.unix.mode == UnixMode::Listed;
    if plan.mounts.is_empty() {
        status.add("mounts", State::Off, Some("nothing to protect or to hide".into()));
        return listed;
    }
    match probe() {
        Ok((_, ipc)) => {
            enforced(plan, ipc, status);
            listed
        }
        Err(why) => {
            status.add("mounts", State::Absent, Some(format!("{why}; not kept: {}", names(&plan.mounts))));
            false
        }
    }
}

/// Whether such a namespace can be had, how, and whether IPC has one too; tried in a process that ends at once.
pub(crate) fn probe() -> Result<(&'static str, bool), String> {
    let privileged = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN));
    let how = if privileged { "available, with CAP_SYS_ADMIN" } else { "available, in a user namespace" };
    let tried = process::in_child(|| {
        let ipc = enter()?;
        clone_tree(Path::new("/"))?;
        // The child has only an errno to say something with.
        if ipc { Ok(()) } else { Err(io::Error::from_raw_os_error(NO_IPC)) }
    });
    match tried {
        Ok(()) => Ok((how, true)),
        Err(error) if error.raw_os_error() == Some(NO_IPC) => Ok((how, false)),
        Err(error) => Err(refused(&error)),
    }
}

/// Stands for a namespace without one for IPC; none of the calls that are tried gives it.
const NO_IPC: i32 = libc::ENOMSG;

fn enforced(plan: &Plan, ipc: bool, status: &mut Status) {
    let layer = status.add("mounts", State::Enforced, Some(describe(plan)));
    layer
        .limits
        .push("a protected file that is replaced from outside while COMMAND runs is not covered any more");
    if plan.policy.protect {
        layer.limits.push("terminals that the same user opens after the start can be opened too");
    }
    if !ipc {
        layer
            .limits
            .push("System V IPC and message queues of other programs are in reach: no namespace for them");
    }
    if plan.policy.unix.mode == UnixMode::Listed {
        layer
            .limits
            .push("sockets made by other programs after the start, outside of /run, can be connected to");
    }
}

fn cannot_clean(error: io::Error) -> Error {
    Error::apply("start the helper that removes stand-ins", error)
}

fn overlap(mount: &Mount, plan: &Plan, why: String) -> Error {
    let wide = plan.grants.iter().find(|grant| grant.rights.write && mount.path.starts_with(&grant.path));
    Error::Overlap {
        narrow: mount.path.display().to_string(),
        wide: wide.map_or("a read-write grant".into(), |grant| {
            format!("{} {}", grant.rights.option(), grant.path.display())
        }),
        why,
    }
}

fn refused(error: &io::Error) -> String {
    let help = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "user namespaces are not allowed here (a container, kernel.unprivileged_userns_clone=0, or \
             kernel.apparmor_restrict_unprivileged_userns=1)"
        }
        Some(libc::ENOSPC | libc::EUSERS) => {
            "too many namespaces (user.max_mnt_namespaces, user.max_user_namespaces)"
        }
        Some(libc::ENOSYS) => "the kernel is older than 5.12",
        Some(libc::EINVAL) => "the kernel has no user namespaces, or another thread runs",
        _ => "see agor-sandbox doctor",
    };
    format!("no private mount namespace: {error}: {help}")
}

fn names(mounts: &[Mount]) -> String {
    let all: Vec<String> = mounts
        .iter()
        .filter(|mount| mount.change != Change::Pin)
        .map(|mount| mount.path.display().to_string())
        .collect();
    match all.len() {
        0..=4 => all.join(", "),
        more => format!("{} and {} more", all[..4].join(", "), more - 4),
    }
}

/// Makes the stand-ins, which takes the outer namespace.
fn hold(mounts: &[Mount], problems: &mut Vec<String>) -> Vec<Held> {
    let mut held = Vec::new();
    for mount in mounts {
        let Change::Absent { directory } = mount.change else { continue };
        match placeholder::hold(&mount.path, directory) {
            Ok(Some(one)) => held.push(one),
            // A real file came in between: it is covered like one.
            Ok(None) => {}
            Err(error) => problems.push(format!("{}: {error}", mount.path.display())),
        }
    }
    held
}

/// Enters a private mount namespace, in a user namespace of its own where that is needed. Whether there is one
/// for System V IPC too.
pub(crate) fn enter() -> io::Result<bool> {
    if let Ok(ipc) = process::unshare_mounts(0) {
        // In a new user namespace the kernel does this itself.
        let down = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", down)?;
        return Ok(ipc);
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let ipc = process::unshare_mounts(libc::CLONE_NEWUSER)?;
    // Without this the group list could be used to drop a group that denies (user_namespaces(7)).
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    Ok(ipc)
}

/// The tmpfs with what is mounted over hidden names. Its end tells the helper that the namespace is gone.
struct Stash {
    place: PathBuf,
    /// What stays of an emptied directory: (path, its tree).
    kept: Vec<(PathBuf, OwnedFd)>,
}

impl Stash {
    fn new(plan: &Plan) -> io::Result<Option<Stash>> {
        let emptied = plan.mounts.iter().find_map(|mount| match &mount.change {
            Change::Emptied { keep } => Some((mount.path.clone(), keep)),
            _ => None,
        });
        let needed = plan.mounts.iter().any(|mount| {
            matches!(mount.change, Change::Hidden { .. } | Change::Absent { .. } | Change::Emptied { .. })
        });
        if !needed {
            return Ok(None);
        }
        let mut kept = Vec::new();
        let place = match emptied {
            Some((path, keep)) => {
                for path in keep {
                    kept.push((path.clone(), clone_tree(path)?));
                }
                path
            }
            None => {
                let free = |place: &Path| {
                    let used = |path: &Path| path.starts_with(place) || place.starts_with(path);
                    place.is_dir() && !is_stash(place) && !plan.grants.iter().any(|grant| used(&grant.path))
                };
                let Some(place) = STASH_PLACES.iter().map(Path::new).find(|place| free(place)) else {
                    return Err(io::Error::from_raw_os_error(libc::ENOENT));
                };
                PathBuf::from(place)
            }
        };
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "mode", "0755")?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "size", "64k")?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        rustix::fs::mkdirat(&mount, STASH, Mode::from_raw_mode(0o755))?;
        let dir = rustix::fs::openat(&mount, STASH, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::mkdirat(&dir, "dir", Mode::empty())?;
        rustix::fs::openat(&dir, "file", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        attach(mount.as_fd(), &place)?;
        let stash = Stash { place, kept };
        for (path, tree) in &stash.kept {
            if path.is_dir() {
                continue;
            }
            // Its name in the emptied directory, to be covered by what was there.
            let is_dir = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir();
            if is_dir {
                std::fs::create_dir_all(path)?;
            } else {
                std::fs::create_dir_all(path.parent().unwrap_or(path))?;
                std::fs::File::create(path)?;
            }
            attach(tree.as_fd(), path)?;
        }
        Ok(Some(stash))
    }

    fn cover(&self, directory: bool) -> PathBuf {
        self.place.join(STASH).join(if directory { "dir" } else { "file" })
    }
}

fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

fn attach(tree: rustix::fd::BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", CWD, path, flags)?)
}

fn change(mount: &Mount, stash: Option<&Stash>) -> io::Result<()> {
    let over = |from: &Path, read_only: bool| {
        let tree = clone_tree(from)?;
        if read_only {
            sys::make_read_only(tree.as_fd())?;
        }
        attach(tree.as_fd(), &mount.path)
    };
    match &mount.change {
        Change::Pin => over(&mount.path, false),
        Change::ReadOnly | Change::Absent { .. } => over(&mount.path, true),
        Change::Hidden { directory } => {
            let stash = stash.ok_or(io::ErrorKind::NotFound)?;
            over(&stash.cover(*directory), true)
        }
        // Done with the stash itself.
        Change::Emptied { .. } => Ok(()),
    }
}
