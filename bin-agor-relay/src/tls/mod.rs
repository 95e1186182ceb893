//! Certificates and keys: loaded with every mistake found at start, pinned, made.

pub(crate) mod client;
pub(crate) mod generate;
pub(crate) mod pin;
pub(crate) mod server;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;

/// A PEM file is refused above this: it is not what was meant.
const MAX_PEM: u64 = 1 << 20;

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read_pem(what: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    let read = |source| Error::read(what, path, source);
    let mut pem = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_PEM + 1).read_to_end(&mut pem)).map_err(read)?;
    if pem.is_empty() {
        return Err(Error::setup(format!("{what} {} is empty", path.display()), ""));
    }
    if pem.len() as u64 > MAX_PEM {
        return Err(Error::setup(format!("{what} {} is larger than {MAX_PEM} bytes", path.display()), ""));
    }
    Ok(pem)
}

/// Which sections a PEM text has; contents are never looked at.
fn sections(pem: &[u8]) -> Vec<SectionKind> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).map_while(Result::ok).map(|(kind, _)| kind).collect()
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

/// Certificates of a PEM file, at least one.
pub(crate) fn load_certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read_pem(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        // The parser's own message may quote the file, which may be a key: it is not repeated.
        Ok(_) if sections(&pem).into_iter().any(is_key) => Err(Error::setup(
            format!("{what} {} holds a private key, not a certificate", path.display()),
            "are --tls-cert and --tls-key swapped?",
        )),
        _ => Err(Error::setup(format!("{what} {} holds no PEM certificate", path.display()), "")),
    }
}

/// The private key of a PEM file: PKCS#8, PKCS#1 or SEC1.
pub(crate) fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    crate::token::warn_if_readable(path, "private key");
    let pem = read_pem("private key", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        if sections(&pem).contains(&SectionKind::Certificate) {
            Error::setup(
                format!("private key {} holds a certificate, not a key", path.display()),
                "are --tls-cert and --tls-key swapped?",
            )
        } else if String::from_utf8_lossy(&pem).contains("ENCRYPTED PRIVATE KEY") {
            Error::setup(
                format!("private key {} is encrypted", path.display()),
                "decrypt it (openssl pkey) or use a key of its own for the relay",
            )
        } else {
            Error::setup(format!("private key {} holds no PEM private key", path.display()), "")
        }
    })
}
