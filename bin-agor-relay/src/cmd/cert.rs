//! `cert new`.

use agor_common::Exit;
use agor_common::output::Out;
use rustls::pki_types::ServerName;
use serde_json::json;

use crate::cli::CertNew;
use crate::error::Error;
use crate::files::Draft;
use crate::tls::generate;
use crate::tls::pin::Pin;

pub(super) fn run(args: &CertNew) -> Result<Exit, Error> {
    // However they are spelt.
    let same = std::path::absolute(&args.cert).ok() == std::path::absolute(&args.key).ok();
    if same || args.cert == args.key {
        return Err(Error::usage("--cert and --key name the same file", "give two names"));
    }
    let is_name = |name: &&String| ServerName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok();
    if let Some(name) = args.names.iter().find(|name| !is_name(name)) {
        let what = format!("{name:?} is neither a host name nor an address");
        return Err(Error::usage(what, "an IPv6 address stands without brackets"));
    }
    if !args.force {
        // Both or neither: a certificate without its key helps nobody.
        let taken = [&args.cert, &args.key].into_iter().filter(|path| !(args.keep_key && *path == &args.key));
        if let Some(path) = taken.into_iter().find(|path| path.exists()) {
            return Err(Error::Exists { path: path.clone(), hint: "--force replaces it" });
        }
    }
    // Found before one of the two is replaced.
    if let Some(path) = [&args.cert, &args.key].into_iter().find(|path| path.is_dir()) {
        return Err(Error::Write { path: path.clone(), source: std::io::ErrorKind::IsADirectory.into() });
    }
    let old_key = if args.keep_key {
        Some(
            std::fs::read_to_string(&args.key)
                .map_err(|source| Error::read("private key", &args.key, source))?,
        )
    } else {
        None
    };
    let pair = generate::self_signed(&args.names, args.days, old_key.as_deref())?;
    let cert = Draft::new(&args.cert, &pair.cert, 0o644)?;
    if !args.keep_key {
        Draft::new(&args.key, &pair.key, 0o600)?.put(args.force)?;
    }
    cert.put(args.force)?;
    let pin = Pin::of_certificate(&pair.der).map(|pin| pin.to_string()).unwrap_or_default();
    let mut out = Out::stdout();
    if args.json {
        out.object(&json!({
            "cert": args.cert.display().to_string(),
            "key": args.key.display().to_string(),
            "names": args.names,
            "days": args.days,
            "pin": pin,
        }))?;
    } else {
        out.line(pin)?;
    }
    out.flush()?;
    Ok(Exit::OK)
}
