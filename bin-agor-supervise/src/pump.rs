//! Observing a stream of the command without copying it through user space.
//!
//! The command writes into a pipe; one thread per stream moves its pages on to where the stream belongs
//! with splice(2), and looks at a tee(2) of them: for the last byte (so that a partial line is ended before
//! the next incarnation writes), the last lines of stderr, the log files, and to know that something came.
//! Back-pressure is the pipe's own: when the reader is slow the thread waits in splice(2), and the command
//! in write(2). A reader that is gone ends the stream. Any other failure of its output (a full disk) does
//! not: the command could not be told what it would have been told, and it must not die of SIGPIPE. What
//! cannot be passed on is lost, in whole lines, which is said once.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};

use agor_common::output;

use crate::clock;
use crate::logs::Log;

/// How much is moved at once: a pipe's usual capacity.
const CHUNK: usize = 64 * 1024;

/// What the threads and the event loop share.
#[derive(Default)]
pub(crate) struct Shared {
    /// Pipes that are not at their end yet.
    pending: AtomicUsize,
    /// When something came last, in ms on the monotonic clock.
    last_ms: AtomicU64,
    /// The reader is gone.
    closed: AtomicBool,
    /// The last bytes of the current incarnation.
    tail: Mutex<VecDeque<u8>>,
}

impl Shared {
    /// When something came last, in ms on the monotonic clock; 0 for never.
    pub(crate) fn last_ms(&self) -> u64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    /// Whether the reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether all that was written has been passed on.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// The last bytes, which are forgotten here.
    pub(crate) fn take_tail(&self) -> Vec<u8> {
        std::mem::take(&mut *self.tail.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

/// A stream under observation.
pub(crate) struct Pump {
    sender: Sender<OwnedFd>,
    name: &'static str,
    idle: Option<(Worker, Receiver<OwnedFd>)>,
    /// What is known of it.
    pub(crate) shared: Arc<Shared>,
}

impl Pump {
    /// For the stream that goes to `out`. `keep` bytes of its end are kept. At the end of each pipe `wake`
    /// gets a count.
    pub(crate) fn new(
        name: &'static str,
        out: OwnedFd,
        keep: usize,
        log: Option<Log>,
        wake: OwnedFd,
    ) -> io::Result<Pump> {
        let (sender, receiver) = channel();
        let shared = Arc::new(Shared::default());
        let (peek, scratch) = pipe_with(PipeFlags::CLOEXEC)?;
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?.into();
        let worker = Worker {
            out,
            keep: keep.max(1),
            log,
            wake,
            peek,
            scratch,
            null,
            shared: shared.clone(),
            at_line_start: true,
            torn: false,
            copies: false,
            name,
            failing: false,
            skipping: false,
            part: false,
            unfinished: false,
        };
        Ok(Pump { sender, name, idle: Some((worker, receiver)), shared })
    }

    /// Starts the thread, the first time. That takes longer than to start a command, which therefore goes
    /// first. Without the thread the stream ends.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let Some((worker, receiver)) = self.idle.take() else { return Ok(()) };
        std::thread::Builder::new()
            .name(self.name.into())
            .stack_size(256 * 1024)
            .spawn(move || worker.run(&receiver))
            .map(drop)
    }

    /// A pipe for the next incarnation: what it writes into is returned.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // As large as may be is faster; where it may not, the default is good too.
        let _ = fcntl_setpipe_size(&write, CHUNK);
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        if self.sender.send(read).is_err() {
            self.shared.pending.fetch_sub(1, Ordering::AcqRel);
            return Err(io::Error::other("the thread that observes it has ended"));
        }
        Ok(write)
    }
}

struct Worker {
    out: OwnedFd,
    keep: usize,
    log: Option<Log>,
    wake: OwnedFd,
    peek: OwnedFd,
    scratch: OwnedFd,
    null: OwnedFd,
    shared: Arc<Shared>,
    at_line_start: bool,
    /// The last incarnation's last line has no end yet.
    torn: bool,
    /// splice(2) does not do for this output (a file opened for append, a full disk): read and write instead.
    copies: bool,
    name: &'static str,
    /// The output failed, which has been said.
    failing: bool,
    /// The rest of a line of which something was lost is not passed on.
    skipping: bool,
    /// The output ends in the middle of a line.
    part: bool,
    /// That line was lost from there on, and has to be ended before the next.
    unfinished: bool,
}

impl Worker {
    fn run(mut self, pipes: &Receiver<OwnedFd>) {
        while let Ok(pipe) = pipes.recv() {
            self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.torn = !self.at_line_start;
            if let Err(error) = self.pump(&pipe)
                && error == Errno::PIPE
            {
                self.shared.closed.store(true, Ordering::Relaxed);
            }
            drop(pipe);
            self.shared.pending.fetch_sub(1, Ordering::AcqRel);
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Until the pipe's end.
    fn pump(&mut self, pipe: &OwnedFd) -> Result<(), Errno> {
        loop {
            let count = if self.copies { self.copy(pipe)? } else { self.splice(pipe)? };
            if count == 0 {
                return Ok(());
            }
            let now = u64::try_from(clock::now().as_millis()).unwrap_or(u64::MAX);
            self.shared.last_ms.store(now, Ordering::Relaxed);
        }
    }

    /// The last incarnation died in the middle of a line: the first line of this one must not be spliced
    /// onto it.
    fn end_line(&mut self) -> Result<(), Errno> {
        if std::mem::take(&mut self.torn) {
            self.deliver(b"\n")?;
            if let Some(log) = &mut self.log {
                log.write(b"\n");
            }
        }
        Ok(())
    }

    /// Writes to the output, from a line's beginning on where something was lost. Fails only when the
    /// reader is gone.
    fn deliver(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        if self.skipping {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
            bytes = &bytes[end + 1..];
            self.skipping = false;
            self.unfinished = self.part;
        }
        if self.unfinished && !bytes.is_empty() {
            let (written, result) = write_all(self.out.as_fd(), b"\n");
            self.unfinished = written == 0;
            if let Err(error) = result {
                return self.lose(error, bytes);
            }
        }
        let (written, result) = write_all(self.out.as_fd(), bytes);
        if let Some(last) = bytes[..written].last() {
            self.part = *last != b'\n';
            self.failing = false;
        }
        result.or_else(|error| self.lose(error, &bytes[written..]))
    }

    /// These could not be written.
    fn lose(&mut self, error: Errno, bytes: &[u8]) -> Result<(), Errno> {
        if error == Errno::PIPE {
            return Err(error);
        }
        self.skipping = bytes.last().is_some_and(|last| *last != b'\n');
        self.unfinished = self.part;
        if !std::mem::replace(&mut self.failing, true) {
            let why = io::Error::from(error);
            output::warning(crate::TOOL, &format!("write to {}: {why}: its lines are lost", self.name));
        }
        Ok(())
    }

    fn splice(&mut self, pipe: &OwnedFd) -> Result<usize, Errno> {
        let count = retry(|| tee(pipe, &self.scratch, CHUNK, SpliceFlags::empty()))?;
        if count > 0 {
            self.end_line()?;
        }
        let mut moved = 0;
        while moved < count {
            let flags = SpliceFlags::MOVE;
            match retry(|| splice(pipe, None, &self.out, None, count - moved, flags)) {
                Ok(n) => moved += n,
                Err(Errno::AGAIN) => wait_writable(self.out.as_fd()),
                Err(Errno::PIPE) => return Err(Errno::PIPE),
                Err(_) => {
                    self.copies = true;
                    // What left the pipe before this was not looked at yet.
                    self.part = moved > 0 || !self.at_line_start;
                    let mut buffer = vec![0; count - moved];
                    let mut rest = &mut buffer[..];
                    while !rest.is_empty() {
                        let n = retry(|| rustix::io::read(pipe, &mut *rest))?;
                        rest = &mut rest[n..];
                    }
                    self.deliver(&buffer)?;
                    moved = count;
                }
            }
        }
        self.observe(count)?;
        Ok(count)
    }

    /// Takes the duplicate of `count` bytes from the scratch pipe.
    fn observe(&mut self, count: usize) -> Result<(), Errno> {
        let mut left = count;
        // All of it is read where the log has to be cut at a line; a full disk must not hold the stream up:
        // what cannot be logged is dropped.
        let cut = self.log.as_ref().is_some_and(|log| log.is_due(count));
        if let Some(log) = &mut self.log
            && !cut
        {
            left -= log.splice_from(&self.peek, count.saturating_sub(self.keep));
        }
        while !cut && left > self.keep {
            left -=
                retry(|| splice(&self.peek, None, &self.null, None, left - self.keep, SpliceFlags::MOVE))?;
        }
        let mut end = [0; 16 * 1024];
        while left > 0 {
            let want = left.min(end.len());
            let n = retry(|| rustix::io::read(&self.peek, &mut end[..want]))?;
            left -= n;
            self.remember(&end[..n]);
            if let Some(log) = &mut self.log {
                log.write(&end[..n]);
            }
        }
        Ok(())
    }

    fn remember(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.at_line_start = *last == b'\n';
        let bytes = &bytes[bytes.len().saturating_sub(self.keep)..];
        let mut tail = self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = (tail.len() + bytes.len()).saturating_sub(self.keep);
        tail.drain(..surplus);
        tail.extend(bytes);
    }

    fn copy(&mut self, pipe: &OwnedFd) -> Result<usize, Errno> {
        let mut buffer = [0; 16 * 1024];
        let count = retry(|| rustix::io::read(pipe, &mut buffer))?;
        if count > 0 {
            self.end_line()?;
        }
        self.deliver(&buffer[..count])?;
        self.remember(&buffer[..count]);
        if let Some(log) = &mut self.log {
            log.write(&buffer[..count]);
        }
        Ok(count)
    }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Whether a stream takes nothing now, because its reader is slow.
pub(crate) fn is_full(out: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&out, PollFlags::OUT)], Some(&now)) == Ok(0)
}

/// The caller's stdout may be non-blocking: it is his, so it stays so, and we wait.
fn wait_writable(fd: BorrowedFd<'_>) {
    let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
}

/// Writes all of it; how much was written, and what went wrong with the rest.
fn write_all(fd: BorrowedFd<'_>, bytes: &[u8]) -> (usize, Result<(), Errno>) {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(fd, &bytes[written..]) {
            Ok(n) => written += n,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(fd),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was lost is lost in whole lines, and what comes after it begins on a line of its own.
    #[test]
    fn a_disk_that_was_full_gets_whole_lines_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let open = |path: &std::path::Path| -> OwnedFd {
            std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap().into()
        };
        let wake = open(std::path::Path::new("/dev/null"));
        let pump = Pump::new("stdout", open(&path), 1, None, wake).unwrap();
        let (mut worker, _) = pump.idle.unwrap();
        worker.deliver(b"one\ntw").unwrap();
        worker.out = open(std::path::Path::new("/dev/full"));
        worker.deliver(b"o\nthree\nfo").unwrap();
        assert!(worker.failing);
        worker.deliver(b"ur, still").unwrap();
        worker.out = open(&path);
        worker.deliver(b" four\nfive\n").unwrap();
        worker.deliver(b"six").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntw\nfive\nsix");
        assert!(!worker.failing);
        worker.out = open(std::path::Path::new("/dev/full"));
        worker.deliver(b"\nseven\n").unwrap();
        worker.out = open(&path);
        worker.deliver(b"eight\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntw\nfive\nsix\neight\n");
        let (read, write) = rustix::pipe::pipe().unwrap();
        drop(read);
        worker.out = write;
        assert_eq!(worker.deliver(b"nine\n"), Err(Errno::PIPE));
    }
}
