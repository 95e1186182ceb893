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
    /// It cannot be rotated, which has been said.
    stuck: bool,
    at_line_start: bool,
}

impl Log {
    /// Opens `dir/file`, going on at its end. `keep` older files are kept besides it.
    pub(crate) fn open(dir: &Path, file: &str, max_size: u64, keep: u32) -> std::io::Result<Log> {
        let mut log = Log {
            path: dir.join(file),
            file: None,
            size: 0,
            max_size,
            keep,
            complained: false,
            stuck: false,
            at_line_start: true,
        };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the file, also where somebody has removed the directory meanwhile.
    fn reopen(&mut self) -> std::io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Not O_APPEND, which splice(2) refuses. Nobody is waited for where it is a FIFO, which cannot be a log.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NONBLOCK)
            .open(&self.path)?;
        self.size = file.seek(SeekFrom::End(0))?;
        self.file = Some(file);
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Makes room; where that cannot be done the file goes on growing, which is said once. False when there
    /// is no room.
    fn rotate(&mut self) -> bool {
        self.file = None;
        let moved = if self.keep == 0 {
            fs::remove_file(&self.path)
        } else {
            for number in (1..self.keep).rev() {
                // What is not there need not move.
                let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
            }
            fs::rename(&self.path, self.numbered(1))
        };
        match moved {
            // Somebody else has taken the file away.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut self.stuck, true) {
                    self.say(&format!("rotate: {error}"));
                }
                return false;
            }
            _ => self.stuck = false,
        }
        match self.reopen() {
            Ok(()) => true,
            Err(error) => {
                self.complain(&error.to_string());
                false
            }
        }
    }

    fn say(&self, why: &str) {
        output::warning(crate::TOOL, &format!("write log {}: {why}", self.path.display()));
    }

    /// Said once until it works again: a stream's bytes go on either way.
    fn complain(&mut self, why: &str) {
        if !self.complained {
            self.complained = true;
            self.say(why);
        }
    }

    fn grown(&mut self, by: u64) {
        self.complained = false;
        self.size += by;
    }

    /// Whether `more` bytes are too many for the current file.
    pub(crate) fn is_due(&self, more: usize) -> bool {
        self.max_size > 0 && self.size + more as u64 > self.max_size
    }

    /// Appends bytes; what cannot be written is dropped. Files are cut at the end of a line: before the one
    /// that would be too much, or, where a single line is, after it.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while self.is_due(bytes.len()) {
            let room = usize::try_from(self.max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let fits = bytes[..room.min(bytes.len())].iter().rposition(|byte| *byte == b'\n');
            let end = match fits {
                Some(at) => at + 1,
                None if self.size > 0 && self.at_line_start => 0,
                None => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(at) => at + 1,
                    None => break,
                },
            };
            self.append(&bytes[..end]);
            bytes = &bytes[end..];
            if !self.rotate() {
                break;
            }
        }
        self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.at_line_start = *last == b'\n';
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

    fn read(dir: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(dir.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn rotates_at_a_line_and_keeps_what_it_should() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), "a.log", 10, 2).unwrap();
        for line in ["1st\n", "22nd\n", "a-long-line-of-its-own\n", "4th\n", "5th\n"] {
            log.write(line.as_bytes());
        }
        assert_eq!(read(&dir, "a.log"), "4th\n5th\n");
        assert_eq!(read(&dir, "a.log.1"), "a-long-line-of-its-own\n");
        assert_eq!(read(&dir, "a.log.2"), "1st\n22nd\n");
        log.write(b"6th\n");
        assert_eq!(read(&dir, "a.log.2"), "a-long-line-of-its-own\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        drop(log);
        let mut log = Log::open(dir.path(), "a.log", 10, 2).unwrap();
        log.write(b"7\n");
        assert_eq!(read(&dir, "a.log"), "6th\n7\n");
    }

    #[test]
    fn a_directory_or_file_that_is_removed_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let mut log = Log::open(&logs, "a.log", 10, 2).unwrap();
        for _ in 0..5 {
            log.write(b"12345678\n");
        }
        fs::remove_dir_all(&logs).unwrap();
        log.write(b"a line of its own\nkept\n");
        assert_eq!(fs::read_to_string(logs.join("a.log")).unwrap(), "kept\n");
        fs::remove_file(logs.join("a.log")).unwrap();
        for line in ["12345678\n", "abcdefgh\n"] {
            log.write(line.as_bytes());
        }
        assert_eq!(fs::read_to_string(logs.join("a.log")).unwrap(), "abcdefgh\n");
        // Neither a directory nor a file can be made here, and a write says so and ends.
        fs::remove_dir_all(&logs).unwrap();
        fs::write(&logs, "in the way").unwrap();
        for _ in 0..5 {
            log.write(b"12345678\n");
        }
        assert!(log.complained && log.file.is_none());
        fs::remove_file(&logs).unwrap();
        log.write(b"again\n");
        assert_eq!(fs::read_to_string(logs.join("a.log")).unwrap(), "again\n");
    }

    #[test]
    fn a_pipe_is_no_log_and_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("a.log");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(Log::open(dir.path(), "a.log", 10, 2).is_err());
        let _reader = File::options().read(true).write(true).open(&fifo).unwrap();
        assert!(Log::open(dir.path(), "a.log", 10, 2).is_err());
    }

    #[test]
    fn what_cannot_be_rotated_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), "a.log", 10, 1).unwrap();
        fs::create_dir(dir.path().join("a.log.1")).unwrap();
        for _ in 0..5 {
            log.write(b"12345678\n");
        }
        assert!(log.stuck);
        assert_eq!(read(&dir, "a.log").len(), 45);
        fs::remove_dir(dir.path().join("a.log.1")).unwrap();
        log.write(b"1\n");
        assert_eq!((read(&dir, "a.log").as_str(), log.stuck), ("1\n", false));
    }

    #[test]
    fn a_block_of_many_lines_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), "a.log", 10, 3).unwrap();
        log.write(b"aaa\nbbb\nccc\nddd\nee");
        log.write(b"e\n");
        assert_eq!(read(&dir, "a.log.2"), "aaa\nbbb\n");
        assert_eq!(read(&dir, "a.log.1"), "ccc\nddd\neee\n", "a line is never cut");
        log.write(b"f\n");
        assert_eq!(read(&dir, "a.log"), "f\n");
    }
}
