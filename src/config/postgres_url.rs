//! The URL of a database, in the words of libpq (<https://www.postgresql.org/docs/current/libpq-connect.html>).

use std::{path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;

/// Whether this is meant as the URL of a database.
pub fn is_one(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// Reads a URL: what the driver is to know, and the file of `sslrootcert` with certificate authorities, if it names one.
///
/// # Errors
/// What is wrong with it, without its password.
pub fn read(url: &str) -> Result<(Config, Option<PathBuf>), String> {
    let (text, roots) = split(url);
    if text.contains("://") && !is_one(&text) {
        return Err(format!("is no PostgreSQL URL; {WRITE}"));
    }
    // The driver would take what is behind the first one for the host.
    let before_query = text.split('?').next().unwrap_or_default();
    if before_query.matches('@').count() > 1 {
        return Err(format!(
            "has more than one @; {WRITE}, in a password @ is %40, / is %2F and : is %3A"
        ));
    }
    let config = Config::from_str(&text).map_err(|error| {
        let cause = std::error::Error::source(&error);
        let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
        format!("is no PostgreSQL URL: {cause}; {WRITE}")
    })?;
    if config.get_hosts().is_empty() {
        return Err(format!("names no host; {WRITE}"));
    }
    if config.get_dbname().is_none() {
        return Err(format!("names no database; {WRITE}"));
    }
    Ok((config, roots))
}

const WRITE: &str = "write postgres://user:password@host/database";

/// Takes out of a URL what the driver does not know: the file with the authorities; and `verify-full`, since whoever is
/// asked to encrypt verifies here.
fn split(url: &str) -> (String, Option<PathBuf>) {
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
    fn what_is_no_url_is_told_without_its_password() {
        for (url, says) in [
            ("", "names no host"),
            ("mysql://u:secret@h/d", "no PostgreSQL URL"),
            ("postgres://u:secret@h", "names no database"),
            ("postgres://u:sec@secret@h/d", "%40"),
            ("postgres://u:p@secret/x@h/d", "%2F"),
            ("postgres://u:secret@h/d?colour=red", "colour"),
        ] {
            let said = read(url).err().unwrap_or_default();
            assert!(said.contains(says), "{url}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
        assert!(read("postgresql://u:p%40w@h1,h2:5433/d?sslmode=verify-full").is_ok());
    }
}
