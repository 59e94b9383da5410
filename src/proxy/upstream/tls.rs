//! The certificate authorities of `upstream.*.tls.ca`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use pingora::{
    protocols::tls::CaType,
    utils::tls::{WrappedX509, parse_x509},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// A file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// It cannot be read, or is no PEM.
    #[error("{} cannot be read as PEM certificates: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// There is none in it, or one that cannot be trusted as such.
    #[error("{} has no usable certificate; write PEM certificates of authorities into it", .0.display())]
    Unusable(PathBuf),
}

/// Reads a PEM file of certificate authorities.
///
/// # Errors
/// When it cannot be used.
pub(super) fn authorities(path: &Path) -> Result<Arc<CaType>, CaError> {
    let unreadable = |error| CaError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let unusable = || CaError::Unusable(path.to_owned());
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    // Pingora parses them with a parser that panics, so they are tried here first.
    let mut tried = rustls::RootCertStore::empty();
    for certificate in &certificates {
        tried.add(certificate.clone()).map_err(|_| unusable())?;
    }
    if tried.is_empty() {
        return Err(unusable());
    }
    Ok(certificates
        .into_iter()
        .map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509))
        .collect())
}
