//! One connection of the client: TCP, TLS, upgrade, then messages in both directions at once.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use agor_common::{output, telemetry};
use bytes::Bytes;
use futures_util::{Sink as _, SinkExt as _, Stream as _};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use crate::TOOL;
use crate::error::{Error, plainly};
use crate::tls::client::{Doubt, Seen};
use crate::token::Secret;

/// Whom to connect to and how to prove it.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) authority: String,
    pub(super) port: u16,
    pub(super) token: Secret,
    pub(super) tls: Option<(Arc<ClientConfig>, Seen)>,
}

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// The byte stream below the messages, with a count of what came.
struct Counted {
    inner: Box<dyn Io>,
    read: u64,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read += (buf.filled().len() - before) as u64;
        poll
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Why there is no connection.
pub(super) enum Failed {
    /// It may work later.
    Later(Error),
    /// It will not.
    Never(Error),
}

fn later(authority: &str, why: impl std::fmt::Display) -> Failed {
    Failed::Later(Error::Unreachable { what: format!("connect to {authority}: {why}"), hint: None })
}

/// A connection.
pub(super) struct Link {
    ws: WebSocketStream<Counted>,
    /// Goes ahead of the rest.
    pub(super) urgent: VecDeque<Utf8Bytes>,
    pub(super) queue: VecDeque<Utf8Bytes>,
    pub(super) ping: bool,
    unflushed: bool,
}

impl Target {
    /// Opens a connection within `timeout`.
    pub(super) async fn open(&self, timeout: Duration) -> Result<Link, Failed> {
        match tokio::time::timeout(timeout, self.open_without_limit()).await {
            Ok(opened) => opened,
            Err(_) => Err(later(&self.authority, "no answer in time")),
        }
    }

    async fn open_without_limit(&self) -> Result<Link, Failed> {
        let authority = &self.authority;
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| later(authority, error))?;
        // Latency over packing: a refusal of the option only costs speed.
        let _ = tcp.set_nodelay(true);
        let inner: Box<dyn Io> = match &self.tls {
            None => Box::new(tcp),
            Some((config, seen)) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|_| {
                    Failed::Never(Error::usage(format!("{} is not a host name or address", self.host), ""))
                })?;
                match TlsConnector::from(config.clone()).connect(name, tcp).await {
                    Ok(tls) => {
                        remember_first_use(authority, seen)?;
                        Box::new(tls)
                    }
                    Err(error) => return Err(tls_failure(authority, &error, seen)),
                }
            }
        };
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{authority}/")
            .into_client_request()
            .map_err(|error| Failed::Never(Error::usage(format!("{authority}: {error}"), "")))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose()))
            .map_err(|_| Failed::Never(Error::setup("the token cannot stand in a header", "")))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        if let Some(trace) = telemetry::traceparent().and_then(|trace| HeaderValue::from_str(&trace).ok()) {
            request.headers_mut().insert("traceparent", trace);
        }
        // What the relay sends is bounded by its chunks, escaped; 16 MiB is far above.
        let config = WebSocketConfig::default()
            .read_buffer_size(64 << 10)
            .write_buffer_size(64 << 10)
            .max_message_size(Some(16 << 20))
            .max_frame_size(Some(16 << 20));
        let stream = Counted { inner, read: 0 };
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((ws, _)) => Ok(Link {
                ws,
                urgent: VecDeque::new(),
                queue: VecDeque::new(),
                ping: false,
                unflushed: false,
            }),
            Err(WsError::Http(response)) => Err(refused(authority, response.status())),
            Err(error) => Err(later(authority, error)),
        }
    }
}

/// The handshake is done, so the relay has the key that it showed.
fn remember_first_use(authority: &str, seen: &Seen) -> Result<(), Failed> {
    let (unknown, pin) = match seen.lock() {
        Ok(mut seen) => (seen.unknown.take(), seen.pin),
        Err(_) => return Ok(()),
    };
    let Some((known, pin)) = unknown.zip(pin) else { return Ok(()) };
    // Another process may have been faster, and may have seen another key.
    match known.check(pin, true) {
        Ok(added) => {
            if added {
                let line = format!("first connection to {authority}: its key is now known as {pin}");
                output::notice(TOOL, &line);
            }
            Ok(())
        }
        Err(doubt) => Err(doubted(authority, doubt)),
    }
}

fn doubted(authority: &str, doubt: Doubt) -> Failed {
    Failed::Never(match doubt {
        Doubt::Key(why) => Error::Identity {
            what: format!("refuse {authority}: {why}"),
            hint: Some("nothing was sent; find out who answers there before anything else".into()),
        },
        Doubt::File(path, source) => Error::Write { path, source },
    })
}

fn tls_failure(authority: &str, error: &io::Error, seen: &Seen) -> Failed {
    let doubt = seen.lock().ok().and_then(|mut seen| seen.refusal.take());
    if let Some(doubt) = doubt {
        return doubted(authority, doubt);
    }
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => Failed::Never(Error::Identity {
            what: format!("refuse {authority}: its certificate is not trusted: {why}"),
            hint: Some("pin its key with --pin (agor-relay pin cert.pem on its host prints it)".into()),
        }),
        Some(rustls::Error::AlertReceived(alert)) => Failed::Never(Error::Denied {
            what: format!("{authority} refused the TLS handshake: {alert:?}"),
            hint: Some("does the relay demand a client certificate (--cert, --key)?".into()),
        }),
        Some(other) => Failed::Never(Error::Data { what: format!("connect to {authority}: {other}") }),
        None => later(authority, error),
    }
}

fn refused(authority: &str, status: StatusCode) -> Failed {
    let what = format!("{authority} answered {status}");
    match status {
        StatusCode::UNAUTHORIZED => Failed::Never(Error::Denied {
            what: format!("{authority} refused the token"),
            hint: Some("it is wrong, expired or revoked".into()),
        }),
        StatusCode::FORBIDDEN => Failed::Never(Error::Denied { what, hint: None }),
        StatusCode::TOO_MANY_REQUESTS => Failed::Never(Error::Busy {
            what,
            hint: Some("too many failed logins from this address: wait some minutes".into()),
        }),
        status if status.is_server_error() => later(authority, status),
        _ => Failed::Never(Error::Data { what: format!("{what}: is that an agor relay?") }),
    }
}

/// What came.
pub(super) enum Came {
    Text(Utf8Bytes),
    /// A sign of life without content.
    Alive,
    /// Closed by the relay.
    Closed(Option<CloseFrame>),
    Lost(String),
}

impl Link {
    /// Bytes that have come so far.
    pub(super) fn read(&self) -> u64 {
        self.ws.get_ref().read
    }

    /// Sends what waits and, if `read`, returns what comes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Came> {
        if let Err(error) = self.poll_write(cx) {
            return Poll::Ready(Came::Lost(plainly(&error)));
        }
        if !read {
            return Poll::Pending;
        }
        Poll::Ready(match Pin::new(&mut self.ws).poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(Message::Text(text)))) => Came::Text(text),
            Poll::Ready(Some(Ok(Message::Close(frame)))) => Came::Closed(frame),
            Poll::Ready(Some(Ok(_))) => Came::Alive,
            Poll::Ready(Some(Err(error))) => Came::Lost(plainly(&error)),
            Poll::Ready(None) => Came::Closed(None),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), WsError> {
        loop {
            match Pin::new(&mut self.ws).poll_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            let message = if std::mem::take(&mut self.ping) {
                Message::Ping(Bytes::new())
            } else if let Some(text) = self.urgent.pop_front().or_else(|| self.queue.pop_front()) {
                Message::Text(text)
            } else {
                break;
            };
            Pin::new(&mut self.ws).start_send(message)?;
            self.unflushed = true;
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.ws).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Sends what waits and says goodbye; a relay that does not answer is not waited for.
    pub(super) async fn close(mut self) {
        let polite = async {
            while let Some(text) = self.urgent.pop_front() {
                self.ws.send(Message::Text(text)).await?;
            }
            let frame = CloseFrame { code: 1000.into(), reason: Utf8Bytes::from_static("done") };
            self.ws.send(Message::Close(Some(frame))).await?;
            std::future::poll_fn(|cx| {
                loop {
                    match Pin::new(&mut self.ws).poll_next(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await;
            Ok::<_, WsError>(())
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), polite).await;
    }
}
