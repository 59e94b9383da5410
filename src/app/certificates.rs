//! The certificates of TLS listeners, read from files.

use std::{path::PathBuf, sync::Arc};

use parking_lot::RwLock;
use pingora::listeners::{TlsAccept, tls::TlsSettings};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::config::CertificateFiles;

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or is no PEM.
    #[error("{} cannot be read as PEM: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// The key does not fit, or is of a kind that is not supported.
    #[error("{} and {} make no certificate: {error}", .files.cert.display(), .files.key.display())]
    Unusable {
        /// The files.
        files: CertificateFiles,
        /// Why.
        error: rustls::Error,
    },
}

/// The certificate that a listener shows now.
#[derive(Debug)]
pub(super) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    /// Shows the certificate of these files.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub(super) fn of(files: &CertificateFiles) -> Result<Arc<Self>, CertificateError> {
        Ok(Arc::new(Self(RwLock::new(Arc::new(load(files)?)))))
    }

    /// Shows another one, from the next handshake on.
    pub(super) fn show(&self, certificate: CertifiedKey) {
        *self.0.write() = Arc::new(certificate);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// Nothing is to be done in a handshake.
struct Quiet;

impl TlsAccept for Quiet {}

/// The TLS settings of a listener: its certificate, and HTTP/2 or HTTP/1.1 as the client likes.
///
/// # Errors
/// When no settings can be made.
pub(super) fn settings(
    files: &CertificateFiles,
    shown: &Arc<Shown>,
) -> Result<TlsSettings, CertificateError> {
    let mut settings =
        TlsSettings::with_callbacks(Box::new(Quiet)).map_err(|_| CertificateError::Unusable {
            files: files.clone(),
            error: rustls::Error::General("TLS settings cannot be made".to_owned()),
        })?;
    settings.set_cert_resolver(Arc::clone(shown) as Arc<dyn ResolvesServerCert>);
    settings.enable_h2();
    Ok(settings)
}

/// Reads a certificate and its key.
///
/// # Errors
/// When the files cannot be used.
pub(super) fn load(files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let unreadable = |path: &PathBuf, error| CertificateError::Unreadable {
        path: path.clone(),
        error,
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.cert, error))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, error))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        CertificateError::Unusable {
            files: files.clone(),
            error,
        }
    })
}
