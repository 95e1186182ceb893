//! Pins: SHA-256 of a certificate's SubjectPublicKeyInfo, written `sha256//` and base64 as curl does.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::Error;

/// A pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin([u8; 32]);

impl Pin {
    /// The pin of a DER certificate.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Pin> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Pin(Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into()))
    }

    /// Parses `sha256//BASE64`.
    pub(crate) fn parse(text: &str) -> Result<Pin, Error> {
        let decoded = text.strip_prefix("sha256//").and_then(|base64| STANDARD.decode(base64).ok());
        match decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(bytes) => Ok(Pin(bytes)),
            None => Err(Error::usage(
                format!("pin {text:?} is not sha256// and the base64 of 32 bytes"),
                "agor-relay pin HOST:PORT, or agor-relay pin cert.pem, prints it",
            )),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256//{}", STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_round_trip_and_follow_the_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let make = |name: &str| {
            rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap()
        };
        let pin = Pin::of_certificate(make("a").der()).unwrap();
        assert_eq!(Some(pin), Pin::of_certificate(make("b").der()));
        assert_eq!(Pin::parse(&pin.to_string()).unwrap(), pin);
        for bad in ["", "sha256//", "sha256//AAAA", "sha1//AAAA", &pin.to_string()[8..]] {
            assert!(Pin::parse(bad).is_err(), "{bad}");
        }
    }
}
