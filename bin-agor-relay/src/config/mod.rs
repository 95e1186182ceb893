//! Settings: the `[relay]` table, and the checked value that the server runs on.

mod grants;
mod table;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use agor_common::output;

use crate::TOOL;
use crate::cli::{Alone, Serve, TlsMin};
use crate::error::Error;
use crate::protocol::DEFAULT_SESSION;
use crate::session::program;
use crate::throttle::Limit;
use crate::token::Grant;

use grants::grants;
pub(crate) use grants::{secret, token_file};
pub(crate) use table::Table;
use table::{Restart, SessionTable};

/// A duration: `250ms`, `10s`, `5m`, `1h`, or a bare number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    match humantime::parse_duration(text) {
        // No clock of ours would hold the moment at which it ends.
        Ok(duration) if duration > Duration::from_secs(100 * 365 * 24 * 3600) => {
            Err("longer than a hundred years".into())
        }
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

/// A size: bytes, or with K, M, G (powers of 1024).
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes, with K, M or G".to_owned())?;
    number.checked_mul(1 << unit).ok_or_else(|| "it is too large".to_owned())
}

/// A variable that stands for a flag; an empty one counts as not set. Read here and not by clap: it gives way to
/// any flag, and the subcommands have nothing to do with the server's.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// How a session's process is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The whole argument vector, wrappers included.
    pub(crate) argv: Vec<OsString>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) pty: Option<(u16, u16)>,
    pub(crate) autostart: bool,
    pub(crate) alone: Alone,
    pub(crate) alone_after: Duration,
    /// Whether it came from the command line or the file, and not from a client.
    pub(crate) configured: bool,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) port: u16,
}

/// Certificate, key and client CA.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) min: TlsMin,
}

/// Everything that the server runs on.
pub(crate) struct Config {
    pub(crate) listen: Listen,
    pub(crate) port_file: Option<PathBuf>,
    /// `None` is `--insecure`.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) allow_exec: bool,
    pub(crate) sessions: BTreeMap<String, Spec>,
    pub(crate) limits: Limits,
}

/// Numbers with a bound to them.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) ring: u64,
    pub(crate) spill: Option<u64>,
    pub(crate) hold: Duration,
    pub(crate) stall: Duration,
    pub(crate) handshake: Duration,
    pub(crate) max_message: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_pending: usize,
    pub(crate) max_sessions: usize,
    pub(crate) write_buffer: usize,
    pub(crate) write_timeout: Duration,
    pub(crate) ping: Duration,
    pub(crate) login: Limit,
    pub(crate) drain: Duration,
    pub(crate) alone: Alone,
    pub(crate) alone_after: Duration,
}

impl Limits {
    /// How often a connection is looked at, so that neither silence nor slowness goes on for long unseen.
    pub(crate) fn look(&self) -> Duration {
        self.ping.min(self.write_timeout) / 2
    }
}

fn setting<T>(
    flag: Option<T>,
    file: Option<&String>,
    key: &str,
    parse: fn(&str) -> Result<T, String>,
    default: T,
) -> Result<T, Error> {
    match (flag, file) {
        (Some(value), _) => Ok(value),
        (None, Some(text)) => {
            parse(text).map_err(|why| Error::setup(format!("relay.{key} = \"{text}\": {why}"), ""))
        }
        (None, None) => Ok(default),
    }
}

/// A value out of its range is a usage error where a flag gave it, and one of the configuration where the file did.
fn bounded<T: PartialOrd + Copy + std::fmt::Debug>(
    key: &str,
    is_flag: bool,
    value: T,
    low: T,
    high: T,
) -> Result<(), Error> {
    if value >= low && value <= high {
        return Ok(());
    }
    let range = format!("is {value:?}, not within {low:?} and {high:?}");
    Err(if is_flag {
        Error::Usage { what: format!("--{} {range}", key.replace('_', "-")), hint: None }
    } else {
        Error::setup(format!("relay.{key} {range}"), "")
    })
}

impl Config {
    /// Puts command line, environment and file together and checks the whole. `before` are the grants of the
    /// configuration that this one is to replace; at start there are none.
    pub(crate) fn load(serve: &Serve, before: &[Grant]) -> Result<Config, Error> {
        let table: Table = agor_common::config::load("relay", serve.config.as_deref())?.value;
        let tls = tls_files(serve, &table)?;
        let listen = listen(serve, &table, tls.is_some())?;
        let limits = limits(serve, &table)?;
        let grants = grants(serve, &table, before)?;
        let mut sessions = BTreeMap::new();
        for (name, session) in &table.session {
            check_name(name)?;
            sessions.insert(name.clone(), spec(name, session, &limits)?);
        }
        if !serve.run.is_empty() {
            if sessions.contains_key(DEFAULT_SESSION) {
                return Err(Error::usage(
                    "the session `default` is both on the command line and in the configuration",
                    "rename [relay.session.default], or leave out `-- COMMAND`",
                ));
            }
            let spec = Spec {
                argv: serve.run.clone(),
                cwd: None,
                env: BTreeMap::new(),
                pty: None,
                autostart: true,
                alone: limits.alone,
                alone_after: limits.alone_after,
                configured: true,
            };
            sessions.insert(DEFAULT_SESSION.into(), spec);
        }
        let allow_exec = serve.allow_exec || table.allow_exec;
        if sessions.is_empty() && !allow_exec {
            return Err(Error::usage(
                "there is no session to serve",
                "give `-- COMMAND`, or a [relay.session.NAME] table in the configuration",
            ));
        }
        let mut allow_origin = serve.allow_origin.clone();
        allow_origin.extend(table.allow_origin);
        if let Some(text) = allow_origin.iter().find(|text| !is_origin(text)) {
            return Err(Error::setup(
                format!("no browser sends the origin {text:?}, so that allowing it lets nobody in"),
                "SCHEME://HOST or SCHEME://HOST:PORT, without a path or a final slash; there are no wildcards",
            ));
        }
        Ok(Config {
            listen,
            port_file: serve.port_file.clone(),
            tls,
            grants,
            allow_origin,
            allow_exec,
            sessions,
            limits,
        })
    }
}

/// Names that are safe in file names, arguments and URLs.
fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::setup(format!("session name {name:?} is not 1 to 64 letters, digits, '.', '_' or '-'"), ""))
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What an `Origin` header may be (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
    text == "null"
        || text.split_once("://").is_some_and(|(scheme, host)| {
            plain(scheme) && plain(host) && !host.contains(['/', '?', '#', '@'])
        })
}

fn tls_files(serve: &Serve, table: &Table) -> Result<Option<TlsFiles>, Error> {
    let named = |flag: &Option<PathBuf>, name| flag.clone().or_else(|| variable(name).map(PathBuf::from));
    let cert = named(&serve.tls_cert, "AGOR_RELAY_TLS_CERT").or_else(|| table.tls_cert.clone());
    let key = named(&serve.tls_key, "AGOR_RELAY_TLS_KEY").or_else(|| table.tls_key.clone());
    let client_ca = serve.client_ca.clone().or_else(|| table.client_ca.clone());
    let min = match (serve.tls_min, table.tls_min.as_deref()) {
        (Some(min), _) => min,
        (None, None | Some("1.3")) => TlsMin::V13,
        (None, Some("1.2")) => TlsMin::V12,
        (None, Some(other)) => {
            return Err(Error::setup(format!("relay.tls_min = \"{other}\" is not 1.2 or 1.3"), ""));
        }
    };
    match (cert, key, serve.insecure) {
        (Some(_), _, true) | (_, Some(_), true) => Err(Error::usage(
            "--insecure and a TLS certificate exclude each other",
            "leave out --insecure to serve TLS",
        )),
        (Some(cert), Some(key), false) => Ok(Some(TlsFiles { cert, key, client_ca, min })),
        (Some(_), None, false) => Err(Error::usage("--tls-cert needs --tls-key", "give both files")),
        (None, Some(_), false) => Err(Error::usage("--tls-key needs --tls-cert", "give both files")),
        (None, None, true) if client_ca.is_some() => {
            Err(Error::usage("--client-ca needs TLS", "give --tls-cert and --tls-key"))
        }
        (None, None, true) if serve.tls_min.is_some() => {
            Err(Error::usage("--tls-min needs TLS", "give --tls-cert and --tls-key"))
        }
        (None, None, true) => Ok(None),
        (None, None, false) => Err(Error::setup(
            "refuse to serve without TLS: the token and all data would be readable on the way",
            "give --tls-cert and --tls-key (agor-relay cert new makes a pair), or --insecure for plain ws:// on loopback",
        )),
    }
}

fn listen(serve: &Serve, table: &Table, tls: bool) -> Result<Listen, Error> {
    let port = match (serve.port, variable("AGOR_RELAY_PORT")) {
        (None, Some(text)) => text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            let what = format!("AGOR_RELAY_PORT {} is not a port from 0 to 65535", text.display());
            Error::usage(what, "--port goes before it")
        })?,
        (flag, _) => flag.or(table.port).unwrap_or(9750),
    };
    let said = || variable("AGOR_RELAY_LISTEN").map(|text| text.to_string_lossy().into_owned());
    let named = serve.listen.clone().or_else(said);
    let from_file = named.is_none();
    let named = named.or_else(|| table.listen.clone());
    let addresses = match named.as_deref() {
        None if tls => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        None => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        Some("localhost") => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        Some(text) => {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            let refused = |_| match from_file {
                true => Error::setup(
                    format!("relay.listen = \"{text}\": not an IP address"),
                    "0.0.0.0 or :: is all",
                ),
                false => {
                    Error::usage(format!("--listen {text} is not an IP address"), "use 0.0.0.0 or :: for all")
                }
            };
            vec![bare.parse().map_err(refused)?]
        }
    };
    if !tls && addresses.iter().any(|ip| !ip.is_loopback()) {
        output::warning(
            TOOL,
            "serving plain ws:// beyond loopback: the token and all data can be read on the way",
        );
    }
    Ok(Listen { addresses, port })
}

pub(crate) fn limits(serve: &Serve, table: &Table) -> Result<Limits, Error> {
    let seconds = Duration::from_secs;
    let limits = Limits {
        ring: setting(serve.ring, table.ring.as_ref(), "ring", size, 4 << 20)?,
        spill: match (serve.spill, &table.spill) {
            (None, None) => None,
            (flag, file) => Some(setting(flag, file.as_ref(), "spill", size, 0)?),
        },
        hold: setting(serve.hold, table.hold.as_ref(), "hold", duration, seconds(60))?,
        stall: setting(serve.stall, table.stall.as_ref(), "stall", duration, seconds(5))?,
        handshake: setting(
            serve.handshake_timeout,
            table.handshake_timeout.as_ref(),
            "handshake_timeout",
            duration,
            seconds(10),
        )?,
        max_message: usize::try_from(setting(
            serve.max_message,
            table.max_message.as_ref(),
            "max_message",
            size,
            1 << 20,
        )?)
        .unwrap_or(usize::MAX),
        max_connections: serve.max_connections.or(table.max_connections).unwrap_or(1000),
        max_pending: serve.max_pending.or(table.max_pending).unwrap_or(256),
        max_sessions: serve.max_sessions.or(table.max_sessions).unwrap_or(64),
        write_buffer: usize::try_from(setting(
            serve.write_buffer,
            table.write_buffer.as_ref(),
            "write_buffer",
            size,
            256 << 10,
        )?)
        .unwrap_or(usize::MAX),
        write_timeout: setting(
            serve.write_timeout,
            table.write_timeout.as_ref(),
            "write_timeout",
            duration,
            seconds(30),
        )?,
        ping: setting(serve.ping, table.ping.as_ref(), "ping", duration, seconds(20))?,
        login: Limit {
            failures: serve.max_failures.or(table.max_failures).unwrap_or(10),
            period: setting(serve.lockout, table.lockout.as_ref(), "lockout", duration, seconds(300))?,
        },
        drain: setting(serve.drain, table.drain.as_ref(), "drain", duration, seconds(8))?,
        alone: serve.alone.or(table.alone).unwrap_or(Alone::Keep),
        alone_after: setting(
            serve.alone_after,
            table.alone_after.as_ref(),
            "alone_after",
            duration,
            seconds(60),
        )?,
    };
    bounded("ring", serve.ring.is_some(), limits.ring, 64 << 10, 1 << 30)?;
    if let Some(spill) = limits.spill {
        bounded("spill", serve.spill.is_some(), spill, 1 << 20, 1 << 40)?;
    }
    bounded("max_message", serve.max_message.is_some(), limits.max_message, 1 << 10, 256 << 20)?;
    bounded("max_connections", serve.max_connections.is_some(), limits.max_connections, 1, 100_000)?;
    bounded("max_pending", serve.max_pending.is_some(), limits.max_pending, 1, 100_000)?;
    bounded("max_sessions", serve.max_sessions.is_some(), limits.max_sessions, 1, 10_000)?;
    bounded("write_buffer", serve.write_buffer.is_some(), limits.write_buffer, 16 << 10, 64 << 20)?;
    bounded("max_failures", serve.max_failures.is_some(), limits.login.failures, 1, 1_000_000)?;
    let tick = Duration::from_millis(100);
    bounded("ping", serve.ping.is_some(), limits.ping, tick, seconds(3600))?;
    bounded("write_timeout", serve.write_timeout.is_some(), limits.write_timeout, tick, seconds(3600))?;
    bounded("handshake_timeout", serve.handshake_timeout.is_some(), limits.handshake, tick, seconds(600))?;
    bounded("drain", serve.drain.is_some(), limits.drain, Duration::ZERO, seconds(9))?;
    Ok(limits)
}

fn spec(name: &str, table: &SessionTable, limits: &Limits) -> Result<Spec, Error> {
    if table.command.first().is_none_or(String::is_empty) {
        return Err(Error::setup(format!("relay.session.{name}: command is empty"), ""));
    }
    let mut argv: Vec<String> = Vec::new();
    let policy = match &table.restart {
        Restart::Unset | Restart::Switch(false) => None,
        Restart::Switch(true) => Some("on-failure"),
        Restart::Policy(policy) => Some(policy.as_str()),
    };
    if let Some(policy) = policy {
        argv.extend(["agor-supervise", "--name", name, "--restart", policy].map(str::to_owned));
        argv.extend(table.supervise.iter().cloned());
        argv.push("--".into());
    } else if !table.supervise.is_empty() {
        return Err(Error::setup(format!("relay.session.{name}: supervise needs restart"), ""));
    }
    if let Some(sandbox) = &table.sandbox {
        // Resolved here: agor-supervise looks for it in PATH only, and it may stand beside this program.
        argv.push(program(OsStr::new("agor-sandbox")).to_string_lossy().into_owned());
        let mut option = |flag: &str, value: &String| argv.extend([flag.to_owned(), value.clone()]);
        sandbox.profile.iter().for_each(|value| option("--profile", value));
        sandbox.rw.iter().for_each(|value| option("--rw", value));
        sandbox.rwx.iter().for_each(|value| option("--rwx", value));
        sandbox.ro.iter().for_each(|value| option("--ro", value));
        sandbox.rox.iter().for_each(|value| option("--rox", value));
        sandbox.net.iter().for_each(|value| option("--net", value));
        if sandbox.require {
            argv.push("--require".into());
        }
        argv.extend(sandbox.options.iter().cloned());
        argv.push("--".into());
    }
    argv.extend(table.command.iter().cloned());
    let alone_after = match &table.alone_after {
        Some(text) => duration(text).map_err(|why| {
            Error::setup(format!("relay.session.{name}.alone_after = \"{text}\": {why}"), "")
        })?,
        None => limits.alone_after,
    };
    Ok(Spec {
        argv: argv.into_iter().map(OsString::from).collect(),
        cwd: table.cwd.clone(),
        env: table.env.clone(),
        pty: table.pty.then_some((80, 24)),
        autostart: table.autostart,
        alone: table.alone.unwrap_or(limits.alone),
        alone_after,
        configured: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn table(text: &str) -> Table {
        agor_common::config::parse(text, "relay", Path::new("agor.toml")).unwrap()
    }

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!(size("256K"), Ok(256 << 10));
        assert_eq!(size("7"), Ok(7));
        assert!(size("x").is_err() && size("").is_err() && size("99999999999999G").is_err());
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
    }

    #[test]
    fn sessions_run_through_the_sibling_tools() {
        let table = table(
            "[relay.session.coder]\ncommand = ['claude', '-p']\nrestart = true\nsupervise = ['--agent', 'coder']\n\
             [relay.session.coder.sandbox]\nrw = ['.']\nnet = 'none'\n",
        );
        let limits = limits(&Serve::default(), &Table::default()).unwrap();
        let spec = spec("coder", &table.session["coder"], &limits).unwrap();
        let line: Vec<_> = spec.argv.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(
            line.join(" "),
            "agor-supervise --name coder --restart on-failure --agent coder -- \
             agor-sandbox --rw . --net none -- claude -p"
        );
    }

    #[test]
    fn names_are_plain() {
        assert!(is_name("coder-1.a_b"));
        for bad in ["", "a/b", "..", "-x", "a b", "ü", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        for good in ["https://ui.example", "http://127.0.0.1:8080", "http://[::1]:1", "app://x", "null"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "*", "ui.example", "https://", "https://ui.example/", "https://*.example", "a b://c"]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn limits_are_checked() {
        let limits_of =
            |text: &str| limits(&Serve::default(), &table(text)).map_err(|error| error.to_string());
        assert!(limits_of("[relay]\nring = '8M'\n").is_ok());
        assert!(limits_of("[relay]\nring = '1'\n").unwrap_err().contains("relay.ring is 1,"));
        assert!(limits_of("[relay]\nping = 'soon'\n").unwrap_err().contains("relay.ping"));
    }
}
