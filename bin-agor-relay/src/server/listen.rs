//! Where connections come from: sockets of the service manager, or our own.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::TcpListener;

use crate::config::Listen;
use crate::error::Error;

/// Connections that the kernel queues.
const BACKLOG: i32 = 1024;

/// Sockets that the service manager passed (systemd.socket(5)), if any.
fn inherited() -> Vec<StdListener> {
    let mut fds = listenfd::ListenFd::from_env();
    (0..fds.len()).filter_map(|index| fds.take_tcp_listener(index).ok().flatten()).collect()
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

/// All listening sockets, and the port of the first.
pub(crate) fn open(listen: &Listen) -> Result<(Vec<TcpListener>, u16), Error> {
    let io = |source| Error::Io { what: "use the listening socket", source };
    let mut sockets = inherited();
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
    let mut listeners = Vec::new();
    let mut port = listen.port;
    for socket in sockets {
        socket.set_nonblocking(true).map_err(io)?;
        port = socket.local_addr().map_err(io)?.port();
        listeners.push(TcpListener::from_std(socket).map_err(io)?);
    }
    Ok((listeners, port))
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Writes the port, whole or not at all.
pub(crate) fn write_port_file(path: &Path, port: u16) -> Result<(), Error> {
    let fail = |source| Error::Write { path: path.into(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    std::io::Write::write_all(&mut file, format!("{port}\n").as_bytes()).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}
