//! What supervisor and keeper say to each other, one datagram each over a SOCK_SEQPACKET pair.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::sys::wait::Ended;

/// The longest datagram: the variables of one spawn.
const MAX: usize = 32 * 1024;
const HEAD: usize = 64;

/// From the supervisor.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start the command with these variables, `KEY=VALUE` each ended by NUL, over the keeper's own.
    Spawn {
        /// The variables.
        env: Vec<u8>,
        /// Its stdout, if it is not ours.
        stdout: Option<OwnedFd>,
        /// Its stderr, if it is not ours.
        stderr: Option<OwnedFd>,
        /// Whether it gets the terminal.
        foreground: bool,
    },
    /// Send a signal to the command's process group, or to the command alone.
    Signal {
        /// Its number.
        signal: i32,
        /// The whole group.
        group: bool,
    },
    /// End the command and every descendant with SIGKILL.
    Kill,
}

/// From the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command runs its program, as this process.
    Started(i32),
    /// It does not: errno, and whether it was execve(2) that failed.
    NotStarted {
        /// The cause.
        errno: i32,
        /// execve failed: the command itself is wrong.
        exec: bool,
    },
    /// It has ended, and with it everything that came of it but `stuck` processes that could not be ended.
    Exited {
        /// How.
        ended: Ended,
        /// When, on the monotonic clock.
        at_ns: i64,
        /// How many processes are left.
        stuck: i64,
    },
    /// It was stopped by this signal (SIGSTOP, SIGTSTP, …), or, with 0, goes on.
    Stopped(i32),
}

fn put(words: &[i64]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn get(bytes: &[u8], index: usize) -> i64 {
    let word = bytes.get(index * 8..index * 8 + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, i64::from_le_bytes)
}

fn small(word: i64) -> i32 {
    i32::try_from(word).unwrap_or(0)
}

/// Sends a command.
pub(crate) fn send_command(
    socket: impl AsFd,
    command: &Command,
    fds: (Option<BorrowedFd<'_>>, Option<BorrowedFd<'_>>),
) -> Result<(), Errno> {
    let (mut bytes, out, err) = match command {
        Command::Spawn { env, foreground, .. } => {
            let (out, err) = (i64::from(fds.0.is_some()), i64::from(fds.1.is_some()));
            let mut bytes = put(&[1, out, err, i64::from(*foreground)]);
            bytes.extend_from_slice(env);
            (bytes, fds.0, fds.1)
        }
        Command::Signal { signal, group } => (put(&[2, i64::from(*signal), i64::from(*group)]), None, None),
        Command::Kill => (put(&[3]), None, None),
    };
    bytes.truncate(MAX);
    let fds: Vec<BorrowedFd<'_>> = out.into_iter().chain(err).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a command; `None` when the supervisor is gone.
pub(crate) fn receive_command(socket: impl AsFd) -> Result<Option<Command>, Errno> {
    let mut bytes = vec![0; MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?.bytes;
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got < HEAD {
        return Ok(None);
    }
    let mut fds = fds.into_iter();
    Ok(Some(match get(&bytes, 0) {
        1 => {
            let stdout = (get(&bytes, 1) != 0).then(|| fds.next()).flatten();
            let stderr = (get(&bytes, 2) != 0).then(|| fds.next()).flatten();
            let foreground = get(&bytes, 3) != 0;
            Command::Spawn { env: bytes[HEAD..got].to_vec(), stdout, stderr, foreground }
        }
        2 => Command::Signal { signal: small(get(&bytes, 1)), group: get(&bytes, 2) != 0 },
        _ => Command::Kill,
    }))
}

/// Sends a report. Blocks when the supervisor does not read, which loses nothing.
pub(crate) fn send_report(socket: impl AsFd, report: Report) -> Result<(), Errno> {
    let bytes = match report {
        Report::Started(pid) => put(&[1, i64::from(pid)]),
        Report::NotStarted { errno, exec } => put(&[2, i64::from(errno), i64::from(exec)]),
        Report::Exited { ended, at_ns, stuck } => put(&[
            3,
            i64::from(ended.status),
            ended.max_rss_kib,
            ended.user_us,
            ended.system_us,
            at_ns,
            stuck,
        ]),
        Report::Stopped(stopped) => put(&[4, i64::from(stopped)]),
    };
    rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What came from the keeper.
pub(crate) enum Received {
    /// A report.
    Report(Report),
    /// Nothing now.
    Nothing,
    /// The keeper is gone.
    Gone,
}

/// The next report.
pub(crate) fn receive_report(socket: impl AsFd) -> Received {
    let mut bytes = [0; HEAD];
    match rustix::net::recv(socket, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((HEAD, _)) => Received::Report(match get(&bytes, 0) {
            1 => Report::Started(small(get(&bytes, 1))),
            2 => Report::NotStarted { errno: small(get(&bytes, 1)), exec: get(&bytes, 2) != 0 },
            3 => Report::Exited {
                ended: Ended {
                    status: small(get(&bytes, 1)),
                    max_rss_kib: get(&bytes, 2),
                    user_us: get(&bytes, 3),
                    system_us: get(&bytes, 4),
                },
                at_ns: get(&bytes, 5),
                stuck: get(&bytes, 6),
            },
            _ => Report::Stopped(small(get(&bytes, 1))),
        }),
        Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
        Ok(_) | Err(_) => Received::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn commands_and_descriptors_arrive() {
        let (a, b) = pair();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let command = Command::Spawn { env: b"A=1\0".to_vec(), stdout: None, stderr: None, foreground: true };
        send_command(&a, &command, (None, Some(write.as_fd()))).unwrap();
        drop(write);
        let Some(Command::Spawn { env, stdout: None, stderr: Some(stderr), foreground: true }) =
            receive_command(&b).unwrap()
        else {
            panic!("not what was sent");
        };
        assert_eq!(env, b"A=1\0");
        rustix::io::write(&stderr, b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(&read, &mut byte), Ok(1));
        send_command(&a, &Command::Signal { signal: 15, group: true }, (None, None)).unwrap();
        assert!(matches!(receive_command(&b).unwrap(), Some(Command::Signal { signal: 15, group: true })));
        drop(a);
        assert!(receive_command(&b).unwrap().is_none());
    }

    #[test]
    fn reports_arrive() {
        let (a, b) = pair();
        let ended = Ended { status: 256, max_rss_kib: 7, user_us: 8, system_us: 9 };
        for report in [
            Report::Started(12),
            Report::NotStarted { errno: 2, exec: true },
            Report::Exited { ended, at_ns: 5, stuck: 1 },
            Report::Stopped(20),
        ] {
            send_report(&a, report).unwrap();
            assert!(matches!(receive_report(&b), Received::Report(got) if got == report));
        }
        assert!(matches!(receive_report(&b), Received::Nothing));
        drop(a);
        assert!(matches!(receive_report(&b), Received::Gone));
    }
}
