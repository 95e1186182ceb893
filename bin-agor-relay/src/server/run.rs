//! The server's life: start, signals, drain.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use agor_common::{Exit, output, paths};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::metrics::Metrics;
use super::outbox::Cut;
use super::{Log, Relay, listen, reload};
use crate::cli::Serve;
use crate::config::Config;
use crate::error::Error;
use crate::session::Graces;
use crate::throttle::network;
use crate::{TOOL, sys};

/// After a failed accept the next try waits this long, where nobody has given way.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After so many that gave way they have their turn to go, and everybody else his.
const GAVE_WAY: u32 = 16;
/// Expired tokens are looked for this often.
const EXPIRY: Duration = Duration::from_millis(500);

/// Serves until it is told to stop.
pub(crate) fn run(serve: &Serve) -> Result<Exit, Error> {
    let config = Config::load(serve, &[])?;
    let tls = config.tls.as_ref().map(reload::load_tls).transpose()?;
    sys::fds::close_on_exec();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io { what: "start the runtime", source })?;
    let local = tokio::task::LocalSet::new();
    let exit = local.block_on(&runtime, async {
        let (listeners, address) = listen::open(&config.listen)?;
        let spill_dir =
            if config.limits.spill.is_some() { paths::runtime_dir()? } else { std::path::PathBuf::new() };
        let relay = Rc::new(Relay {
            instance: uuid::Uuid::new_v4().simple().to_string(),
            limits: Rc::new(config.limits.clone()),
            sessions: RefCell::default(),
            clients: RefCell::default(),
            metrics: Metrics::default(),
            draining: Cell::new(false),
            allow_exec: Cell::new(config.allow_exec),
            grants: RefCell::new(config.grants.clone()),
            origins: RefCell::new(config.allow_origin.clone()),
            tls: RefCell::new(tls),
            looking: RefCell::default(),
            throttle: RefCell::default(),
            live: RefCell::default(),
            pending: Rc::default(),
            raws: RefCell::default(),
            tools: Cell::new(0),
            serial: Cell::new(0),
            spill_dir,
            log: RefCell::new(Log { allowance: 10.0, at: Instant::now(), dropped: 0 }),
        });
        relay.check_descriptors();
        relay.main(serve, &config, listeners, address).await
    });
    // Tasks that still wait for something must not hold the end up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

impl Relay {
    fn check_descriptors(&self) {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let want = self.limits.max_connections as u64 + self.limits.max_pending as u64 + 64;
        if let Some(limit) = limit.filter(|limit| *limit < want) {
            output::notice(
                TOOL,
                &format!(
                    "the descriptor limit is {limit}: fewer than the {want} that --max-connections may need"
                ),
            );
        }
    }

    async fn main(
        self: &Rc<Self>,
        serve: &Serve,
        config: &Config,
        listeners: Vec<TcpListener>,
        address: SocketAddr,
    ) -> Result<Exit, Error> {
        let handler = |kind| signal(kind).map_err(|source| Error::Io { what: "handle signals", source });
        let mut terminate = handler(SignalKind::terminate())?;
        let mut interrupt = handler(SignalKind::interrupt())?;
        let mut hangup = handler(SignalKind::hangup())?;
        for (name, spec) in &config.sessions {
            let session =
                self.add_session(name, spec.clone()).map_err(|refusal| Error::setup(refusal.1, ""))?;
            if spec.autostart {
                session.start().map_err(|refusal| Error::setup(refusal.1, ""))?;
            }
        }
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::task::spawn_local(self.clone().accept(listener)))
            .collect();
        let port = address.port();
        if let Some(path) = &config.port_file {
            listen::write_port_file(path, port)?;
        }
        let scheme = if config.tls.is_some() { "wss" } else { "ws" };
        output::notice(TOOL, &format!("listening on {scheme}://{address} port={port}"));
        notify(&[NotifyState::Ready, NotifyState::Status(&format!("listening on port {port}"))]);
        let mut expiry = tokio::time::interval(EXPIRY);
        expiry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let expires = self.grants.borrow().iter().any(|grant| grant.expires.is_some());
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    if let Ok(now) = NotifyState::monotonic_usec_now() {
                        notify(&[NotifyState::Reloading, now]);
                    }
                    self.reload(serve);
                    notify(&[NotifyState::Ready]);
                }
                _ = expiry.tick(), if expires => self.cut_revoked(),
            }
        }
        notify(&[NotifyState::Stopping]);
        for task in accepting {
            // Aborted tasks drop their listener: the port is closed.
            task.abort();
        }
        tokio::select! {
            biased;
            // Heard also where the time ran out meanwhile.
            _ = terminate.recv() => output::notice(TOOL, "second signal: ending at once"),
            _ = interrupt.recv() => output::notice(TOOL, "second signal: ending at once"),
            () = self.drain() => {}
        }
        for session in self.all_sessions() {
            session.signal_group(rustix::process::Signal::KILL);
        }
        Ok(Exit::OK)
    }

    fn is_full(&self) -> bool {
        let (open, pending) = (self.live.borrow().len(), self.pending.len());
        pending >= self.limits.max_pending || open + pending >= self.limits.max_connections
    }

    /// Takes a place from one that has not authenticated, for a connection from `newcomer`, where that is known.
    fn make_room(&self, newcomer: Option<IpAddr>) -> bool {
        let Some(other) = self.pending.displace(newcomer) else { return false };
        self.metrics.displaced.add(1);
        self.say(&format!("{other}: a connection that had not authenticated gave way to a newer one"));
        true
    }

    /// Whether a newcomer to a full room gets in.
    fn may_displace(&self, peer: SocketAddr) -> bool {
        // Who is locked out would only be told so.
        let locked_out = self.throttle.borrow().refused(peer.ip(), self.limits.login, Instant::now());
        let comes = locked_out.is_none() && self.make_room(Some(network(peer.ip())));
        if !comes {
            self.metrics.refused_full.add(1);
            self.note(peer, "connection refused: a limit is reached");
        }
        comes
    }

    async fn accept(self: Rc<Self>, listener: TcpListener) {
        let mut gave_way = 0;
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    let full = self.is_full();
                    if full && !self.may_displace(peer) {
                        continue;
                    }
                    let place = self.pending.enter(network(peer.ip()));
                    let serial = place.serial();
                    let task = tokio::task::spawn_local(self.clone().serve(tcp, peer, place));
                    self.pending.is_served_by(serial, task.abort_handle());
                    gave_way += u32::from(full);
                    if gave_way == GAVE_WAY {
                        gave_way = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => {
                    // Those who are authenticated live on, and it will pass.
                    self.say(&format!("accept: {error}"));
                    let spent = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
                    if spent && self.make_room(None) {
                        // The descriptor is free as soon as that connection's task has had its turn.
                        tokio::task::yield_now().await;
                    } else {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Stops the sessions, lets every connection have the last events, and closes with 1001.
    async fn drain(self: &Rc<Self>) {
        self.draining.set(true);
        let began = Instant::now();
        let sessions = self.all_sessions();
        output::notice(TOOL, "ending: no new connections, sessions are stopped");
        let whole = self.limits.drain;
        for session in &sessions {
            session.stop(Graces { eof: whole / 8, term: whole / 2 });
        }
        let ended = async {
            for session in &sessions {
                session.wait_until_ended().await;
            }
        };
        // What is not over by then is killed.
        let _ = tokio::time::timeout(whole * 3 / 4, ended).await;
        for live in self.live.borrow().values() {
            live.outbox.cut(Cut {
                code: 1001,
                reason: "going away: attach again with from to resume",
                flush: true,
            });
        }
        while !self.live.borrow().is_empty() && began.elapsed() < whole {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Tells the service manager, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this does nothing; a manager that is gone needs no news.
    let _ = sd_notify::notify(states);
}
