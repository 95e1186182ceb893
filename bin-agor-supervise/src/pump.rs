//! Observing a stream of the command without copying it through user space.
//!
//! The command writes into a pipe; one thread per stream moves its pages on to where the stream belongs
//! with splice(2), and looks at a tee(2) of them: for the last byte (so that a partial line is ended before
//! the next incarnation writes), the last lines of stderr, the log files, and to know that something came.
//! Back-pressure is the pipe's own: when the reader is slow the thread waits in splice(2), and the command
//! in write(2).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};

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
    /// splice(2) does not do for this output (a file opened for append): read and write instead.
    copies: bool,
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
            write_all(self.out.as_fd(), b"\n")?;
            if let Some(log) = &mut self.log {
                log.write(b"\n");
            }
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
                Err(Errno::INVAL) => {
                    self.copies = true;
                    let mut buffer = vec![0; count - moved];
                    let mut rest = &mut buffer[..];
                    while !rest.is_empty() {
                        let n = retry(|| rustix::io::read(pipe, &mut *rest))?;
                        rest = &mut rest[n..];
                    }
                    write_all(self.out.as_fd(), &buffer)?;
                    moved = count;
                }
                Err(error) => return Err(error),
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
        write_all(self.out.as_fd(), &buffer[..count])?;
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

/// The caller's stdout may be non-blocking: it is his, so it stays so, and we wait.
fn wait_writable(fd: BorrowedFd<'_>) {
    use rustix::event::{PollFd, PollFlags, poll};
    let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(fd),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
