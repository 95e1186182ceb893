//! `pin`: of a certificate file, or of a running server. From a server it is only as good as the way there:
//! compare it with what the relay's own host says.

use std::path::Path;

use agor_common::Exit;
use agor_common::output::Out;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli;
use crate::error::Error;
use crate::tls::client::{Trust, config};
use crate::tls::{self, pin::Pin};

pub(super) fn run(args: &cli::Pin) -> Result<Exit, Error> {
    let path = Path::new(&args.of);
    let (pin, from) = if path.exists() || !args.of.contains(':') {
        let chain = tls::load_certificates("certificate", path)?;
        let pin = Pin::of_certificate(&chain[0])
            .ok_or_else(|| Error::Data { what: format!("certificate {}: not X.509", args.of) })?;
        (pin, "file")
    } else {
        (of_server(args)?, "server")
    };
    let mut out = Out::stdout();
    if args.json {
        out.object(&json!({ "pin": pin.to_string(), "from": from }))?;
    } else {
        out.line(pin.to_string())?;
    }
    out.flush()?;
    Ok(Exit::OK)
}

fn of_server(args: &cli::Pin) -> Result<Pin, Error> {
    let bare = args.of.strip_prefix("wss://").unwrap_or(&args.of).trim_end_matches('/');
    let unreachable =
        |why: String| Error::Unreachable { what: format!("connect to {bare}: {why}"), hint: None };
    let (host, _) =
        bare.rsplit_once(':').ok_or_else(|| Error::usage(format!("{bare} is not HOST:PORT"), ""))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|error| unreachable(error.to_string()))?;
    let (client, seen) = config(&Trust::Anyone, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io { what: "start the runtime", source })?;
    let connected = runtime.block_on(async {
        let work = async {
            let tcp = TcpStream::connect(bare).await?;
            TlsConnector::from(client).connect(name, tcp).await
        };
        tokio::time::timeout(args.timeout, work).await
    });
    let pin = seen.lock().ok().and_then(|seen| seen.pin);
    match (pin, connected) {
        (Some(pin), _) => Ok(pin),
        (None, Err(_)) => Err(Error::Deadline { what: format!("connect to {bare}: no answer in time") }),
        (None, Ok(Err(error))) => Err(unreachable(error.to_string())),
        (None, Ok(Ok(_))) => Err(unreachable("it showed no certificate".into())),
    }
}
