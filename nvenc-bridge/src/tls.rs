//! The certificate that players see (TLS 1.2 and 1.3).

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::args::Settings;

/// What `--tls-certificate` and `--tls-key` lead to, where they are given.
///
/// # Errors
/// One line that says what to do.
pub fn of(settings: &Settings) -> Result<Option<Arc<ServerConfig>>, String> {
    match (&settings.tls_certificate, &settings.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => load(certificate, key).map(Some),
        (Some(_), None) => {
            Err("--tls-certificate: it needs its private key: name its file with --tls-key".into())
        }
        (None, Some(_)) => {
            Err("--tls-key: it needs its certificate: name its file with --tls-certificate".into())
        }
    }
}

/// Loads a certificate, with those that vouch for it behind it, and its private key; both in PEM.
///
/// # Errors
/// One line that says what to do.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let refuse = |what: &str, path: &Path, reason: &dyn std::fmt::Display| {
        format!("--tls-{what} {}: {reason}", path.display())
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| refuse("certificate", certificate, &error))?;
    if chain.is_empty() {
        return Err(refuse(
            "certificate",
            certificate,
            &"there is none in it: it takes -----BEGIN CERTIFICATE-----",
        ));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse("key", key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("certificate", certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| refuse("key", key, &error))?;
    Ok(Arc::new(config))
}
