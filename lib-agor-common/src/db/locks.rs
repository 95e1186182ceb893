//! Who holds a database: the locks on its `-shm` file and on the file itself, by process.
//!
//! SQLite locks are POSIX record locks on single bytes (sqlite.org/walformat.html, section 2.3.1, and
//! fileformat2.html for the main file). `/proc/locks` lists them with their owners; where that file is
//! missing or says nothing, F_GETLK on a descriptor that this process has anyway is asked.
//!
//! Nothing here opens the `-shm` file while this process may have it open: closing a second descriptor
//! would drop the locks of our own connection.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys::file_lock;
use crate::{process, text};

/// First lock byte of the `-shm` file (`UNIX_SHM_BASE`).
const SHM_BASE: i64 = 120;
/// Lock bytes that mean something to readers and writers: WRITE, CKPT, RECOVER, READ 0 to 4.
const SHM_LOCKS: i64 = 8;
/// `PENDING_BYTE` of the main file; RESERVED follows it, then 510 bytes SHARED.
const PENDING: i64 = 0x4000_0000;
const FILE_END: i64 = PENDING + 2 + 510;

/// What is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// The right to append to the WAL.
    Write,
    /// The right to checkpoint.
    Checkpoint,
    /// The WAL index is being rebuilt.
    Recover,
    /// A snapshot. Of slot 0: the main file alone; of 1 to 4: up to this slot's read mark.
    Read(u8),
    /// The main file itself, in a way that keeps others out (a rollback journal, or `locking_mode=EXCLUSIVE`).
    File,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Write => f.write_str("write"),
            Slot::Checkpoint => f.write_str("checkpoint"),
            Slot::Recover => f.write_str("recover"),
            Slot::Read(i) => write!(f, "read{i}"),
            Slot::File => f.write_str("file"),
        }
    }
}

/// A process and a lock that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What it holds.
    pub slot: Slot,
    /// Whether nobody else can hold it too.
    pub exclusive: bool,
    /// The process; `None` when it is not in this pid namespace (another container).
    pub pid: Option<i32>,
    /// Its command line, shortened and on one line.
    pub command: Option<String>,
    /// Stopped (SIGSTOP, a debugger): it will not let go by itself.
    pub stopped: bool,
}

impl Holder {
    fn new(slot: Slot, exclusive: bool, pid: i32) -> Holder {
        let pid = (pid > 0).then_some(pid);
        let command = pid.and_then(process::command_line).map(|line| text::preview(&line, 80));
        Holder { slot, exclusive, pid, command, stopped: pid.is_some_and(process::is_stopped) }
    }
}

/// `pid 12 (sqlite3 x.db), stopped`
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => write!(f, "pid {pid} ({command})")?,
            (Some(pid), None) => write!(f, "pid {pid}")?,
            (None, _) => f.write_str("a process of another container")?,
        }
        if self.stopped { f.write_str(", stopped") } else { Ok(()) }
    }
}

/// The file `db` with `suffix`, where SQLite has it: beside the target of a symbolic link.
pub fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = super::files::real(db).into_os_string();
    name.push(suffix);
    name.into()
}

/// Every lock that other processes hold on `db`, as far as this process may know; plain connections that
/// hold nothing but the main file's shared lock are not listed.
pub fn holders(db: &Path) -> Vec<Holder> {
    let mut found = Vec::new();
    let listed = fs::read_to_string("/proc/locks").unwrap_or_default();
    if let Some(shm) = identity(&beside(db, "-shm")) {
        collect(&listed, shm, SHM_BASE, SHM_BASE + SHM_LOCKS, &mut |at, exclusive, pid| {
            found.push(Holder::new(shm_slot(at), exclusive, pid));
        });
    }
    if let Some(file) = identity(db) {
        collect(&listed, file, PENDING, FILE_END, &mut |_, exclusive, pid| {
            if exclusive {
                found.push(Holder::new(Slot::File, true, pid));
            }
        });
    }
    let me = i32::try_from(std::process::id()).unwrap_or_default();
    found.retain(|holder| holder.pid != Some(me));
    found.sort_by_key(|holder| (holder.slot, holder.pid));
    found.dedup_by_key(|holder| (holder.slot, holder.pid));
    found
}

/// Who keeps writers out of `db`.
pub fn writer(db: &Path) -> Option<Holder> {
    let rank = |slot| match slot {
        Slot::Write => 0,
        Slot::File => 1,
        Slot::Recover => 2,
        Slot::Checkpoint | Slot::Read(_) => 3,
    };
    holders(db)
        .into_iter()
        .filter(|holder| holder.exclusive && rank(holder.slot) < 3)
        .min_by_key(|holder| rank(holder.slot))
}

/// Whether this process itself holds the right to write to `db`, so that every other writer waits for it.
/// True where the system does not say.
pub fn is_writer(db: &Path) -> bool {
    let Ok(listed) = fs::read_to_string("/proc/locks") else { return true };
    let Some(shm) = identity(&beside(db, "-shm")) else { return true };
    let me = i32::try_from(std::process::id()).unwrap_or_default();
    listed.lines().filter_map(Lock::parse).any(|lock| {
        lock.pid == me
            && lock.inode == shm.1
            && lock.exclusive
            && (lock.first..=lock.last).contains(&SHM_BASE)
    })
}

/// Whether any process has a connection to `db` (the `-shm` file's last lock byte). False where the system
/// does not say.
pub fn is_connected(db: &Path) -> bool {
    let listed = fs::read_to_string("/proc/locks").unwrap_or_default();
    let Some(shm) = identity(&beside(db, "-shm")) else { return false };
    let connected = SHM_BASE + SHM_LOCKS;
    listed
        .lines()
        .filter_map(Lock::parse)
        .any(|lock| lock.inode == shm.1 && (lock.first..=lock.last).contains(&connected))
}

fn shm_slot(at: i64) -> Slot {
    match at - SHM_BASE {
        0 => Slot::Write,
        1 => Slot::Checkpoint,
        2 => Slot::Recover,
        i => Slot::Read(u8::try_from(i - 3).unwrap_or(u8::MAX)),
    }
}

pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Calls `each(byte, exclusive, pid)` for the locks on `first..end` of a file.
fn collect(listed: &str, file: (u64, u64), first: i64, end: i64, each: &mut dyn FnMut(i64, bool, i32)) {
    let mut any = false;
    for lock in listed.lines().filter_map(Lock::parse) {
        if lock.inode != file.1 || lock.last < first || lock.first >= end {
            continue;
        }
        // btrfs and overlayfs show another device number in stat than the lock list does.
        if lock.device != file.0 && !has_open(lock.pid, file) {
            continue;
        }
        any = true;
        // A main file's lock is one fact, however many bytes it covers.
        let last = if first == SHM_BASE { lock.last.min(end - 1) } else { lock.first };
        for at in lock.first.max(first)..=last {
            each(at, lock.exclusive, lock.pid);
        }
    }
    if any {
        return;
    }
    // Nothing listed: perhaps there is no list here (gVisor, a hardened /proc) or the owner is in another
    // pid namespace. The main file is asked about its PENDING and RESERVED bytes and the shared range's first.
    let Some(fd) = file_lock::own_descriptor(file) else { return };
    for at in (first..end).take(usize::try_from(SHM_LOCKS).unwrap_or(8)) {
        if let Ok(Some(lock)) = file_lock::blocking(fd, at) {
            each(at, lock.exclusive, lock.pid);
        }
    }
}

fn has_open(pid: i32, file: (u64, u64)) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten().any(|fd| fs::metadata(fd.path()).is_ok_and(|meta| (meta.dev(), meta.ino()) == file))
}

/// A line of `/proc/locks` (proc_locks(5)).
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    exclusive: bool,
    pid: i32,
    device: u64,
    inode: u64,
    first: i64,
    last: i64,
}

impl Lock {
    /// `1: POSIX  ADVISORY  WRITE 1234 fd:01:5678 120 120`; waiters (`1: -> POSIX …`) and other kinds of
    /// lock are not parsed.
    fn parse(line: &str) -> Option<Lock> {
        let mut words = line.split_ascii_whitespace().skip(1);
        if !matches!(words.next()?, "POSIX" | "OFDLCK") {
            return None;
        }
        let exclusive = match words.nth(1)? {
            "WRITE" => true,
            "READ" => false,
            _ => return None,
        };
        let pid = words.next()?.parse().ok()?;
        let mut id = words.next()?.split(':');
        let major = u32::from_str_radix(id.next()?, 16).ok()?;
        let minor = u32::from_str_radix(id.next()?, 16).ok()?;
        let inode = id.next()?.parse().ok()?;
        let first = words.next()?.parse().ok()?;
        let last = match words.next()? {
            "EOF" => i64::MAX,
            last => last.parse().ok()?,
        };
        Some(Lock { exclusive, pid, device: rustix::fs::makedev(major, minor), inode, first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_locks() {
        let lock = Lock::parse("12: POSIX  ADVISORY  WRITE 1234 fd:1a:5678 120 127").unwrap();
        let device = rustix::fs::makedev(0xfd, 0x1a);
        assert_eq!(lock, Lock { exclusive: true, pid: 1234, device, inode: 5678, first: 120, last: 127 });
        let lock = Lock::parse("3: OFDLCK ADVISORY  READ -1 08:01:9 0 EOF").unwrap();
        assert!(!lock.exclusive && lock.pid == -1 && lock.last == i64::MAX);
        for other in
            ["12: -> POSIX  ADVISORY  WRITE 1 fd:1a:5 120 127", "1: FLOCK ADVISORY WRITE 1 1:2:3 0 EOF", ""]
        {
            assert_eq!(Lock::parse(other), None, "{other}");
        }
    }

    #[test]
    fn slots_have_the_names_of_the_format() {
        assert_eq!(shm_slot(120), Slot::Write);
        assert_eq!(shm_slot(122), Slot::Recover);
        assert_eq!(shm_slot(127).to_string(), "read4");
    }

    #[test]
    fn holders_read_well() {
        let mut holder = Holder {
            slot: Slot::Write,
            exclusive: true,
            pid: Some(7),
            command: Some("sqlite3 x".into()),
            stopped: true,
        };
        assert_eq!(holder.to_string(), "pid 7 (sqlite3 x), stopped");
        holder.pid = None;
        holder.stopped = false;
        assert_eq!(holder.to_string(), "a process of another container");
    }
}
