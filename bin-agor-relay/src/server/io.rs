//! The byte stream below a connection: TLS or not, counted.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What went through, and how much may still come before a message has to be complete.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
    /// Bytes read since a message was complete.
    since: AtomicU64,
    /// The bound for it; 0 is none.
    most: AtomicU64,
}

impl Counters {
    /// From now on `most` bytes without a complete message end the connection: an endless run of empty
    /// fragments never becomes one.
    pub(crate) fn limit(&self, most: u64) {
        self.most.store(most, Relaxed);
    }

    pub(crate) fn complete(&self) {
        self.since.store(0, Relaxed);
    }
}

/// The stream.
pub(crate) struct Stream {
    inner: Inner,
    pub(crate) counters: Arc<Counters>,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(crate) fn plain(tcp: TcpStream) -> Stream {
        Stream { inner: Inner::Plain(tcp), counters: Arc::default() }
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>) -> Stream {
        Stream { inner: Inner::Tls(Box::new(tls)), counters: Arc::default() }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        match &self.inner {
            Inner::Plain(tcp) => tcp.as_fd(),
            Inner::Tls(tls) => tls.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Inner::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        let n = (buf.filled().len() - before) as u64;
        self.counters.read.fetch_add(n, Relaxed);
        let most = self.counters.most.load(Relaxed);
        if most > 0 && self.counters.since.fetch_add(n, Relaxed) + n > most {
            return Poll::Ready(Err(io::Error::other("too much without a complete message")));
        }
        poll
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Inner::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        if let Poll::Ready(Ok(n)) = &poll {
            self.counters.written.fetch_add(*n as u64, Relaxed);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
