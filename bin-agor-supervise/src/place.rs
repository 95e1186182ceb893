//! A name's files in the runtime directory: the lock, the control FIFO, the state, the notify socket.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agor_common::paths;
use agor_common::process::{self, Identity};
use agor_common::sessions::{Health, Supervised};
use agor_common::time;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::SuperviseError;
use crate::names::{checksum, file_name};
use crate::rule::Moment;

/// How long the keeper of a supervisor that was killed may take to end the old command.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// Length of an identity in the lock file.
const IDENTITY: usize = 128;
/// A difference smaller than this is rounding and the wall clock's own discipline, in ms.
const STEP_MS: u64 = 20;
/// What is ours is in the directory itself, and no FIFO that somebody would have to be waited for.
const HERE: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;
/// How often a state that is just being written is looked at again.
const LOOKS: u32 = 200;

/// What the supervisor says of itself, at once and whatever becomes of the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// 1.
    pub(crate) schema: u32,
    /// The run, in the same shape as in `sessions.db`.
    pub(crate) run: Supervised,
    /// Unexpected ends in a row: what a successor goes on with when this supervisor is lost.
    pub(crate) failures: u32,
    /// The control commands that were taken, newest last.
    pub(crate) answers: Vec<Answer>,
    /// When the backoff ends, while there is one, by the clock that nobody sets.
    #[serde(default)]
    pub(crate) due: Option<Due>,
}

/// A moment of the clock that backoff runs by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Due {
    /// Whose clock: the boot and the time namespace (time_namespaces(7)).
    clock: String,
    /// In ms.
    at_ms: i64,
}

impl Due {
    /// That moment.
    pub(crate) fn at(moment: Moment) -> Due {
        Due { clock: process::clock_id(), at_ms: i64::try_from(moment.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The wall clock's time then, as that clock goes now; none where the moment is of another's clock.
    fn wall_ms(&self, now_ms: i64, now: Moment) -> Option<i64> {
        let now = i64::try_from(now.as_millis()).ok()?;
        (self.clock == process::clock_id()).then(|| now_ms.saturating_add(self.at_ms.saturating_sub(now)))
    }
}

impl State {
    /// The run, with the next attempt where it is due by a wall clock that was set since this was published.
    pub(crate) fn into_run(mut self) -> Supervised {
        if let (Health::Restarting { next_retry_ms, .. }, Some(due)) = (&mut self.run.health, &self.due)
            && let Some(at) = due.wall_ms(time::now_ms(), clock::now())
            && at.abs_diff(*next_retry_ms) >= STEP_MS
        {
            *next_retry_ms = at;
        }
        self.run
    }
}

/// What became of a control command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Its id.
    pub(crate) id: String,
    /// Why it was refused; none when it was taken.
    pub(crate) refused: Option<String>,
    /// The number of the incarnation then.
    pub(crate) incarnation: u64,
}

/// Where a name's files are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The runtime directory.
    pub(crate) dir: PathBuf,
    base: String,
    /// The directory was not there: nobody's files can be, whoever runs.
    pub(crate) fresh: bool,
}

impl Place {
    /// The files of `name`; the directory is made when `create`.
    pub(crate) fn of(name: &str, create: bool) -> Result<Place, SuperviseError> {
        let dir = paths::Env::current().runtime_dir()?;
        let fresh = !dir.is_dir();
        if create {
            paths::ensure_private_dir(&dir)?;
        }
        Ok(Place { dir, base: file_name(name), fresh })
    }

    /// A name for what this supervisor has outside of the directory: no other name, and the same name in no
    /// other directory, has it too.
    pub(crate) fn label(&self) -> String {
        format!("{}-{:016x}", self.base, checksum(self.dir.as_os_str().as_encoded_bytes()))
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}.{suffix}", self.base))
    }

    /// The control FIFO.
    pub(crate) fn control(&self) -> PathBuf {
        self.file("control")
    }

    /// The state.
    pub(crate) fn state(&self) -> PathBuf {
        self.file("state")
    }

    /// The socket on which the command says READY=1.
    pub(crate) fn notify(&self) -> PathBuf {
        self.file("notify")
    }

    /// Takes the name. It is held as long as this process or its keeper runs, so a successor never starts
    /// beside what is left of a predecessor, for which it waits as long as `patience`.
    pub(crate) fn lock(
        &self,
        name: &str,
        me: &Identity,
        patience: Duration,
    ) -> Result<OwnedFd, SuperviseError> {
        let path = self.file("lock");
        let wrap = |source| SuperviseError::Place { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(HERE)
            .open(&path)
            .map_err(wrap)?;
        let start = std::time::Instant::now();
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(wrap(error.into()));
            }
            match holder(&mut file) {
                Some(holder) if holder.is_alive() => {
                    return Err(SuperviseError::Taken { name: name.into(), pid: holder.pid });
                }
                _ if start.elapsed() >= patience => {
                    return Err(SuperviseError::Taken { name: name.into(), pid: 0 });
                }
                // The predecessor was killed and its keeper is still at work, or it has just got the lock.
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        if let Some(owner) = read_lock(&mut file).and_then(|text| identity(text.strip_prefix(OWNER)?))
            && owner != *me
            && owner.is_alive()
        {
            remind(owner.pid);
            return Err(SuperviseError::Taken { name: name.into(), pid: owner.pid });
        }
        write_lock(&file, "", me);
        Ok(file.into())
    }

    /// Leaves the name to whom it belongs: until that one takes it again, the file says so to whoever gets the lock.
    pub(crate) fn leave_to(lock: &OwnedFd, owner: &Identity) {
        if let Ok(lock) = lock.try_clone() {
            write_lock(&File::from(lock), OWNER, owner);
        }
    }

    /// Whether `lock` is still the lock on the name: the directory may have been removed, and made anew (as
    /// that of a user is between the last logout and the next login).
    pub(crate) fn has(&self, lock: &OwnedFd) -> bool {
        is_at(lock, &self.file("lock"))
    }

    /// Whether `control` is still the control FIFO.
    pub(crate) fn has_control(&self, control: &OwnedFd) -> bool {
        is_at(control, &self.control())
    }

    /// Makes and opens the control FIFO, a new one: commands that a predecessor did not live to read are not
    /// for us. Open for reading and writing, so that it never is at its end.
    pub(crate) fn open_control(&self) -> Result<OwnedFd, SuperviseError> {
        let path = self.control();
        let wrap =
            |source: rustix::io::Errno| SuperviseError::Place { path: path.clone(), source: source.into() };
        // What is not there need not be removed, and what cannot be is in the way of the next call.
        let _ = fs::remove_file(&path);
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).map_err(wrap)?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(wrap)
    }

    /// Publishes the state, in place: a file that takes another's place is written to the disk at once by
    /// some file systems, and a supervisor does not wait for disks. A length and a checksum tell a reader
    /// that it saw a whole one.
    pub(crate) fn publish(&self, state: &State) -> std::io::Result<()> {
        let json = serde_json::to_vec(state)?;
        let mut bytes = format!("{:10} {:016x}\n", json.len(), checksum(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(HERE)
            .open(self.state())?;
        file.write_all_at(&bytes, 0)
    }

    /// Removes the state.
    pub(crate) fn forget(&self) {
        // What is not there need not be removed.
        let _ = fs::remove_file(self.state());
    }

    /// The state as it was published last.
    pub(crate) fn read(&self) -> Option<State> {
        read_state(&self.state())
    }

    /// Removes what a name in rest does not need; of one that nobody chose, and that will not come again, all
    /// that is not in the database.
    pub(crate) fn tidy(&self, all: bool) {
        let more = all.then(|| [self.state(), self.file("lock")]);
        for path in [self.control(), self.notify()].into_iter().chain(more.into_iter().flatten()) {
            // What is not there need not be removed.
            let _ = fs::remove_file(path);
        }
    }
}

/// Reads a state file, and again while it is just being written.
pub(crate) fn read_state(path: &Path) -> Option<State> {
    for look in 0..LOOKS {
        let mut file = OpenOptions::new().read(true).custom_flags(HERE).open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        if let Some(json) = whole(&bytes) {
            return serde_json::from_slice(json).ok();
        }
        std::thread::sleep(Duration::from_micros(u64::from(look) * 10));
    }
    None
}

/// The JSON, if it is all there.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = bytes.split_at(end);
    let (length, sum) = std::str::from_utf8(head).ok()?.trim_start().split_once(' ')?;
    let json = rest.get(1..)?.get(..length.parse().ok()?)?;
    (u64::from_str_radix(sum, 16) == Ok(checksum(json))).then_some(json)
}

/// Makes a supervisor look after its files, which were removed. A signal that ends nobody, whoever has the number
/// by now.
pub(crate) fn remind(supervisor: i32) {
    if let Some(pid) = Pid::from_raw(supervisor) {
        let _ = kill_process(pid, Signal::CHILD);
    }
}

/// Whether the open file is what is found at `path`.
fn is_at(file: &OwnedFd, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let held = rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    fs::metadata(path).is_ok_and(|there| Ok((there.dev(), there.ino())) == held)
}

/// Every state in the runtime directory.
pub(crate) fn all_states(dir: &Path) -> Vec<State> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "state"))
        .filter_map(|path| read_state(&path))
        .collect()
}

/// In front of the identity of one that has the name and not the lock.
const OWNER: &str = "!";

fn read_lock(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    Some(text)
}

fn write_lock(file: &File, mark: &str, who: &Identity) {
    let mut text = mark.to_owned() + &serde_json::to_string(who).expect("an identity is always JSON");
    // Always as long, so that nothing has to be cut off: some file systems write a file that was cut off
    // to the disk at once.
    text = format!("{text:IDENTITY$}");
    // On a full disk the name is ours all the same; only its holder's pid is not known to others.
    let _ = file.write_all_at(text.as_bytes(), 0);
}

fn identity(text: &str) -> Option<Identity> {
    serde_json::from_str(text).ok()
}

fn holder(file: &mut File) -> Option<Identity> {
    identity(&read_lock(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_left_to_its_owner_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir: dir.path().into(), base: "a".into(), fresh: false };
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let owner = Identity::of(child.id().cast_signed()).unwrap();
        let me = Identity::current();
        let lock = || place.lock("a", &me, Duration::from_secs(20));
        Place::leave_to(&lock().unwrap(), &owner);
        assert!(matches!(lock(), Err(SuperviseError::Taken { pid, .. }) if pid == owner.pid));
        let own = place.lock("a", &owner, Duration::from_secs(20)).unwrap();
        Place::leave_to(&own, &owner);
        drop(own);
        child.kill().unwrap();
        child.wait().unwrap();
        lock().unwrap();
    }

    #[test]
    fn a_torn_state_is_told_from_a_whole_one() {
        let json = b"{\"a\":1}";
        let mut bytes = format!("{:10} {:016x}\n", json.len(), checksum(json)).into_bytes();
        bytes.extend_from_slice(json);
        assert_eq!(whole(&bytes), Some(&json[..]));
        bytes.extend_from_slice(b"what a longer one left");
        assert_eq!(whole(&bytes), Some(&json[..]));
        bytes[30] ^= 1;
        assert_eq!(whole(&bytes), None);
        assert_eq!(whole(b""), None);
        assert_eq!(whole(b"99 0\nx"), None);
    }
}
