//! `--log-dir`: a stream's files, rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use agor_common::output;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

/// A file that is replaced when it is large enough: `NAME.log`, then `NAME.log.1` and so on.
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max_size: u64,
    keep: u32,
    complained: bool,
}

impl Log {
    /// Opens `dir/file`, going on at its end. `keep` older files are kept besides it.
    pub(crate) fn open(dir: &Path, file: &str, max_size: u64, keep: u32) -> std::io::Result<Log> {
        fs::create_dir_all(dir)?;
        let mut log = Log { path: dir.join(file), file: None, size: 0, max_size, keep, complained: false };
        log.reopen()?;
        Ok(log)
    }

    fn reopen(&mut self) -> std::io::Result<()> {
        // Not O_APPEND, which splice(2) refuses.
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        self.size = file.seek(SeekFrom::End(0))?;
        self.file = Some(file);
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) {
        self.file = None;
        let mut result = Ok(());
        if self.keep == 0 {
            result = fs::remove_file(&self.path);
        } else {
            for number in (1..self.keep).rev() {
                // What is not there need not move.
                let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
            }
            result = result.and_then(|()| fs::rename(&self.path, self.numbered(1)));
        }
        if let Err(error) = result.and_then(|()| self.reopen()) {
            self.complain(&error.to_string());
        }
    }

    /// Said once until it works again: a stream's bytes go on either way.
    fn complain(&mut self, why: &str) {
        if !self.complained {
            self.complained = true;
            output::warning(crate::TOOL, &format!("write log {}: {why}", self.path.display()));
        }
    }

    fn grown(&mut self, by: u64) {
        self.complained = false;
        self.size += by;
    }

    fn rotate_if_due(&mut self) {
        if self.max_size > 0 && self.size >= self.max_size {
            self.rotate();
        }
    }

    /// Appends bytes; what cannot be written is dropped. Files are cut at the end of a line.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.file.is_none()
            && let Err(error) = self.reopen()
        {
            self.complain(&error.to_string());
            return;
        }
        let Some(file) = &mut self.file else { return };
        match file.write_all(bytes) {
            Ok(()) => self.grown(bytes.len() as u64),
            Err(error) => self.complain(&error.to_string()),
        }
        if bytes.last() == Some(&b'\n') {
            self.rotate_if_due();
        }
    }

    /// Moves up to `count` bytes from a pipe to the file; returns how many left the pipe.
    pub(crate) fn splice_from(&mut self, pipe: impl AsFd, count: usize) -> usize {
        let mut moved = 0;
        while moved < count {
            let Some(file) = &self.file else { break };
            match splice(&pipe, None, file, None, count - moved, SpliceFlags::MOVE) {
                Ok(0) => break,
                Ok(n) => {
                    moved += n;
                    self.grown(n as u64);
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.complain(&std::io::Error::from(error).to_string());
                    break;
                }
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_at_a_line_and_keeps_what_it_should() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), "a.log", 10, 2).unwrap();
        for line in ["first-line\n", "second-line\n", "third-line\n", "4\n"] {
            log.write(line.as_bytes());
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        assert_eq!(read("a.log"), "4\n");
        assert_eq!(read("a.log.1"), "third-line\n");
        assert_eq!(read("a.log.2"), "second-line\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        drop(log);
        let mut log = Log::open(dir.path(), "a.log", 10, 2).unwrap();
        log.write(b"5\n");
        assert_eq!(read("a.log"), "4\n5\n");
    }
}
