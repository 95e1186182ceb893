//! The private mount namespace: entering it and making the changes of [`crate::mounts`].
//!
//! As root, or with CAP_SYS_ADMIN, the namespace alone; else inside a user namespace in which this user
//! keeps its own numbers. COMMAND can undo none of it: it has no capabilities and may not mount.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags,
};

use crate::cleaner::Cleaner;
use crate::error::Error;
use crate::host::within;
use crate::mounts::{Change, Mount, landlock_knows_sockets};
use crate::placeholder::{self, Held};
use crate::plan::Plan;
use crate::profile::UnixMode;
use crate::sockets;
use crate::status::{State, Status};
use crate::sys::path::real;
use crate::sys::{mount as sys, process};

/// In the tmpfs that holds what is mounted over hidden and absent names.
const STASH: &str = ".agor-sandbox";

/// Where that tmpfs may be: directories that no grant leads into.
const STASH_PLACES: [&str; 6] = ["/run", "/media", "/mnt", "/srv", "/boot", "/opt"];

/// Whether a directory was emptied by a sandbox that this one runs in.
pub(crate) fn is_stash(dir: &Path) -> bool {
    dir.join(STASH).is_dir()
}

const BLIND: &str = "sockets of other programs outside of /run, since /proc/net/unix cannot be read";

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
        nothing(plan, status);
        return Ok(plan.policy.unix.mode == UnixMode::Listed && !plan.blind);
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
    let result = enter().and_then(|()| Stash::new(plan));
    let stash = match result {
        Ok(stash) => stash,
        Err(error) => {
            let why = refused(&error);
            if let Some(mount) = plan.mounts.iter().find(|mount| mount.vital) {
                return Err(overlap(mount, plan, why));
            }
            status.add("mounts", State::Absent, Some(format!("{why}; not kept: {}", names(&plan.mounts))));
            return Ok(false);
        }
    };
    if let (Some(cleaner), Some(stash)) = (&cleaner, &stash)
        && let Err(error) = cleaner.watch(&stash.place)
    {
        problems.push(format!(
            "names that do not exist yet, once COMMAND itself has ended and left processes behind ({error}, see \
             fs.inotify.max_user_watches)"
        ));
    }
    // As they are now: a copy of what is read-only is read-only.
    let mut writable = plan
        .mounts
        .iter()
        .filter(|mount| mount.change == Change::Writable)
        .map(|mount| clone_tree(&mount.path))
        .collect::<Vec<_>>()
        .into_iter();
    let mut sockets = listed && !plan.blind;
    problems.extend(plan.blind.then(|| BLIND.to_owned()));
    for mount in &plan.mounts {
        let tree = if mount.change == Change::Writable { writable.next() } else { None };
        let changed = match tree {
            Some(tree) => tree.and_then(|tree| attach(tree.as_fd(), &mount.path)),
            None => change(mount, stash.as_ref()),
        };
        if let Err(error) = changed {
            if mount.vital {
                return Err(overlap(mount, plan, error.to_string()));
            }
            sockets &= !mount.why.contains("socket");
            let path = format!("{}: ", mount.path.display());
            // What could not be made is said already.
            if !problems.iter().any(|known| known.starts_with(&path)) {
                problems.push(path + &error.to_string());
            }
        }
    }
    // The working directory may have been covered by a mount of itself: what is below is the old one.
    if let Some(cwd) = cwd
        && let Err(error) = std::env::set_current_dir(&cwd)
    {
        // Out of reach by its name, as after su(1) in root's home: then it is where this process was and stays.
        let covered = plan.mounts.iter().any(|mount| within(&cwd, &mount.path));
        if covered || error.kind() != io::ErrorKind::PermissionDenied {
            return Err(Error::apply(format!("return to {}", cwd.display()), error));
        }
    }
    if problems.is_empty() {
        enforced(plan, status);
    } else {
        degraded(status, &problems.join(", "));
    }
    Ok(sockets)
}

/// What [`apply`] would report, found out in a process of its own that changes nothing.
pub(crate) fn predict(plan: &Plan, status: &mut Status) -> bool {
    let listed = plan.policy.unix.mode == UnixMode::Listed;
    if plan.mounts.is_empty() {
        nothing(plan, status);
        return listed && !plan.blind;
    }
    match probe() {
        Ok(_) if plan.blind => {
            degraded(status, BLIND);
            false
        }
        Ok(_) => {
            enforced(plan, status);
            listed
        }
        Err(why) => {
            let why = match plan.mounts.iter().find(|mount| mount.vital) {
                Some(mount) => format!("COMMAND is not run: {}", overlap(mount, plan, why)),
                None => format!("{why}; not kept: {}", names(&plan.mounts)),
            };
            status.add("mounts", State::Absent, Some(why));
            false
        }
    }
}

/// Whether such a namespace can be had, and how; tried in a process that ends at once.
pub(crate) fn probe() -> Result<&'static str, String> {
    let privileged = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN));
    let tried = process::in_child(|| enter().and_then(|()| clone_tree(Path::new("/")).map(drop)));
    match tried {
        Ok(()) if privileged => Ok("available, with CAP_SYS_ADMIN"),
        Ok(()) => Ok("available, in a user namespace"),
        Err(error) => Err(refused(&error)),
    }
}

fn enforced(plan: &Plan, status: &mut Status) {
    let layer = status.add("mounts", State::Enforced, Some(describe(plan)));
    layer
        .limits
        .push("a protected file that is replaced from outside while COMMAND runs is not covered any more");
    if plan.policy.protect {
        layer.limits.push("terminals that the same user opens after the start can be opened too");
    }
    if plan.policy.unix.mode == UnixMode::Listed && !landlock_knows_sockets(plan) {
        layer
            .limits
            .push("sockets made by other programs after the start, outside of /run, or bound by a relative path, can be connected to");
    }
}

fn degraded(status: &mut Status, what: &str) {
    status.add("mounts", State::Degraded, Some(format!("not kept: {what}")));
}

fn nothing(plan: &Plan, status: &mut Status) {
    if plan.blind {
        degraded(status, BLIND);
    } else {
        status.add("mounts", State::Off, Some("nothing to protect or to hide".into()));
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
        Some(libc::ENOSYS) => "the kernel is older than 5.2",
        Some(libc::EINVAL) => "the kernel has no user namespaces, or another thread runs",
        _ => "see agor-sandbox doctor",
    };
    format!("no private mount namespace: {error}: {help}")
}

fn names(mounts: &[Mount]) -> String {
    let all: Vec<String> = mounts
        .iter()
        .filter(|mount| !matches!(mount.change, Change::Pin | Change::Writable))
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

/// Enters a private mount namespace, in a user namespace of its own where that is needed.
pub(crate) fn enter() -> io::Result<()> {
    if process::unshare_mounts().is_ok() {
        // In a new user namespace the kernel does this itself.
        let down = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        return Ok(rustix::mount::mount_change("/", down)?);
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    process::unshare_user_and_mounts()?;
    // Without this the group list could be used to drop a group that denies (user_namespaces(7)).
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Makes the mount at `path` and every one below it read-only, each by itself: before Linux 5.12 there is no
/// mount_setattr(2), which does it at once.
fn remount_read_only(path: &Path) -> io::Result<()> {
    for place in mount_points(&std::fs::read("/proc/self/mountinfo")?).filter(|place| within(place, path)) {
        // What a namespace above has set must be given again, or the kernel refuses (mount_namespaces(7)).
        let had = rustix::fs::statvfs(&place)?.f_flag;
        let kept = [
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
            (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
            (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        ];
        let kept = kept.into_iter().filter(|(flag, _)| had.contains(*flag)).map(|(_, flag)| flag);
        let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |all, flag| all | flag);
        rustix::mount::mount_remount(&place, flags, "")?;
    }
    Ok(())
}

/// The fifth column of a mountinfo (proc_pid_mountinfo(5)), in which blanks are written in octal.
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let column = line.split(|byte| *byte == b' ').nth(4)?;
        let mut name = Vec::with_capacity(column.len());
        let mut rest = column;
        while let Some((byte, after)) = rest.split_first() {
            let octal = (*byte == b'\\').then(|| after.get(..3)).flatten();
            let octal =
                octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
            name.push(octal.unwrap_or(*byte));
            rest = if octal.is_some() { &after[3..] } else { after };
        }
        Some(PathBuf::from(OsString::from_vec(name)))
    })
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
                let sockets = granted_sockets(plan);
                let free = |place: &Path| {
                    let used = |path: &Path| path.starts_with(place) || place.starts_with(path);
                    place.is_dir()
                        && !is_stash(place)
                        && !plan.grants.iter().any(|grant| used(&grant.path))
                        && !sockets.iter().any(|socket| socket.starts_with(place))
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

/// What the stash must not cover: the sockets that COMMAND may connect to.
fn granted_sockets(plan: &Plan) -> Vec<PathBuf> {
    match plan.policy.unix.mode {
        UnixMode::None => Vec::new(),
        UnixMode::Listed => plan.policy.unix.paths.iter().filter_map(|path| real(path).ok()).collect(),
        UnixMode::All => {
            let mut sockets = sockets::reachable().unwrap_or_default();
            // Where programs make theirs, now or later.
            sockets.push("/run".into());
            sockets
        }
    }
}

/// A copy of the mount, of a link itself where the path is one.
fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

fn attach(tree: rustix::fd::BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", CWD, path, flags)?)
}

fn change(mount: &Mount, stash: Option<&Stash>) -> io::Result<()> {
    let over = |from: &Path, read_only: bool| {
        let tree = clone_tree(from)?;
        let mut late = false;
        if read_only && let Err(error) = sys::make_read_only(tree.as_fd()) {
            late = error.raw_os_error() == Some(libc::ENOSYS);
            if !late {
                return Err(error);
            }
        }
        attach(tree.as_fd(), &mount.path)?;
        if late { remount_read_only(&mount.path) } else { Ok(()) }
    };
    match &mount.change {
        Change::Pin => over(&mount.path, false),
        Change::ReadOnly | Change::Absent { .. } => over(&mount.path, true),
        Change::Hidden { directory } => {
            let stash = stash.ok_or(io::ErrorKind::NotFound)?;
            over(&stash.cover(*directory), true)
        }
        // Done with the stash itself, and with a copy that was made before.
        Change::Emptied { .. } | Change::Writable => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_blanks() {
        let table = b"22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
            30 22 0:26 /a\\040b /mnt/a\\040b\\134x ro - tmpfs none rw\n\
            31 22 0:27 / /mnt/\xff\\ rw - tmpfs none rw\n";
        let places: Vec<PathBuf> = mount_points(table).collect();
        assert_eq!(places[..2], [PathBuf::from("/"), PathBuf::from("/mnt/a b\\x")]);
        assert_eq!(places[2], PathBuf::from(OsString::from_vec(b"/mnt/\xff\\".to_vec())));
        assert_eq!(places.len(), 3);
    }
}
