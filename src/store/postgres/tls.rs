//! TLS to the database, in the words of libpq's URLs (<https://www.postgresql.org/docs/current/libpq-ssl.html>).

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Takes out of a URL what the driver does not know: the file with the authorities; and `verify-full`, since whoever is
/// asked to encrypt verifies here.
pub(super) fn split(url: &str) -> (String, Option<PathBuf>) {
    let Some((before, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mut roots = None;
    let mut left = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", path)) => {
                let path = percent_decode_str(path).decode_utf8_lossy();
                roots = Some(PathBuf::from(path.into_owned()));
            }
            Some(("sslmode", "verify-full" | "verify-ca")) => left.push("sslmode=require"),
            _ => left.push(pair),
        }
    }
    let query = left.join("&");
    let is_bare = query.is_empty();
    let url = if is_bare {
        before.to_owned()
    } else {
        format!("{before}?{query}")
    };
    (url, roots)
}

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
    fn libpqs_words_for_authorities_are_taken_out() {
        for (url, left, roots) in [
            ("postgres://h/d", "postgres://h/d", None),
            ("postgres://h/d?", "postgres://h/d", None),
            (
                "postgres://h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fmy%20ca.pem&application_name=x",
                "postgres://h/d?sslmode=require&application_name=x",
                Some("/etc/my ca.pem"),
            ),
            ("postgres://h/d?sslrootcert=system", "postgres://h/d", None),
            (
                "postgres://h/d?sslmode=prefer",
                "postgres://h/d?sslmode=prefer",
                None,
            ),
        ] {
            let roots = roots.map(PathBuf::from);
            assert_eq!(split(url), (left.to_owned(), roots), "{url}");
        }
    }

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
