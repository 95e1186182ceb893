//! What goes to the process's stdin: a bounded queue in front of a pipe that is never waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::protocol::{Code, Refusal};

/// Bytes that may wait for a process that does not read. More is answered `busy`.
const QUEUE: usize = 4 << 20;
/// Ctrl-D, which is how a terminal says end of file.
const END_OF_TRANSMISSION: &[u8] = &[4];

/// Somebody who wants to know when the bytes have been taken.
pub(crate) trait Ticket {
    fn done(self: Box<Self>, result: Result<(), Refusal>);

    /// The bytes are in the queue and will not be refused any more, except by the end of the process.
    fn taken(&mut self) {}
}

struct Item {
    bytes: Vec<u8>,
    written: usize,
    ticket: Option<Box<dyn Ticket>>,
}

/// The queue.
#[derive(Default)]
pub(super) struct Input {
    pipe: RefCell<Option<Rc<AsyncFd<OwnedFd>>>>,
    queue: RefCell<VecDeque<Item>>,
    queued: Cell<usize>,
    /// Close the pipe once the queue is empty.
    ending: Cell<bool>,
    terminal: Cell<bool>,
    pub(super) more: Notify,
}

fn closed() -> Refusal {
    Refusal(Code::NotRunning, "the session takes no input: its process ended or closed its stdin".into())
}

impl Input {
    /// A new process's stdin.
    pub(super) fn open(&self, pipe: Rc<AsyncFd<OwnedFd>>, terminal: bool) {
        self.drop_all();
        self.ending.set(false);
        self.terminal.set(terminal);
        *self.pipe.borrow_mut() = Some(pipe);
    }

    pub(super) fn pipe(&self) -> Option<Rc<AsyncFd<OwnedFd>>> {
        self.pipe.borrow().clone()
    }

    /// Takes `bytes`, then the end of input if `eof`; `ticket` hears when they are in the pipe. What fits goes
    /// at once, without a detour through the queue.
    pub(super) fn write(&self, bytes: &[u8], eof: bool, mut ticket: Box<dyn Ticket>) {
        let Some(pipe) = self.pipe() else { return ticket.done(Err(closed())) };
        if self.ending.get() {
            return ticket.done(Err(closed()));
        }
        if self.queued.get() > 0 && self.queued.get() + bytes.len() > QUEUE {
            let message = format!("{} bytes wait for the session to read them", self.queued.get());
            return ticket.done(Err(Refusal(Code::Busy, message)));
        }
        ticket.taken();
        let eof_byte = eof && self.terminal.get();
        if eof && !eof_byte {
            self.ending.set(true);
        }
        let mut written = 0;
        if self.queue.borrow().is_empty() {
            while written < bytes.len() {
                match rustix::io::write(&*pipe, &bytes[written..]) {
                    Ok(n) => written += n,
                    Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
        if written == bytes.len() && !eof_byte && self.queue.borrow().is_empty() {
            ticket.done(Ok(()));
            if self.ending.get() {
                self.close();
            }
            return;
        }
        let mut rest = bytes[written..].to_vec();
        if eof_byte {
            rest.extend_from_slice(END_OF_TRANSMISSION);
        }
        self.queued.set(self.queued.get() + rest.len());
        self.queue.borrow_mut().push_back(Item { bytes: rest, written: 0, ticket: Some(ticket) });
        self.more.notify_one();
    }

    /// Closes stdin once what is queued has gone out.
    pub(super) fn end(&self) {
        self.ending.set(true);
        if self.queue.borrow().is_empty() {
            self.close();
        }
    }

    fn close(&self) {
        *self.pipe.borrow_mut() = None;
        self.more.notify_one();
    }

    /// The process is gone: whoever waits is told.
    pub(super) fn drop_all(&self) {
        self.close();
        let items: Vec<Item> = self.queue.borrow_mut().drain(..).collect();
        self.queued.set(0);
        for ticket in items.into_iter().filter_map(|item| item.ticket) {
            ticket.done(Err(closed()));
        }
    }

    /// Writes the queue out, until the pipe is closed.
    pub(super) async fn run(&self) {
        while let Some(pipe) = self.pipe() {
            if self.queue.borrow().is_empty() {
                drop(pipe);
                self.more.notified().await;
                continue;
            }
            let Ok(mut guard) = pipe.writable().await else { return };
            let wrote = {
                let queue = self.queue.borrow();
                let Some(item) = queue.front() else { continue };
                rustix::io::write(&*pipe, &item.bytes[item.written..])
            };
            match wrote {
                Ok(n) => self.advance(n),
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(_) => return self.drop_all(),
            }
        }
    }

    fn advance(&self, n: usize) {
        self.queued.set(self.queued.get() - n);
        let finished = {
            let mut queue = self.queue.borrow_mut();
            match queue.front_mut() {
                Some(item) if item.written + n == item.bytes.len() => queue.pop_front(),
                Some(item) => {
                    item.written += n;
                    None
                }
                None => None,
            }
        };
        if let Some(ticket) = finished.and_then(|item| item.ticket) {
            ticket.done(Ok(()));
        }
        if self.ending.get() && self.queue.borrow().is_empty() {
            self.close();
        }
    }
}
