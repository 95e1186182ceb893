//! The terminal, when stdin is one: the command gets it for as long as it runs, so that Ctrl-C and Ctrl-Z
//! reach it once and directly, and the supervisor takes it back, sane, whenever the command has ended.

use std::io::IsTerminal as _;

use rustix::process::{Pid, getpgrp};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// A terminal on stdin.
pub(crate) struct Terminal {
    modes: Option<Termios>,
    /// The command has it.
    pub(crate) lent: bool,
}

impl Terminal {
    /// The terminal on stdin, if there is one and it is this session's.
    pub(crate) fn find() -> Option<Terminal> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || tcgetpgrp(&stdin).is_err() {
            return None;
        }
        Some(Terminal { modes: tcgetattr(&stdin).ok(), lent: false })
    }

    /// Whether our process group is in its foreground, so that we may lend it.
    pub(crate) fn is_ours(&self) -> bool {
        tcgetpgrp(std::io::stdin()) == Ok(getpgrp())
    }

    /// Lends it to a process group.
    pub(crate) fn lend(&mut self, group: i32) {
        if let Some(group) = Pid::from_raw(group) {
            self.lent = tcsetpgrp(std::io::stdin(), group).is_ok();
        }
    }

    /// Takes it back from the group that has it. Our signals are blocked, SIGTTOU too, so this works from
    /// the background.
    pub(crate) fn take_back(&mut self) {
        if !std::mem::take(&mut self.lent) {
            return;
        }
        let stdin = std::io::stdin();
        // Where it is gone there is nothing to take back.
        let _ = tcsetpgrp(&stdin, getpgrp());
        if let Some(modes) = &self.modes {
            let _ = tcsetattr(&stdin, OptionalActions::Drain, modes);
        }
    }
}

/// Whether one of the standard streams is a terminal that was hung up.
pub(crate) fn is_hung_up() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut fds = [
        PollFd::new(&stdin, PollFlags::empty()),
        PollFd::new(&stdout, PollFlags::empty()),
        PollFd::new(&stderr, PollFlags::empty()),
    ];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut fds, Some(&now)).is_err() {
        return false;
    }
    // After a hangup isatty(3) says EIO, which Rust reads as no; a pipe says HUP or ERR too, so only
    // character devices count.
    let device = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::fs::fstat(fd).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice
        })
    };
    use std::os::fd::AsFd as _;
    [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]
        .into_iter()
        .zip(&fds)
        .any(|(fd, polled)| polled.revents().intersects(PollFlags::HUP | PollFlags::ERR) && device(fd))
}
