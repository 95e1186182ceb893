//! The server's side: one checked `ServerConfig` from certificate, key and client CA.

use std::path::Path;
use std::sync::Arc;

use agor_common::{output, time};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::TOOL;
use crate::cli::TlsMin;
use crate::config::TlsFiles;
use crate::error::Error;

/// Days before the end at which a warning begins.
const WARN_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// A configuration, and when its certificate ends (milliseconds since the epoch).
pub(crate) struct Loaded {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) expires: i64,
}

/// Loads and checks the files; everything that a handshake would stumble over is found here.
pub(crate) fn load(files: &TlsFiles) -> Result<Loaded, Error> {
    let provider = super::provider();
    let chain = super::load_certificates("certificate", &files.cert)?;
    let key = super::load_key(&files.key)?;
    let signing = provider.key_provider.load_private_key(key).map_err(|error| {
        Error::setup(
            format!("private key {}: {error}", files.key.display()),
            "RSA, ECDSA P-256/P-384 and Ed25519 keys are supported",
        )
    })?;
    let expires = check_validity(&files.cert, &chain[0])?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let what = format!(
                "private key {} does not belong to certificate {}",
                files.key.display(),
                files.cert.display()
            );
            return Err(Error::setup(what, "the first certificate in the file must be the server's own"));
        }
        Err(error) => return Err(Error::setup(format!("certificate {}: {error}", files.cert.display()), "")),
    }
    let versions: &[_] = if files.min == TlsMin::V12 { &BOTH } else { &ONLY_13 };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| Error::setup(format!("set up TLS: {error}"), ""))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in super::load_certificates("client CA", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| Error::setup(format!("client CA {}: {error}", path.display()), ""))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| Error::setup(format!("client CA {}: {error}", path.display()), ""))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Connections live long: resumption would cost memory for each and save next to nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded { config: Arc::new(config), expires })
}

fn check_validity(path: &Path, der: &[u8]) -> Result<i64, Error> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| Error::setup(format!("certificate {}: {error}", path.display()), ""))?;
    let now = time::now_ms();
    let from = certificate.validity().not_before.timestamp().saturating_mul(1000);
    let to = certificate.validity().not_after.timestamp().saturating_mul(1000);
    if now < from {
        let what = format!("certificate {} is not valid before {}", path.display(), time::rfc3339_ms(from));
        return Err(Error::setup(what, "check the clock, or make a new certificate"));
    }
    if now >= to {
        let what = format!("certificate {} expired at {}", path.display(), time::rfc3339_ms(to));
        return Err(Error::setup(what, "renew it; agor-relay cert new --keep-key keeps the pins valid"));
    }
    let days = (to - now) / DAY_MS;
    if days < WARN_DAYS {
        output::warning(TOOL, &format!("certificate {} ends in {days} days", path.display()));
    }
    Ok(to)
}
