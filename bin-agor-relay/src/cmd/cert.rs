//! `cert new`.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use agor_common::Exit;
use agor_common::output::Out;
use serde_json::json;

use crate::cli::CertNew;
use crate::error::Error;
use crate::tls::generate;
use crate::tls::pin::Pin;

/// Writes a file that must not be there yet, or (`force`) replaces one whole.
fn write(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), Error> {
    let fail = |source| Error::Write { path: path.into(), source };
    if !force {
        let mut file =
            std::fs::File::options().write(true).create_new(true).mode(mode).open(path).map_err(fail)?;
        return file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist(path).map(drop).map_err(|error| fail(error.error))
}

pub(super) fn run(args: &CertNew) -> Result<Exit, Error> {
    if args.cert == args.key {
        return Err(Error::usage("--cert and --key name the same file", "give two names"));
    }
    if !args.force {
        // Both or neither: a certificate without its key helps nobody.
        let taken = [&args.cert, &args.key].into_iter().filter(|path| !(args.keep_key && *path == &args.key));
        if let Some(path) = taken.into_iter().find(|path| path.exists()) {
            return Err(Error::usage(format!("{} exists", path.display()), "--force replaces it"));
        }
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
    if !args.keep_key {
        write(&args.key, &pair.key, 0o600, args.force)?;
    }
    write(&args.cert, &pair.cert, 0o644, args.force)?;
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
