//! Stand-ins for protected names that do not exist.
//!
//! A name can only be covered by a mount when something is there. So an empty file or directory is made,
//! with content that means nothing to whoever reads it on the host, and taken away again as soon as no
//! sandbox needs it: a helper outside of the sandbox waits for the mount namespace to end, however
//! COMMAND ended. Several sandboxes share one: each holds a shared lock on it, and only who gets the
//! exclusive lock removes it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

/// Marks a stand-in, so that one that was left behind (the helper was killed) is known again.
const MARK: &str = "user.agor.placeholder";

const FILE_MODE: u32 = 0o444;
const DIRECTORY_MODE: u32 = 0o555;
/// While it is made.
const UNFINISHED_FILE: u32 = 0o600;
const UNFINISHED_DIRECTORY: u32 = 0o700;

/// Names that a directory cannot stand in for, since who looks for a file there fails on one, or complains at
/// every start: git itself, codex and claude. What the files say changes nothing: that the repository is where
/// it is (gitrepository-layout(5), commondir), no settings, and a comment.
const FILES: [(&str, &[u8]); 6] = [
    ("commondir", b".\n"),
    ("config.toml", NOTHING),
    ("config.worktree", NOTHING),
    ("settings.json", b"{}\n"),
    ("settings.local.json", b"{}\n"),
    (
        IGNORE,
        b"# stands in for a file that does not exist\n/.gitignore\n/settings.json\n/settings.local.json\n",
    ),
];

/// What keeps git from the stand-ins beside it, and from itself.
pub(crate) const IGNORE: &str = ".gitignore";

/// Whether git would take the stand-in for `path` for a new file, where nothing says that it is to be ignored.
pub(crate) fn is_seen_by_git(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "settings.json" || name == "settings.local.json")
}

const NOTHING: &[u8] = b"# stands in for a file that does not exist\n";

fn content(name: &OsStr) -> Option<&'static [u8]> {
    FILES.iter().find(|(known, _)| name == *known).map(|(_, content)| *content)
}

/// Whether the stand-in for `path` is a directory: git does not see empty directories, so that no `git add`
/// picks one up.
pub(crate) fn is_directory(path: &Path) -> bool {
    path.file_name().and_then(content).is_none()
}

/// One that is in use.
#[derive(Debug)]
pub(crate) struct Held {
    /// The directory that it is in, and its name there.
    parent: OwnedFd,
    name: std::ffi::OsString,
    /// Holds the lock.
    lock: OwnedFd,
    directory: bool,
    /// Directories above it that were made for it, the innermost first: (parent, name).
    made: Vec<(OwnedFd, std::ffi::OsString)>,
}

fn marked(fd: impl rustix::fd::AsFd) -> Option<bool> {
    let mut buffer = [0_u8; 8];
    match rustix::fs::fgetxattr(fd, MARK, &mut buffer) {
        Ok(_) => Some(true),
        Err(Errno::NODATA) => Some(false),
        Err(_) => None,
    }
}

/// Whether what is at `path` was made by [`hold`].
pub(crate) fn is_one(path: &Path) -> bool {
    let Ok(fd) = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return false;
    };
    is_placeholder(&fd)
}

fn is_placeholder(fd: &OwnedFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(fd) else { return false };
    let mode = stat.st_mode & 0o7777;
    let looks = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => mode == DIRECTORY_MODE,
        rustix::fs::FileType::RegularFile => {
            let size = |size| u64::try_from(stat.st_size).is_ok_and(|there| there == size);
            mode == FILE_MODE && FILES.iter().any(|(_, content)| size(content.len() as u64))
        }
        _ => false,
    };
    // Where the file system has no attributes, mode and content have to do.
    looks && marked(fd).unwrap_or(true)
}

/// Makes the stand-in, or shares one that is there. `None` when somebody made a real file in between.
pub(crate) fn hold(path: &Path, directory: bool) -> io::Result<Option<Held>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    for _ in 0..100 {
        // Again in every round: the last user of another one may remove the directories any time.
        let made = make_parents(dir)?;
        let parent =
            match rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(parent) => parent,
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    remove_made(&made);
                    return Err(error.into());
                }
            };
        let is_new = match make(&parent, name, directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                remove_made(&made);
                return Err(error);
            }
        };
        let lock = match finish(&parent, name, is_new, directory) {
            Ok(lock) => lock,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            Err(error) => {
                // A full disk, or no descriptor left: half of one would stay for ever.
                if is_new {
                    remove(&parent, name, directory);
                }
                remove_made(&made);
                return Err(error);
            }
        };
        // The one who waited for it may have got a name that is gone by now.
        let same = rustix::fs::fstat(&lock)
            .and_then(|ours| Ok((ours, rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?)))
            .is_ok_and(|(ours, there)| (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino));
        if !same {
            continue;
        }
        if !is_new && !settled(&lock) {
            return Ok(None);
        }
        return Ok(Some(Held { parent, name: name.to_owned(), lock, directory, made }));
    }
    Err(io::Error::other("its name keeps changing"))
}

/// Makes it. A file is there with all that it says or not at all: git fails on an empty one, which is what a
/// launcher that ends in between would leave (a SIGKILL, a full disk, RLIMIT_FSIZE).
fn make(parent: &OwnedFd, name: &OsStr, directory: bool) -> io::Result<()> {
    if directory {
        return Ok(rustix::fs::mkdirat(parent, name, UNFINISHED_DIRECTORY.into())?);
    }
    let write = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Not every file system has files without a name (open(2), O_TMPFILE), and naming one takes a /proc.
    if let Ok(file) = rustix::fs::openat(parent, ".", write | OFlags::TMPFILE, UNFINISHED_FILE.into()) {
        fill(&file, name)?;
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, link, parent, name, AtFlags::SYMLINK_FOLLOW) {
            Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
    }
    let create = write | OFlags::CREATE | OFlags::EXCL;
    let file = rustix::fs::openat(parent, name, create, UNFINISHED_FILE.into())?;
    fill(&file, name).inspect_err(|_| remove(parent, name, false))
}

/// Gives a file its content, its mark and its mode.
fn fill(file: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let content = content(name).unwrap_or_default();
    if rustix::io::write(file, content)? < content.len() {
        return Err(Errno::NOSPC.into());
    }
    seal(file, FILE_MODE)
}

fn seal(fd: &OwnedFd, mode: u32) -> io::Result<()> {
    let _ = rustix::fs::fsetxattr(fd, MARK, b"1", XattrFlags::empty());
    Ok(rustix::fs::fchmod(fd, mode.into())?)
}

fn remove(parent: &OwnedFd, name: &OsStr, directory: bool) {
    let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    let _ = rustix::fs::unlinkat(parent, name, flags);
}

/// Opens and locks it; a directory that was just made gets its mark and its mode first.
fn finish(parent: &OwnedFd, name: &OsStr, is_new: bool, directory: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if is_new && directory {
        seal(&lock, DIRECTORY_MODE)?;
    }
    rustix::fs::flock(&lock, FlockOperation::LockShared)?;
    Ok(lock)
}

/// Removes the directories that were made for a stand-in, as far as they are empty.
fn remove_made(made: &[(OwnedFd, std::ffi::OsString)]) {
    for (parent, name) in made {
        let _ = rustix::fs::unlinkat(parent.as_fd(), name, AtFlags::REMOVEDIR);
    }
}

/// Another sandbox may be between making and marking it, and on a busy machine for longer than a moment. What is
/// older than that was made by somebody else, or was left half made.
fn settled(lock: &OwnedFd) -> bool {
    const MAKING: i64 = 2;
    let unfinished = [UNFINISHED_DIRECTORY, UNFINISHED_FILE];
    let half_made = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        rustix::fs::fstat(lock).is_ok_and(|stat| {
            unfinished.contains(&(stat.st_mode & 0o7777)) && now.abs_diff(stat.st_ctime) <= MAKING as u64
        })
    };
    // A limit of its own, for clocks that are set.
    for _ in 0..MAKING * 1000 {
        if is_placeholder(lock) {
            return true;
        }
        if !half_made() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    is_placeholder(lock)
}

/// Makes the directories that are missing above a stand-in, and finds those that another sandbox made.
fn make_parents(dir: &Path) -> io::Result<Vec<(OwnedFd, std::ffi::OsString)>> {
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let mut missing: Vec<PathBuf> = Vec::new();
    for above in dir.ancestors() {
        if above.exists() {
            break;
        }
        missing.push(above.to_path_buf());
    }
    for path in missing.iter().rev() {
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o777)) {
            Ok(()) => {
                let _ = rustix::fs::setxattr(path, MARK, b"1", XattrFlags::empty());
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut made = Vec::new();
    for above in dir.ancestors() {
        let mut buffer = [0_u8; 8];
        let ours = missing.iter().any(|path| path == above)
            || rustix::fs::lgetxattr(above, MARK, &mut buffer).is_ok();
        let (true, Some(parent), Some(name)) = (ours, above.parent(), above.file_name()) else { break };
        match open(parent) {
            Ok(parent) => made.push((parent, name.to_owned())),
            Err(error) => {
                // Those that are there already are removed with the last sandbox that uses them.
                for path in &missing {
                    let _ = rustix::fs::rmdir(path);
                }
                return Err(error.into());
            }
        }
    }
    Ok(made)
}

impl Held {
    /// What must stay open.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.parent, &self.lock].into_iter().chain(self.made.iter().map(|(parent, _)| parent))
    }

    /// Removes it unless another sandbox uses it; then the directories that were made for it, when they are
    /// empty.
    pub(crate) fn release(&self) {
        if rustix::fs::flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let same = rustix::fs::fstat(&self.lock)
                .and_then(|ours| {
                    Ok((ours, rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW)?))
                })
                .is_ok_and(|(ours, there)| (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino));
            // What somebody outside wrote into it is theirs.
            if same && is_placeholder(&self.lock) {
                remove(&self.parent, &self.name, self.directory);
            }
        }
        remove_made(&self.made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".git/commondir");
        let one = hold(&path, false).unwrap().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b".\n");
        assert!(is_one(&path));
        let two = hold(&path, false).unwrap().unwrap();
        one.release();
        assert!(path.exists());
        drop(one);
        drop(two);
        let three = hold(&path, false).unwrap().unwrap();
        // A child that another test forks has the locks too, until it executes.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while path.exists() && std::time::Instant::now() < until {
            three.release();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!dir.path().join(".git").exists());
    }

    #[test]
    fn a_real_file_is_never_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commondir");
        std::fs::write(&path, ".\n").unwrap();
        assert!(!is_one(&path));
        assert!(hold(&path, false).unwrap().is_none());
        assert!(path.exists());
        let sub = dir.path().join("d");
        let held = hold(&sub, true).unwrap().unwrap();
        assert!(is_one(&sub));
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while sub.exists() && std::time::Instant::now() < until {
            held.release();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!sub.exists());
    }

    #[test]
    fn what_was_written_into_one_stays() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        assert!(!is_directory(&path));
        let held = hold(&path, false).unwrap().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().parse::<toml::Table>().unwrap().is_empty());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "model = 'mine'\n").unwrap();
        held.release();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "model = 'mine'\n");
    }
}
