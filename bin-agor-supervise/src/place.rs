//! A name's files in the runtime directory: the lock, the control FIFO, the state, the notify socket.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agor_common::paths;
use agor_common::process::Identity;
use agor_common::sessions::Supervised;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};

use crate::error::SuperviseError;
use crate::names::file_name;

/// How long the keeper of a supervisor that was killed may take to end the old command.
const PATIENCE: Duration = Duration::from_secs(12);

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
}

impl Place {
    /// The files of `name`; the directory is made when `create`.
    pub(crate) fn of(name: &str, create: bool) -> Result<Place, SuperviseError> {
        let dir = if create { paths::runtime_dir()? } else { paths::Env::current().runtime_dir()? };
        Ok(Place { dir, base: file_name(name) })
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
    /// beside what is left of a predecessor.
    pub(crate) fn lock(&self, name: &str) -> Result<OwnedFd, SuperviseError> {
        let path = self.file("lock");
        let wrap = |source| SuperviseError::Place { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
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
                _ if start.elapsed() > PATIENCE => {
                    return Err(SuperviseError::Taken { name: name.into(), pid: 0 });
                }
                // The predecessor was killed and its keeper is still at work, or it has just got the lock.
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        let me = serde_json::to_vec(&Identity::current()).expect("an identity is always JSON");
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&me)).map_err(wrap)?;
        Ok(file.into())
    }

    /// Makes and opens the control FIFO. Open for reading and writing, so that it never is at its end.
    pub(crate) fn open_control(&self) -> Result<OwnedFd, SuperviseError> {
        let path = self.control();
        let wrap =
            |source: rustix::io::Errno| SuperviseError::Place { path: path.clone(), source: source.into() };
        match rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        ) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(wrap(error)),
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&path, flags, Mode::empty()).map_err(wrap)?;
        // Commands that a predecessor did not live to read are not for us.
        let mut stale = [0; 4096];
        while rustix::io::read(&fd, &mut stale).is_ok_and(|n| n > 0) {}
        Ok(fd)
    }

    /// Publishes the state: the old or the new one is seen, never a part.
    pub(crate) fn publish(&self, state: &State) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(state)?;
        let temporary = self.file("state.new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        fs::rename(&temporary, self.state())
    }

    /// Removes the state, and what a failed try to publish one left.
    pub(crate) fn forget(&self) {
        for path in [self.state(), self.file("state.new")] {
            // What is not there need not be removed.
            let _ = fs::remove_file(path);
        }
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

/// Reads a state file.
pub(crate) fn read_state(path: &Path) -> Option<State> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
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

fn holder(file: &mut File) -> Option<Identity> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    serde_json::from_str(&text).ok()
}
