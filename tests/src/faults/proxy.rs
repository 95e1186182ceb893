//! A TCP proxy whose links can be cut, held and slowed down.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::schedule::Cut;

/// How bytes travel just now.
#[derive(Debug, Clone, Copy)]
enum Weather {
    Fair,
    Held(Instant),
    Slow(Instant),
}

#[derive(Debug)]
struct Shared {
    weather: Mutex<Weather>,
    links: Mutex<Vec<(TcpStream, TcpStream)>>,
    carried: AtomicU64,
}

/// One listener in front of one relay.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy to whatever port `target` says at the time: a relay may come back on another one.
    ///
    /// # Panics
    /// Where loopback cannot be listened on.
    pub fn start(target: impl Fn() -> Option<u16> + Send + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            weather: Mutex::new(Weather::Fair),
            links: Mutex::new(Vec::new()),
            carried: AtomicU64::new(0),
        });
        let inner = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                let Some(port) = target() else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                inner.join(&client, &server);
            }
        });
        Proxy { address, shared }
    }

    /// Bytes carried so far, both ways.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    /// Cuts every link as asked.
    pub fn cut(&self, cut: Cut) {
        match cut {
            Cut::Reset => self.shared.end_all(true),
            Cut::Close => self.shared.end_all(false),
            Cut::Slow(time) => self.shared.set(Weather::Slow(Instant::now() + time)),
            Cut::Blackhole(time) => {
                self.shared.set(Weather::Held(Instant::now() + time));
                let shared = Arc::clone(&self.shared);
                std::thread::spawn(move || {
                    std::thread::sleep(time);
                    shared.end_all(true);
                });
            }
        }
    }
}

impl Shared {
    fn set(&self, weather: Weather) {
        *self.weather.lock().expect("no holder panics") = weather;
    }

    fn end_all(&self, reset: bool) {
        self.set(Weather::Fair);
        for (client, server) in self.links.lock().expect("no holder panics").drain(..) {
            for stream in [&client, &server] {
                if reset {
                    // Discards what is in flight, and the peer reads ECONNRESET.
                    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                }
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn join(self: &Arc<Shared>, client: &TcpStream, server: &TcpStream) {
        let pairs = [(client, server), (server, client)];
        let mut ends = Vec::new();
        for (from, to) in pairs {
            if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                ends.push((from, to));
            }
        }
        if let (Ok(client), Ok(server)) = (client.try_clone(), server.try_clone()) {
            self.links.lock().expect("no holder panics").push((client, server));
        }
        for (from, to) in ends {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0u8; 16 * 1024];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => n,
            };
            let mut rest = &buffer[..n];
            while !rest.is_empty() {
                let weather = *self.weather.lock().expect("no holder panics");
                let now = Instant::now();
                let portion = match weather {
                    Weather::Held(until) if now < until => {
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    Weather::Slow(until) if now < until => {
                        std::thread::sleep(Duration::from_millis(5));
                        7.min(rest.len())
                    }
                    _ => rest.len(),
                };
                if to.write_all(&rest[..portion]).is_err() {
                    let _ = from.shutdown(Shutdown::Both);
                    return;
                }
                self.carried.fetch_add(portion as u64, Ordering::Relaxed);
                rest = &rest[portion..];
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
