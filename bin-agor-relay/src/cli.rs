//! The command line; nothing is decided here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Reach the agents of this machine over TLS WebSocket.
#[derive(Debug, Parser)]
#[command(
    name = "agor-relay",
    version = agor_common::VERSION,
    about = "Lets an authenticated controller reach the agents of this machine over TLS WebSocket",
    long_about = "Without a subcommand agor-relay is the server: it listens, authenticates with a bearer token \
                  before the upgrade, and bridges sessions, which are local processes whose stdin and stdout are \
                  lines (or terminals), to WebSocket clients. `-- COMMAND` is the session `default`; more come \
                  from [relay.session.NAME] tables of the configuration file. `agor-relay connect` is the client: \
                  it makes a remote session look like a local pipe, across reconnects, each line exactly once.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Sub>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

impl Cli {
    /// Whether errors are wanted as JSON too.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Some(Sub::Token(TokenArgs {
                command: TokenSub::New { json, .. } | TokenSub::Hash { json, .. },
            })) => *json,
            Some(Sub::Pin(pin)) => pin.json,
            Some(Sub::Cert(CertArgs { command: CertSub::New(new) })) => new.json,
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sub {
    /// Connect to a relay: stdin goes to the session, its stdout and stderr come back
    Connect(Box<Connect>),
    /// Make or hash a bearer token
    Token(TokenArgs),
    /// Print the SPKI pin (sha256//…) of a certificate file or of a running server
    Pin(Pin),
    /// Make a self-signed certificate
    Cert(CertArgs),
}

/// What the relay does when its last controller has been gone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Alone {
    /// The session runs on
    Keep,
    /// The session is stopped
    Stop,
    /// The session is paused with SIGSTOP until a controller is back
    Pause,
}

/// The lowest TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsMin {
    /// TLS 1.2 and 1.3
    #[value(name = "1.2")]
    V12,
    /// TLS 1.3 only
    #[value(name = "1.3")]
    V13,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
}

fn ping(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        every if every < Duration::from_millis(100) => Err("must be at least 100ms".into()),
        every if every > Duration::from_secs(3600) => Err("must be at most 1h".into()),
        every => Ok(every),
    }
}

fn size(text: &str) -> Result<u64, String> {
    crate::config::size(text)
}

#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    /// TCP port to listen on; 0 takes a free one (see --port-file) [env: AGOR_RELAY_PORT]
    #[arg(long, value_name = "PORT", help_heading = "Listening")]
    pub(crate) port: Option<u16>,
    /// Address to listen on [default: :: and 0.0.0.0 with TLS, loopback with --insecure]
    /// [env: AGOR_RELAY_LISTEN]
    #[arg(long, value_name = "ADDRESS", help_heading = "Listening")]
    pub(crate) listen: Option<String>,
    /// Write the actual port as a decimal line into FILE (made anew, atomically; a pipe is written to) once listening
    #[arg(long, value_name = "FILE", help_heading = "Listening")]
    pub(crate) port_file: Option<PathBuf>,
    /// Serve plain ws:// without TLS: on loopback only, unless --listen names another address too
    #[arg(long, help_heading = "Listening")]
    pub(crate) insecure: bool,

    /// Certificate chain (PEM); re-read on SIGHUP [env: AGOR_RELAY_TLS_CERT]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM: PKCS#8, PKCS#1 or SEC1) [env: AGOR_RELAY_TLS_KEY]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Lowest TLS version accepted [default: 1.3]
    #[arg(long, value_enum, value_name = "VERSION", help_heading = "TLS")]
    pub(crate) tls_min: Option<TlsMin>,
    /// Demand a client certificate that this CA (PEM) has signed
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub(crate) client_ca: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) token: TokenSource,
    /// Browser origin that may connect (repeatable); any other Origin header is refused
    #[arg(long, value_name = "ORIGIN", help_heading = "Access")]
    pub(crate) allow_origin: Vec<String>,
    /// Let tokens of scope exec name their own commands
    #[arg(long, help_heading = "Access")]
    pub(crate) allow_exec: bool,

    /// Configuration file instead of the usual one
    #[arg(long, value_name = "FILE", help_heading = "Sessions")]
    pub(crate) config: Option<PathBuf>,
    /// Once the last controller, an attached client that writes, has been gone for --alone-after [default: keep]
    #[arg(long, value_enum, value_name = "POLICY", help_heading = "Sessions")]
    pub(crate) alone: Option<Alone>,
    /// How long before --alone acts [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Sessions")]
    pub(crate) alone_after: Option<Duration>,
    /// Replay buffer in memory, per session (bytes; K, M, G) [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Sessions")]
    pub(crate) ring: Option<u64>,
    /// Spill what leaves the replay buffer into a file of at most SIZE per session
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Sessions")]
    pub(crate) spill: Option<u64>,
    /// How long a session waits for a writer that lost its connection before it drops output [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Sessions")]
    pub(crate) hold: Option<Duration>,
    /// How long a session waits for a connected writer that takes no output [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Sessions")]
    pub(crate) stall: Option<Duration>,

    /// TLS and HTTP handshake together [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Limits")]
    pub(crate) handshake_timeout: Option<Duration>,
    /// Largest message from a client (bytes; K, M) [default: 1M]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) max_message: Option<u64>,
    /// Connections at one time [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_connections: Option<usize>,
    /// Connections that have not authenticated yet, at one time [default: 256]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_pending: Option<usize>,
    /// Sessions at one time [default: 64]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_sessions: Option<usize>,
    /// Bytes waiting for one client before it is no longer read from (bytes; K, M) [default: 256K]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    pub(crate) write_buffer: Option<u64>,
    /// Cut a client that has taken nothing for this long while something waits for it [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Limits")]
    pub(crate) write_timeout: Option<Duration>,
    /// Ping interval; a peer that is silent for two of them is cut [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Limits")]
    pub(crate) ping: Option<Duration>,
    /// Failed logins from one address before it gets 429 [default: 10]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_failures: Option<u32>,
    /// How long an address gets 429 [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Limits")]
    pub(crate) lockout: Option<Duration>,
    /// Time for sessions and connections to end after SIGTERM [default: 8s, at most 9s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Limits")]
    pub(crate) drain: Option<Duration>,

    /// The session `default`
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) run: Vec<OsString>,
}

/// Where the bearer token comes from, in this order; else $CREDENTIALS_DIRECTORY/token, else AGOR_RELAY_TOKEN.
#[derive(Debug, Default, Args)]
pub(crate) struct TokenSource {
    /// File that holds the bearer token; - is stdin (server only) [env: AGOR_RELAY_TOKEN_FILE]
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub(crate) token_file: Option<PathBuf>,
    /// Inherited descriptor to read the bearer token from
    #[arg(long, value_name = "N", help_heading = "Access", conflicts_with_all = ["token_file", "token"])]
    pub(crate) token_fd: Option<i32>,
    /// The bearer token itself; discouraged, since ps shows it
    #[arg(long, value_name = "TOKEN", help_heading = "Access", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// wss://HOST:PORT of the relay (ws:// only with --insecure)
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) token: TokenSource,
    /// Pin of the server's public key, sha256//BASE64 (repeatable: one match is enough)
    #[arg(long, value_name = "PIN", help_heading = "TLS")]
    pub(crate) pin: Vec<String>,
    /// Trust the key seen first and remember it in known_relays; a changed key is refused
    #[arg(long, conflicts_with_all = ["pin", "ca"], help_heading = "TLS")]
    pub(crate) tofu: bool,
    /// CA certificates (PEM) instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "pin", help_heading = "TLS")]
    pub(crate) ca: Option<PathBuf>,
    /// Client certificate (PEM), where the relay demands one
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "TLS")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS")]
    pub(crate) key: Option<PathBuf>,
    /// Allow ws://, which sends the token in clear
    #[arg(long, help_heading = "TLS")]
    pub(crate) insecure: bool,

    /// Session to bridge
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = "Session")]
    pub(crate) session: String,
    /// Watch only: stdin is not read, the session is not written to
    #[arg(long, help_heading = "Session")]
    pub(crate) observe: bool,
    /// Start the session again if its process has ended
    #[arg(long, conflicts_with = "observe", help_heading = "Session")]
    pub(crate) start: bool,
    /// Become the writer although another client is
    #[arg(long, conflicts_with = "observe", help_heading = "Session")]
    pub(crate) take: bool,
    /// Where to begin: now, start, or a sequence number
    #[arg(long, value_name = "SEQ", default_value = "now", value_parser = from, help_heading = "Session")]
    pub(crate) from: From,
    /// Remember in FILE what was received, so that the next connect with it goes on from there
    #[arg(long, value_name = "FILE", help_heading = "Session")]
    pub(crate) state: Option<PathBuf>,
    /// Print events as JSON instead of the session's bytes
    #[arg(long, help_heading = "Session")]
    pub(crate) events: bool,

    /// After stdin ended: how long without output before the connection is closed; `forever` waits for the
    /// session to end
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = linger, help_heading = "End")]
    pub(crate) linger: Linger,
    /// End with success as soon as N lines of stdout have come; 124 if --linger runs out first
    #[arg(long, value_name = "N", help_heading = "End")]
    pub(crate) replies: Option<u64>,
    /// Pass the end of stdin on to the session and end when it does, with its status
    #[arg(long, conflicts_with_all = ["observe", "replies"], help_heading = "End")]
    pub(crate) eof: bool,
    /// Keep trying for this long after a connection is lost; 0 never tries again
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration, help_heading = "End")]
    pub(crate) retry: Duration,
    /// Ping interval, 100ms to 1h; a relay that is silent for two of them counts as lost
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = ping, help_heading = "End")]
    pub(crate) ping: Duration,
    /// Time for one attempt to connect, handshakes included
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, help_heading = "End")]
    pub(crate) timeout: Duration,
}

/// Where a `connect` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Now,
    Start,
    Seq(u64),
}

fn from(text: &str) -> Result<From, String> {
    match (text, text.parse()) {
        ("now", _) => Ok(From::Now),
        ("start", _) => Ok(From::Start),
        (_, Ok(seq @ 1..)) => Ok(From::Seq(seq)),
        _ => Err("now, start, or a number from 1".into()),
    }
}

/// How long to wait for output after stdin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linger {
    For(Duration),
    Forever,
}

fn linger(text: &str) -> Result<Linger, String> {
    if text == "forever" { Ok(Linger::Forever) } else { duration(text).map(Linger::For) }
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenSub,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenSub {
    /// Print a new token of 256 random bits
    New {
        /// Write it into FILE (mode 0600, which must not exist yet) instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the hash of a token, for [relay.token.NAME]
    Hash {
        /// File that holds the token; - is stdin
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// HOST:PORT of a running relay, or a certificate file (PEM)
    #[arg(value_name = "WHERE")]
    pub(crate) of: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Time for the connection
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CertArgs {
    #[command(subcommand)]
    pub(crate) command: CertSub,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertSub {
    /// Write cert.pem and key.pem (mode 0600) and print the pin
    New(CertNew),
}

#[derive(Debug, Args)]
pub(crate) struct CertNew {
    /// Name or address that the certificate is for (repeatable)
    #[arg(long = "name", value_name = "NAME", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub(crate) names: Vec<String>,
    /// Days that it is valid, 1 to 3650
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// Certificate file
    #[arg(long, value_name = "FILE", default_value = "cert.pem")]
    pub(crate) cert: PathBuf,
    /// Key file
    #[arg(long, value_name = "FILE", default_value = "key.pem")]
    pub(crate) key: PathBuf,
    /// Replace existing files
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep the key of --key and make only a new certificate, so that pins stay valid
    #[arg(long)]
    pub(crate) keep_key: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
