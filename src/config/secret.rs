//! Secrets: written out, or named by an environment variable or a file. No message shows one.

use std::{fs, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use toml::de::DeValue;

use super::{
    file::Reading,
    value::{Converted, Value, text, wrong},
};

const WRITE: &str = "a text, { env = \"NAME\" } or { file = \"path\" }";

/// A secret's text, wherever it is kept.
pub(super) fn secret<'r>(
    reading: &'r Reading<'_>,
) -> impl Fn(&Value<'_>) -> Converted<String> + 'r {
    move |value| {
        let secret = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Table(table) => {
                let mut entries = table.iter();
                match (entries.next(), entries.next()) {
                    (Some((key, place)), None) if key.get_ref() == "env" => {
                        from_environment(reading, place)?
                    }
                    (Some((key, place)), None) if key.get_ref() == "file" => {
                        from_file(reading, place)?
                    }
                    _ => return wrong(value, format!("is no secret; write {WRITE}")),
                }
            }
            _ => return wrong(value, format!("is no secret; write {WRITE}")),
        };
        if secret.is_empty() {
            return wrong(
                value,
                "the secret is empty; put one there, or leave the key out",
            );
        }
        Ok(secret)
    }
}

fn from_environment(reading: &Reading<'_>, place: &Value<'_>) -> Converted<String> {
    let name = text(place)?;
    match (reading.environment)(name).map(std::ffi::OsString::into_string) {
        Some(Ok(secret)) => Ok(secret),
        Some(Err(_)) => wrong(
            place,
            format!("the environment variable {name} is not UTF-8; set it again"),
        ),
        None => wrong(
            place,
            format!(
                "the environment variable {name} is not set; set it where raincheck is started"
            ),
        ),
    }
}

fn from_file(reading: &Reading<'_>, place: &Value<'_>) -> Converted<String> {
    let path = reading.path(text(place)?);
    match fs::read_to_string(&path) {
        Ok(secret) => Ok(secret.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => wrong(place, unreadable(&path, &error)),
    }
}

/// A PEM file with certificates.
pub(super) fn certificates<'r>(
    reading: &'r Reading<'_>,
) -> impl Fn(&Value<'_>) -> Converted<std::path::PathBuf> + 'r {
    move |value| {
        let path = reading.path(text(value)?);
        let pem = fs::read(&path).or_else(|error| wrong(value, unreadable(&path, &error)))?;
        let mut all = CertificateDer::pem_slice_iter(&pem).peekable();
        if all.peek().is_none() || all.any(|one| one.is_err()) {
            return wrong(
                value,
                format!(
                    "{} holds no certificates as PEM; write the path of a file that begins with -----BEGIN CERTIFICATE-----",
                    path.display()
                ),
            );
        }
        Ok(path)
    }
}

/// A PEM file with a private key.
pub(super) fn private_key<'r>(
    reading: &'r Reading<'_>,
) -> impl Fn(&Value<'_>) -> Converted<std::path::PathBuf> + 'r {
    move |value| {
        let path = reading.path(text(value)?);
        let pem = fs::read(&path).or_else(|error| wrong(value, unreadable(&path, &error)))?;
        match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(_) => Ok(path),
            Err(_) => wrong(
                value,
                format!(
                    "{} holds no private key as PEM; write the path of a file that has -----BEGIN PRIVATE KEY-----",
                    path.display()
                ),
            ),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!(
        "{} cannot be read ({error}); write the path of a file that this user may read",
        path.display()
    )
}
