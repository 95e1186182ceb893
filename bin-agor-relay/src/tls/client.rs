//! The client's side: whom to believe. A pin is checked on the very connection that is then used, before a
//! byte of HTTP, and so before the token, is sent.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::pin::Pin;
use crate::error::Error;

/// Whom to believe.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// Any of these keys, whoever signed the certificate.
    Pins(Vec<Pin>),
    /// The key in the file of known relays; an unknown host is added.
    FirstUse(Known),
    /// Certificates that one of these CAs signed (`None`: the system's), for the right name.
    Authorities(Option<PathBuf>),
    /// Anyone: only to print the pin; nothing is sent to such a server.
    Anyone,
}

/// `known_relays`: one line `HOST:PORT PIN` per relay.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) file: PathBuf,
    pub(crate) relay: String,
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
    /// What was seen, for messages and for `pin`.
    seen: Seen,
}

/// What the handshake saw and, if it refused, why.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    pub(crate) pin: Option<Pin>,
    pub(crate) refusal: Option<Doubt>,
    /// It is not known yet, and to be remembered once it has shown that it has the key.
    pub(crate) unknown: Option<Known>,
}

/// Why a relay is not believed.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// It has another key than it should have.
    Key(String),
    /// The file of known relays cannot be used.
    File(PathBuf, std::io::Error),
}

/// Shared between the verifier and whoever opened the connection.
pub(crate) type Seen = Arc<Mutex<Observation>>;

impl Known {
    /// Compares, and adds a relay that is not known yet if it may. Returns whether it was unknown. One process at a
    /// time, by a lock on the file.
    pub(crate) fn check(&self, pin: Pin, may_add: bool) -> Result<bool, Doubt> {
        let io = |error| Doubt::File(self.file.clone(), error);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.file)
            .map_err(io)?;
        file.lock().map_err(io)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io)?;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next() == Some(&self.relay) {
                let known = words.next().unwrap_or_default();
                if known == pin.to_string() {
                    return Ok(false);
                }
                return Err(Doubt::Key(format!(
                    "the key of {} has changed: known {known}, now {pin} (if that is expected, remove its line from {})",
                    self.relay,
                    self.file.display()
                )));
            }
        }
        if !may_add {
            return Ok(true);
        }
        file.seek(std::io::SeekFrom::End(0)).map_err(io)?;
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let line = format!("{newline}{} {pin}\n", self.relay);
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(|error| {
            // Half a line would be another key the next time.
            let _ = file.set_len(text.len() as u64);
            io(error)
        })?;
        Ok(true)
    }
}

impl Verifier {
    fn refuse(&self, why: Doubt) -> rustls::Error {
        if let Ok(mut seen) = self.seen.lock() {
            seen.refusal = Some(why);
        }
        rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(pin) = Pin::of_certificate(end_entity) else {
            return Err(rustls::Error::InvalidCertificate(CertificateError::BadEncoding));
        };
        if let Ok(mut seen) = self.seen.lock() {
            seen.pin = Some(pin);
        }
        match &self.trust {
            Trust::Pins(pins) if pins.contains(&pin) => {}
            Trust::Pins(pins) => {
                let wanted: Vec<String> = pins.iter().map(Pin::to_string).collect();
                let why = format!("its key {pin} is not the pinned {}", wanted.join(" or "));
                return Err(self.refuse(Doubt::Key(why)));
            }
            // A certificate is public: whoever shows one has not shown yet that he has its key.
            Trust::FirstUse(known) => match known.check(pin, false) {
                Ok(unknown) => {
                    if let Ok(mut seen) = self.seen.lock() {
                        seen.unknown = unknown.then(|| known.clone());
                    }
                }
                Err(why) => return Err(self.refuse(why)),
            },
            Trust::Anyone | Trust::Authorities(_) => {}
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A client configuration that believes `trust`, and where it notes what it saw.
pub(crate) fn config(
    trust: &Trust,
    identity: Option<(&Path, &Path)>,
) -> Result<(Arc<ClientConfig>, Seen), Error> {
    let provider = super::provider();
    let seen = Seen::default();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Authorities(file) => {
            let mut roots = RootCertStore::empty();
            match file {
                Some(path) => {
                    for certificate in super::load_certificates("CA file", path)? {
                        roots.add(certificate).map_err(|error| {
                            Error::setup(format!("CA file {}: {error}", path.display()), "")
                        })?;
                    }
                }
                None => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
            }
            if roots.is_empty() {
                return Err(Error::setup(
                    "this system has no CA certificates to check the relay by",
                    "give --pin (agor-relay pin cert.pem prints it), --tofu or --ca FILE",
                ));
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| Error::setup(format!("set up TLS: {error}"), ""))?
        }
        _ => Arc::new(Verifier { provider: provider.clone(), trust: trust.clone(), seen: seen.clone() }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::setup(format!("set up TLS: {error}"), ""))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = super::load_certificates("client certificate", cert)?;
            builder.with_client_auth_cert(chain, super::load_key(key)?).map_err(|error| {
                Error::setup(format!("client certificate {}: {error}", cert.display()), "")
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn first_use_records_once_and_a_change_is_refused_showing_both() {
        let dir = tempfile::tempdir().unwrap();
        let known = |relay: &str| Known { file: dir.path().join("known_relays"), relay: relay.into() };
        let pin = |byte: u8| Pin::parse(&format!("sha256//{}", base64_of([byte; 32]))).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| known("h:1").check(pin(1), true).unwrap());
            }
        });
        let text = std::fs::read_to_string(dir.path().join("known_relays")).unwrap();
        assert_eq!(text, format!("h:1 {}\n", pin(1)));
        let mode = std::fs::metadata(dir.path().join("known_relays")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let Err(Doubt::Key(why)) = known("h:1").check(pin(2), false) else { panic!("not refused") };
        assert!(why.contains(&pin(1).to_string()) && why.contains(&pin(2).to_string()), "{why}");
        assert_eq!(std::fs::read_to_string(dir.path().join("known_relays")).unwrap(), text);
        assert!(known("h:2").check(pin(2), false).unwrap());
        assert!(known("h:2").check(pin(2), true).unwrap());
        assert!(!known("h:2").check(pin(2), false).unwrap());
    }

    fn base64_of(bytes: [u8; 32]) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}
