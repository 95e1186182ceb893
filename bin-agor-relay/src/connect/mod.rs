//! `connect`: a remote session as a local pipe. Reconnects by itself; each line arrives exactly once.

mod bridge;
mod link;
mod state;
mod stdio;

use agor_common::{Exit, paths};

use crate::cli::Connect;
use crate::config;
use crate::error::Error;
use crate::tls::client::{self, Known, Trust};
use crate::tls::pin::Pin;
use bridge::Bridge;
use link::Target;

/// Where to connect to: scheme, host and port.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    tls: bool,
    host: String,
    port: u16,
}

impl Url {
    fn parse(text: &str) -> Result<Url, Error> {
        let bad =
            |why: &str| Error::usage(format!("{text:?} is not a relay's URL: {why}"), "wss://HOST:PORT");
        // A scheme is the same in capitals (RFC 3986, section 3.1).
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => (false, rest),
            _ => return Err(bad("it begins with neither wss:// nor ws://")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(bad("only host and port belong into it"));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| bad("the port is not a number from 1 to 65535"))?)
            }
            _ => (rest, 9750),
        };
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let bare = in_brackets.unwrap_or(host);
        if bare.is_empty() || port == 0 {
            return Err(bad("host or port is missing"));
        }
        if in_brackets.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_err()) {
            return Err(bad("there is no IPv6 address in the brackets"));
        }
        if in_brackets.is_none() && host.contains(':') {
            return Err(bad("an IPv6 address needs brackets"));
        }
        if rustls::pki_types::ServerName::try_from(bare).is_err() {
            return Err(bad("the host is neither a name nor an address"));
        }
        Ok(Url { tls, host: bare.to_owned(), port })
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn trust(args: &Connect, url: &Url) -> Result<Trust, Error> {
    if !args.pin.is_empty() {
        return args.pin.iter().map(|pin| Pin::parse(pin)).collect::<Result<_, _>>().map(Trust::Pins);
    }
    if args.tofu {
        let file = paths::data_dir()?.join("known_relays");
        return Ok(Trust::FirstUse(Known { file, relay: url.authority() }));
    }
    Ok(Trust::Authorities(args.ca.clone()))
}

/// Connects and stays until there is a reason to end.
pub(crate) fn run(args: &Connect) -> Result<Exit, Error> {
    let url = Url::parse(&args.url)?;
    if !url.tls && !args.insecure {
        return Err(Error::usage(
            "refuse ws://: the token and all data would be readable on the way",
            "use wss://, or --insecure on a way that nobody else can read",
        ));
    }
    let token_file = config::token_file(&args.token);
    if token_file.as_deref() == Some(std::path::Path::new("-")) {
        return Err(Error::usage(
            "--token-file - is for the server: stdin goes to the session here",
            "use a file",
        ));
    }
    let Some(token) = config::secret(&args.token, token_file)? else {
        return Err(Error::setup("there is no token to authenticate with", "give --token-file FILE"));
    };
    let tls = if url.tls {
        let identity = args.cert.as_deref().zip(args.key.as_deref());
        Some(client::config(&trust(args, &url)?, identity)?)
    } else {
        None
    };
    let target = Target { host: url.host.clone(), authority: url.authority(), port: url.port, token, tls };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io { what: "start the runtime", source })?;
    let mut bridge = Bridge::new(args, target)?;
    let done = runtime.block_on(bridge.run());
    // The thread that reads stdin may sit in a read for ever: it must not hold the end up.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_host_and_port() {
        let url = |text: &str| Url::parse(text).map(|url| (url.tls, url.authority())).ok();
        assert_eq!(url("wss://h:1"), Some((true, "h:1".into())));
        assert_eq!(url("wss://h/"), Some((true, "h:9750".into())));
        assert_eq!(url("WSS://h:1"), Some((true, "h:1".into())));
        assert_eq!(url("ws://[::1]:5"), Some((false, "[::1]:5".into())));
        assert_eq!(url("wss://[::1]"), Some((true, "[::1]:9750".into())));
        for bad in ["h:1", "https://h", "wss://", "wss://h:x", "wss://h:0", "wss://h/?token=x", "wss://u@h:1"]
        {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
