//! TLS to the collector: the system's roots, or `OTEL_EXPORTER_OTLP_CERTIFICATE` (a PEM file) instead.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Reads the roots. Where there are none every handshake fails, which the one warning then says.
pub(super) fn config() -> TlsConfig {
    let roots: Vec<CertificateDer<'static>> =
        match std::env::var_os("OTEL_EXPORTER_OTLP_CERTIFICATE").filter(|path| !path.is_empty()) {
            Some(path) => CertificateDer::pem_file_iter(path)
                .map(|list| list.filter_map(Result::ok).collect())
                .unwrap_or_default(),
            None => rustls_native_certs::load_native_certs().certs,
        };
    let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}
