//! A pseudo-terminal pair, and a child that has it as its controlling terminal (pty(7), tty_ioctl(4)).
#![expect(unsafe_code, reason = "pre_exec: setsid and TIOCSCTTY between fork and exec")]

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// A new pair: the master (non-blocking), and the terminal.
pub(crate) fn open(cols: u16, rows: u16) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let path = PathBuf::from(name.to_str().map_err(io::Error::other)?);
    let terminal = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path)?;
    resize(&master, cols, rows)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, terminal.into()))
}

/// Sets the window's size; the foreground process group gets SIGWINCH.
pub(crate) fn resize(master: &OwnedFd, cols: u16, rows: u16) -> io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}

/// Gives `command` the terminal as stdin, stdout, stderr and controlling terminal, in a session of its own.
pub(crate) fn attach(command: &mut Command, terminal: OwnedFd) -> io::Result<()> {
    command.stdin(Stdio::from(terminal.try_clone()?));
    command.stdout(Stdio::from(terminal.try_clone()?));
    command.stderr(Stdio::from(terminal));
    // SAFETY: setsid(2) and ioctl(2) are async-signal-safe; nothing is allocated and no lock is taken.
    // Descriptor 0 is the terminal by then.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(BorrowedFd::borrow_raw(0))?;
            Ok(())
        });
    }
    Ok(())
}
