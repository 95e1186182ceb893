//! `--state FILE`: what a later `connect` needs to go on where this one ended, or was killed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stdio::FileId;
use crate::error::Error;

/// The file has this many bytes, so that each save is one write to one place.
const SIZE: usize = 1024;

/// What is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) schema: u32,
    /// Our id for the relay's memory of commands.
    pub(super) client: String,
    pub(super) relay: String,
    pub(super) session: String,
    /// Which life of the session; empty before the first attach.
    pub(super) epoch: String,
    /// The last event that was written out.
    pub(super) seq: u64,
    /// Where stdout is a regular file: which, and its length after that event.
    pub(super) stdout: Option<(FileId, u64)>,
    /// Where stdin is a regular file: which, and where in it the relay's count of our bytes began.
    pub(super) stdin: Option<(FileId, i64)>,
}

/// The open, locked file.
pub(super) struct State {
    file: File,
    pub(super) noted: Noted,
}

impl State {
    /// Opens FILE; `Err` where it is another session's, in use, or no state file.
    pub(super) fn open(path: &Path, relay: &str, session: &str) -> Result<State, Error> {
        let fail = |source| Error::Write { path: path.into(), source };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::Busy {
                what: format!("state file {} is in use by another connect", path.display()),
                hint: None,
            });
        }
        let text = io::read_to_string(&file).map_err(fail)?;
        let noted = if text.trim().is_empty() {
            Noted {
                schema: 1,
                client: uuid::Uuid::new_v4().simple().to_string(),
                relay: relay.to_owned(),
                session: session.to_owned(),
                epoch: String::new(),
                seq: 0,
                stdout: None,
                stdin: None,
            }
        } else {
            serde_json::from_str(text.trim())
                .map_err(|error| Error::Data { what: format!("state file {}: {error}", path.display()) })?
        };
        if noted.relay != relay || noted.session != session {
            let what = format!(
                "state file {} is for session {} of {}, not for {session} of {relay}",
                path.display(),
                noted.session,
                noted.relay
            );
            return Err(Error::usage(what, "one state file per relay and session"));
        }
        let state = State { file, noted };
        state.save().map_err(fail)?;
        Ok(state)
    }

    /// Writes it in place. Survives the death of this process at any moment; not, and it need not, that of
    /// the machine: the session's replay buffer does not survive that either.
    pub(super) fn save(&self) -> io::Result<()> {
        let mut text = serde_json::to_vec(&self.noted).map_err(io::Error::from)?;
        if text.len() >= SIZE {
            return Err(io::Error::other("it is too long"));
        }
        text.resize(SIZE - 1, b' ');
        text.push(b'\n');
        self.file.write_all_at(&text, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_found_again_and_only_by_its_own_session() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut state = State::open(&path, "h:1", "a").unwrap();
        assert!(matches!(State::open(&path, "h:1", "a"), Err(Error::Busy { .. })));
        state.noted.seq = 7;
        state.save().unwrap();
        let noted = state.noted.clone();
        drop(state);
        assert_eq!(State::open(&path, "h:1", "a").unwrap().noted, noted);
        assert!(matches!(State::open(&path, "h:1", "b"), Err(Error::Usage { .. })));
        std::fs::write(&path, "not json").unwrap();
        assert!(matches!(State::open(&path, "h:1", "a"), Err(Error::Data { .. })));
    }
}
