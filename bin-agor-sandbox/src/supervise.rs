//! Staying behind as a parent, for `--explain-denials` and `learn`: COMMAND runs in a child whose opens,
//! execs and connects this process is asked about before they go on.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use agor_common::Exit;
use rustix::event::{PollFd, PollFlags};

use crate::audit::Records;
use crate::error::Error;
use crate::observe::{self, Want};
use crate::privileges;
use crate::sys::notify;
use crate::sys::process;

/// Runs `inside` in a child, with a socket to send its listener over, and `ask` with what each of its calls
/// wants: the answer is an errno, or nothing to let the call go on. The kernel's own records are taken by the
/// way. Gives back COMMAND's status.
pub(crate) fn run(
    inside: impl FnOnce(&OwnedFd) -> Exit,
    mut ask: impl FnMut(Vec<Want>) -> Option<i32>,
    records: &mut Option<Records>,
) -> Result<Exit, Error> {
    let failed = |error: io::Error| Error::apply("observe COMMAND", error);
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| failed(error.into()))?;
    let child = process::fork_child().map_err(failed)?;
    let Some(child) = child else {
        drop(ours);
        process::end_with(inside(&theirs).code());
    };
    drop(theirs);
    if let Some(records) = records {
        records.of(child);
    }
    process::forward_signals(child);
    let Some(listener) = notify::receive_fd(&ours).map_err(failed)? else {
        // It failed before the filter was there, and has said why.
        return process::wait_for(child).map_err(failed);
    };
    drop(ours);
    notify::wake_synchronously(&listener);
    let pidfd = process::pidfd(child).map_err(failed)?;
    privileges::with_file_permissions(|| answer_until(&listener, Some(&pidfd), &mut ask, records));
    let exit = process::wait_for(child).map_err(failed)?;
    // Processes that COMMAND leaves behind still wait for answers: without any, their calls would fail.
    if !is_over(&listener) {
        process::orphan(|| {
            process::leave(&[], &[&listener]);
            answer_until(&listener, None, &mut |_| None, &mut None);
        })
        .map_err(failed)?;
    }
    Ok(exit)
}

fn is_over(listener: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = rustix::event::poll(&mut fds, Some(&now));
    fds[0].revents().contains(PollFlags::HUP)
}

/// Until the child is gone, or, without one, until nobody has the filter any more.
fn answer_until(
    listener: &OwnedFd,
    child: Option<&OwnedFd>,
    ask: &mut impl FnMut(Vec<Want>) -> Option<i32>,
    records: &mut Option<Records>,
) {
    loop {
        // Where there is nothing else to wait for, the same once more.
        let child_fd = child.unwrap_or(listener);
        let record_fd = records.as_ref().map_or(listener, Records::socket);
        let mut fds =
            [listener, child_fd, record_fd].map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let events = fds[0].revents();
        let ended = child.is_some() && !fds[1].revents().is_empty();
        let more = !fds[2].revents().is_empty();
        if let Some(records) = records.as_mut().filter(|_| more) {
            records.take();
        }
        if events.contains(PollFlags::IN) {
            if let Ok(Some(call)) = notify::receive(listener) {
                let wants = observe::wants(&call);
                // Only now is it sure that what was read was this process's and not that of a later one.
                let errno = if notify::is_valid(listener, &call) { ask(wants) } else { None };
                notify::answer(listener, &call, errno);
            }
            continue;
        }
        if events.intersects(PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        if ended {
            return;
        }
    }
}
