//! sd_notify(3), both ways: what the command says to us, and what we say to our own manager.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::net::RecvFlags;

/// What the command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// `READY=1`
    Ready,
    /// `WATCHDOG=1`
    Alive,
    /// `WATCHDOG=trigger`
    Dead,
    /// `STATUS=…`
    Status(String),
    /// `STOPPING=1`
    Stopping,
}

/// The socket on which the command speaks.
pub(crate) struct Listener {
    socket: OwnedFd,
    /// Its address, for `NOTIFY_SOCKET`.
    pub(crate) address: OsString,
}

impl Listener {
    /// Binds it at `path`, or, where that is too long for an address, at an abstract one.
    pub(crate) fn bind(path: &Path) -> std::io::Result<Listener> {
        // What a predecessor left is in the way.
        let _ = std::fs::remove_file(path);
        let (socket, address) = match UnixDatagram::bind(path) {
            Ok(socket) => (socket, path.as_os_str().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                let name = format!("agor-supervise/{:016x}", fastrand::u64(..));
                let address = SocketAddr::from_abstract_name(name.as_bytes())?;
                (UnixDatagram::bind_addr(&address)?, format!("@{name}").into())
            }
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        Ok(Listener { socket: socket.into(), address })
    }

    /// To wait on.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.socket
    }

    /// What was said since.
    pub(crate) fn read(&self) -> Vec<Said> {
        let mut said = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        while let Ok(((bytes, _), _)) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT)
        {
            said.extend(parse(bytes));
        }
        said
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Vec<Said> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| match line {
            b"READY=1" => Some(Said::Ready),
            b"WATCHDOG=1" => Some(Said::Alive),
            b"WATCHDOG=trigger" => Some(Said::Dead),
            b"STOPPING=1" => Some(Said::Stopping),
            _ => line
                .strip_prefix(b"STATUS=")
                .map(|text| Said::Status(agor_common::text::preview(&String::from_utf8_lossy(text), 200))),
        })
        .collect()
}

/// Our own service manager.
pub(crate) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear WATCHDOG=1.
    pub(crate) watchdog: Option<Duration>,
}

impl Manager {
    /// The one that `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` name.
    pub(crate) fn from_env(pid: i32) -> Manager {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|address| {
            let bytes = address.as_bytes();
            let address = match bytes.first()? {
                b'@' => SocketAddr::from_abstract_name(&bytes[1..]).ok()?,
                b'/' => SocketAddr::from_pathname(OsString::from_vec(bytes.to_vec())).ok()?,
                _ => return None,
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let for_us = number("WATCHDOG_PID").is_none_or(|wanted| wanted == u64::from(pid.unsigned_abs()));
        let watchdog = number("WATCHDOG_USEC")
            .filter(|usec| *usec > 0 && for_us && socket.is_some())
            .map(|usec| Duration::from_micros(usec) / 2);
        Manager { socket, watchdog }
    }

    /// Tells it. A manager that does not listen is not waited for; false when it has too much to read just now,
    /// and has to be told again.
    pub(crate) fn tell(&self, text: &str) -> bool {
        let Some((socket, address)) = &self.socket else { return true };
        let told = socket.send_to_addr(text.as_bytes(), address);
        !told.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_parsed_and_escaped() {
        assert_eq!(
            parse(b"READY=1\nSTATUS=a\x1bb\nX=1\nWATCHDOG=1"),
            [Said::Ready, Said::Status("a\\eb".into()), Said::Alive]
        );
    }

    #[test]
    fn a_path_that_is_too_long_becomes_an_abstract_address() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&dir.path().join("x".repeat(200))).unwrap();
        let address = listener.address.into_string().unwrap();
        let name = address.strip_prefix('@').unwrap();
        let peer = UnixDatagram::unbound().unwrap();
        peer.send_to_addr(b"READY=1", &SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    }
}
