//! The server: what is shared, and the life of a connection from accept to upgrade.

pub(crate) mod client;
mod commands;
mod connection;
mod http;
mod io;
mod listen;
mod metrics;
mod nuisance;
pub(crate) mod outbox;
mod pending;
mod raw;
mod reload;
mod run;
mod tools;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use agor_common::{output, telemetry};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument as _;

use crate::TOOL;
use crate::config::{Limits, Spec};
use crate::protocol::{Code, Refusal};
use crate::session::{Session, State};
use crate::throttle::Throttle;
use crate::token::{Grant, Scope};
use client::Clients;
use connection::{Connection, End};
use http::{Body, Target};
use io::{Counters, Stream};
use metrics::{Metrics, Now};
use outbox::{Cut, Outbox};
use pending::{Pending, Place};
use raw::Raw;

pub(crate) use run::run;

/// Header bytes and lines that a request may have.
const HEADER_BYTES: usize = 16 << 10;
const HEADER_LINES: usize = 64;

/// TLS, and when its certificate ends.
struct Tls {
    acceptor: TlsAcceptor,
    /// Milliseconds since the epoch.
    expires: i64,
}

/// A connection that is authenticated.
struct Live {
    outbox: Rc<Outbox>,
    grant: Grant,
}

/// Everything that connections share. One thread, no locks.
pub(crate) struct Relay {
    /// This life of the relay.
    pub(crate) instance: String,
    pub(crate) limits: Rc<Limits>,
    pub(crate) sessions: RefCell<BTreeMap<String, Rc<Session>>>,
    pub(crate) clients: RefCell<Clients>,
    pub(crate) metrics: Metrics,
    pub(crate) draining: Cell<bool>,
    pub(crate) allow_exec: Cell<bool>,
    grants: RefCell<Vec<Grant>>,
    origins: RefCell<Vec<String>>,
    tls: RefCell<Option<Tls>>,
    /// Looks again at a certificate and a key that did not fit together.
    looking: RefCell<Option<tokio::task::AbortHandle>>,
    throttle: RefCell<Throttle>,
    live: RefCell<HashMap<u64, Live>>,
    pending: Rc<Pending>,
    /// Sessions of raw connections, which have no name that anybody else could use.
    raws: RefCell<Vec<Rc<Session>>>,
    /// Runs of the sibling tools.
    tools: Cell<usize>,
    serial: Cell<u64>,
    spill_dir: PathBuf,
    log: RefCell<Log>,
}

/// Keeps a flood of bad connections from becoming a flood of log lines: ten in a burst, then one a second.
struct Log {
    allowance: f64,
    at: Instant,
    dropped: u64,
}

impl Relay {
    /// A line about a connection.
    fn note(&self, peer: SocketAddr, what: &str) {
        self.say(&format!("{}: {what}", peer.ip()));
    }

    fn say(&self, line: &str) {
        let mut log = self.log.borrow_mut();
        let now = Instant::now();
        log.allowance = (log.allowance + now.duration_since(log.at).as_secs_f64()).min(10.0);
        log.at = now;
        if log.allowance < 1.0 {
            log.dropped += 1;
            return;
        }
        log.allowance -= 1.0;
        let dropped = std::mem::take(&mut log.dropped);
        let more =
            if dropped > 0 { format!(" ({dropped} lines like it were left out)") } else { String::new() };
        output::notice(TOOL, &format!("{line}{more}"));
    }

    /// Counts what went over a connection that is over.
    fn account(&self, counters: &Counters) {
        let (read, written) = (counters.read.load(Relaxed), counters.written.load(Relaxed));
        self.metrics.bytes_in.add(read);
        self.metrics.bytes_out.add(written);
        telemetry::count("agor.relay.bytes", read, &[("direction", "received")]);
        telemetry::count("agor.relay.bytes", written, &[("direction", "sent")]);
    }

    /// All sessions, those of raw connections too.
    fn all_sessions(&self) -> Vec<Rc<Session>> {
        self.sessions.borrow().values().chain(self.raws.borrow().iter()).cloned().collect()
    }

    /// Adds a session, in place of one of that name that a client made and that has ended.
    pub(crate) fn add_session(&self, name: &str, spec: Spec) -> Result<Rc<Session>, Refusal> {
        let mut sessions = self.sessions.borrow_mut();
        if let Some(old) = sessions.get(name) {
            if old.spec.borrow().configured {
                return Err(Refusal(Code::Forbidden, format!("session {name} is configured")));
            }
            if matches!(old.state(), State::Running | State::Stopping) {
                return Err(Refusal(Code::AlreadyRunning, format!("session {name} is running")));
            }
        } else if sessions.len() + self.raws.borrow().len() >= self.limits.max_sessions {
            // Make room: one that a client made and that has ended, or could never be started.
            let over = sessions
                .iter()
                .find(|(_, old)| {
                    !old.spec.borrow().configured && matches!(old.state(), State::Idle | State::Ended)
                })
                .map(|(name, _)| name.clone());
            match over {
                Some(over) => sessions.remove(&over),
                None => {
                    let message = format!("there are {} sessions", self.limits.max_sessions);
                    return Err(Refusal(Code::Limit, message));
                }
            };
        }
        let session = Session::new(name, spec, &self.limits, &self.spill_dir, false)
            .map_err(|error| Refusal(Code::Failed, format!("make session {name}: {error}")))?;
        sessions.insert(name.to_owned(), session.clone());
        Ok(session)
    }

    fn metrics_text(&self) -> String {
        let certificate_s = self.tls.borrow().as_ref().map(|tls| {
            let ms = tls.expires - agor_common::time::now_ms();
            std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
        });
        let sessions = self.sessions.borrow();
        self.metrics.text(&Now {
            open: self.live.borrow().len(),
            pending: self.pending.len(),
            sessions: sessions.len(),
            running: sessions.values().filter(|session| session.state() == State::Running).count(),
            throttled_addresses: self.throttle.borrow().len(),
            certificate_s,
        })
    }

    /// Answers one request; an upgrade is left in `upgraded`.
    fn answer(
        &self,
        peer: SocketAddr,
        mut request: Request<Incoming>,
        upgraded: &RefCell<Option<Accepted>>,
    ) -> Response<Body> {
        let now = Instant::now();
        let limit = self.limits.login;
        let decided = (|| {
            let target = http::target(&request)?;
            if target == Target::Health {
                return Ok(http::response(StatusCode::OK, "ok\n"));
            }
            if let Some(left) = self.throttle.borrow().refused(peer.ip(), limit, now) {
                self.metrics.throttled.add(1);
                let mut response = http::response(StatusCode::TOO_MANY_REQUESTS, "too many failed logins\n");
                response.headers_mut().insert(hyper::header::RETRY_AFTER, left.as_secs().max(1).into());
                return Ok(response);
            }
            let headers = request.headers();
            http::check_origin(headers, &self.origins.borrow())?;
            let grants = self.grants.borrow();
            let grant = http::authenticate(headers, &grants)?;
            if target == Target::Metrics {
                return Ok(http::response(StatusCode::OK, self.metrics_text()));
            }
            let accept = http::upgrade(headers)?;
            if let Target::Raw { session, .. } = &target
                && (grant.scope < Scope::Start || !grant.sees(session))
            {
                return Err((StatusCode::FORBIDDEN, "the token does not reach this"));
            }
            let on = hyper::upgrade::on(&mut request);
            let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
            let traceparent = traceparent.map(str::to_owned);
            *upgraded.borrow_mut() = Some(Accepted { on, grant: grant.clone(), target, traceparent });
            let subprotocol = http::offers_subprotocol(request.headers());
            Ok(http::switching(&accept, subprotocol))
        })();
        decided.unwrap_or_else(|(status, why)| {
            if status == StatusCode::UNAUTHORIZED {
                self.metrics.login_failures.add(1);
                telemetry::count("agor.relay.login_failures", 1, &[]);
                let span = tracing::info_span!("relay.connection", client.address = %peer.ip());
                telemetry::set_error(&span, "login", why);
                drop(span.entered());
                self.throttle.borrow_mut().failed(peer.ip(), limit, now);
                self.note(peer, "login refused");
            }
            http::response(status, format!("{why}\n"))
        })
    }

    /// From accept to the upgrade, all within the handshake's time.
    async fn handshake(self: &Rc<Self>, tcp: TcpStream, peer: SocketAddr) -> Result<Option<Open>, String> {
        let acceptor = self.tls.borrow().as_ref().map(|tls| tls.acceptor.clone());
        let stream = match acceptor {
            Some(acceptor) => {
                Stream::tls(acceptor.accept(tcp).await.map_err(|error| format!("TLS handshake: {error}"))?)
            }
            None => Stream::plain(tcp),
        };
        let upgraded = RefCell::new(None);
        let service = hyper::service::service_fn(|request| {
            let response = self.answer(peer, request, &upgraded);
            async move { Ok::<_, std::convert::Infallible>(response) }
        });
        hyper::server::conn::http1::Builder::new()
            .half_close(false)
            .auto_date_header(false)
            .max_headers(HEADER_LINES)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await
            .map_err(|error| format!("HTTP: {error}"))?;
        let Some(Accepted { on, grant, target, traceparent }) = upgraded.into_inner() else {
            return Ok(None);
        };
        let upgraded: Upgraded = on.await.map_err(|error| format!("upgrade: {error}"))?;
        let parts =
            upgraded.downcast::<TokioIo<Stream>>().map_err(|_| "upgrade: not our stream".to_owned())?;
        Ok(Some(Open {
            stream: parts.io.into_inner(),
            early: parts.read_buf.to_vec(),
            grant,
            target,
            traceparent,
        }))
    }

    /// One connection, from accept to its end.
    async fn serve(self: Rc<Self>, tcp: TcpStream, peer: SocketAddr, place: Place) {
        // Latency over packing: a refusal of the option only costs speed.
        let _ = tcp.set_nodelay(true);
        // Boxed, so that what the handshake needed is free again while the connection idles.
        let shaken = {
            let handshake = Box::pin(self.handshake(tcp, peer));
            tokio::time::timeout(self.limits.handshake, handshake).await
        };
        drop(place);
        let open = match shaken {
            Ok(Ok(Some(open))) => open,
            Ok(Ok(None)) => return,
            Ok(Err(why)) => {
                self.metrics.handshake_failures.add(1);
                return self.note(peer, &why);
            }
            Err(_) => {
                self.metrics.handshake_failures.add(1);
                return self.note(peer, "no handshake in time");
            }
        };
        self.metrics.connections.add(1);
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let grant = open.grant.clone();
        // It is entered at each poll: only where somebody wants to know.
        let span = if telemetry::is_on() {
            tracing::info_span!(
                "relay.connection",
                otel.kind = "server",
                client.address = %peer.ip(),
                relay.grant = %grant.name,
            )
        } else {
            tracing::Span::none()
        };
        if let Some(traceparent) = &open.traceparent {
            telemetry::set_parent(&span, traceparent);
        }
        telemetry::count("agor.relay.connections", 1, &[]);
        let (outbox, work): (Rc<Outbox>, std::pin::Pin<Box<dyn Future<Output = End>>>) = match open.target {
            Target::Raw { ref session, binary } => {
                let name = session.clone();
                match self.open_raw(&name, open, binary).instrument(span.clone()).await {
                    Some(raw) => (raw.outbox.clone(), Box::pin(self.clone().run_raw(raw))),
                    None => return,
                }
            }
            _ => {
                let connection = Connection::new(self.clone(), open.stream, open.early, open.grant).await;
                (connection.outbox.clone(), Box::pin(connection.run()))
            }
        };
        let name = grant.name.clone();
        self.live.borrow_mut().insert(serial, Live { outbox, grant });
        // The token may have been revoked during the handshake.
        self.cut_revoked();
        let end = work.instrument(span.clone()).await;
        self.live.borrow_mut().remove(&serial);
        if let End::Broken(why) = end {
            telemetry::set_error(&span, "broken", &why);
            self.note(peer, &format!("connection of token {name} broke: {why}"));
        } else if let End::Cut(cut) = end
            && cut.code != 1000
            && cut.code != 1001
        {
            telemetry::set_error(&span, &cut.code.to_string(), cut.reason);
            self.note(peer, &format!("connection of token {name} cut: {} ({})", cut.reason, cut.code));
        }
    }

    async fn open_raw(self: &Rc<Self>, name: &str, open: Open, binary: bool) -> Option<Raw> {
        let spec = self.sessions.borrow().get(name).map(|session| session.spec.borrow().clone());
        let full = self.sessions.borrow().len() + self.raws.borrow().len() >= self.limits.max_sessions;
        let session = spec.filter(|_| !full && !self.draining.get()).and_then(|spec| {
            let serial = self.serial.get();
            Session::new(&format!("{name}.{serial}"), spec, &self.limits, &self.spill_dir, true).ok()
        });
        let started = session.filter(|session| match session.start() {
            Ok(()) => true,
            Err(Refusal(_, why)) => {
                output::warning(TOOL, &why);
                false
            }
        });
        let Some(session) = started else {
            let config = connection::websocket_config(self.limits.max_message);
            let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
            let mut ws =
                tokio_tungstenite::WebSocketStream::from_raw_socket(open.stream, role, Some(config)).await;
            connection::goodbye(&mut ws, 1013, "the session cannot be started").await;
            return None;
        };
        Some(Raw::new(self.clone(), open.stream, open.early, &open.grant.name, session, binary).await)
    }

    async fn run_raw(self: Rc<Self>, raw: Raw) -> End {
        let session = raw.session.clone();
        self.raws.borrow_mut().push(session.clone());
        let end = raw.run().await;
        self.raws.borrow_mut().retain(|other| !Rc::ptr_eq(other, &session));
        end
    }

    /// Cuts every connection whose token is gone, changed or expired.
    fn cut_revoked(&self) {
        let grants = self.grants.borrow();
        for live in self.live.borrow().values() {
            let known =
                grants.iter().any(|grant| grant.name == live.grant.name && grant.same_as(&live.grant));
            if !known || !live.grant.is_live() {
                live.outbox.cut(Cut { code: 1008, reason: "token revoked", flush: false });
            }
        }
    }
}

/// A request that may upgrade.
struct Accepted {
    on: OnUpgrade,
    grant: Grant,
    target: Target,
    traceparent: Option<String>,
}

/// A connection right after the upgrade.
struct Open {
    stream: Stream,
    early: Vec<u8>,
    grant: Grant,
    target: Target,
    /// The client's trace, from the header `traceparent` of its upgrade.
    traceparent: Option<String>,
}
