//! TLS to the database.

use std::path::Path;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// By the authorities in the file, or the system's. (`sslmode=require` verifies too: an encrypted connection to anybody is
/// worth little.)
pub(super) fn connector(mode: SslMode, roots: Option<&Path>) -> Result<MakeRustlsConnect, String> {
    // Fails only if a provider is installed already, which serves as well.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    if let Some(path) = roots {
        return Ok(trusting(authorities(path)?));
    }
    match MakeRustlsConnect::with_native_certs() {
        Ok((tls, _unreadable)) => Ok(tls),
        Err(_) if mode != SslMode::Require => Ok(trusting(RootCertStore::empty())),
        Err(_) => Err(
            "sslmode=require needs certificate authorities; install `ca-certificates`, or name a file of them with sslrootcert=PATH"
                .to_owned(),
        ),
    }
}

fn trusting(roots: RootCertStore) -> MakeRustlsConnect {
    let config = ClientConfig::builder().with_root_certificates(roots);
    MakeRustlsConnect::new(config.with_no_client_auth())
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let place = path.display();
    let unreadable = |error| format!("sslrootcert={place} cannot be read as PEM: {error}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        let added = roots.add(certificate);
        added.map_err(|error| format!("sslrootcert={place} has no authority in it: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("sslrootcert={place} has no certificate in it"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let said = |path: &Path| connector(SslMode::Require, Some(path)).err();
        assert!(said(&path).unwrap().contains("cannot be read"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(said(&path).unwrap().contains("no certificate in it"));
    }
}
