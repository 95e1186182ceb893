//! Where connections come from: sockets of the service manager, or our own.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::TcpListener;

use crate::config::Listen;
use crate::error::Error;
use crate::files;

/// Connections that the kernel queues.
const BACKLOG: i32 = 1024;

/// Sockets that the service manager passed (systemd.socket(5)), if any. To listen elsewhere instead of on one that
/// cannot be served would be what nobody asked for.
fn inherited() -> Result<Vec<StdListener>, Error> {
    let mut fds = listenfd::ListenFd::from_env();
    let count = fds.len();
    let socket = |index| {
        let socket = fds.take_tcp_listener(index).ok().flatten();
        socket.filter(|socket| sockopt::socket_acceptconn(socket).unwrap_or(false)).ok_or_else(|| {
            Error::setup(
                format!("descriptor {} of LISTEN_FDS is not a TCP socket that listens", 3 + index),
                "in a .socket unit that is ListenStream= with a port",
            )
        })
    };
    (0..count).map(socket).collect()
}

fn bind(address: SocketAddr) -> std::io::Result<StdListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(
        family,
        SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK,
        None,
    )?;
    // After a restart the port must be had again at once; another live listener still refuses it.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// All listening sockets, at least one, and the address of the first.
pub(crate) fn open(listen: &Listen) -> Result<(Vec<TcpListener>, SocketAddr), Error> {
    let io = |source| Error::Io { what: "use the listening socket", source };
    let mut sockets = inherited()?;
    if sockets.is_empty() {
        let mut port = listen.port;
        let mut last = None;
        for ip in &listen.addresses {
            let address = SocketAddr::new(*ip, port);
            match bind(address) {
                Ok(socket) => {
                    port = socket.local_addr().map_err(io)?.port();
                    sockets.push(socket);
                }
                // A host without IPv6 (or without IPv4) serves what it has.
                Err(source) if listen.addresses.len() > 1 && is_absent(&source) => {
                    last = Some(Error::Listen { address: address.to_string(), source });
                }
                Err(source) => return Err(Error::Listen { address: address.to_string(), source }),
            }
        }
        if let Some(error) = last.filter(|_| sockets.is_empty()) {
            return Err(error);
        }
    }
    let none = || Error::usage("there is no address to listen on", "--listen ADDRESS");
    let address = sockets.first().ok_or_else(none)?.local_addr().map_err(io)?;
    let listener = |socket: StdListener| {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    let listeners = sockets.into_iter().map(listener).collect::<Result<_, _>>().map_err(io)?;
    Ok((listeners, address))
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Writes the port, whole or not at all. A pipe or a device (`/dev/stdout`) is written to and not replaced.
pub(crate) fn write_port_file(path: &Path, port: u16) -> Result<(), Error> {
    let line = format!("{port}\n");
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        // A named pipe that nobody reads must not hold the start up.
        let mut options = std::fs::File::options();
        let options = options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        return options
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|source| Error::Write { path: path.into(), source });
    }
    files::Draft::new(path, &line, 0o600)?.put(true)
}
