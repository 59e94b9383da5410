//! Where the admin listener is and the token for it: flags, then the environment, then a file of one's own.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Deserialize;
use url::Url;

use super::{Exit, Failure, plain};
use crate::model::secret::Secret;

const DEFAULT_ADDRESS: &str = "http://127.0.0.1:9180";
const ADDRESS: &str = "RAINCHECK_ADDRESS";
const TOKEN: &str = "RAINCHECK_TOKEN";

/// The flags of every command that talks to the admin listener.
#[derive(Debug, Args)]
pub(super) struct Access {
    /// The admin listener [else: RAINCHECK_ADDRESS, `address` in ~/.config/raincheck.toml, http://127.0.0.1:9180].
    #[arg(long, global = true, value_name = "URL")]
    address: Option<String>,
    /// The admin token, for all who list processes to see [else: RAINCHECK_TOKEN, `token` in ~/.config/raincheck.toml].
    #[arg(long, global = true, value_name = "TOKEN", value_parser = secret)]
    token: Option<Secret>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Settings {
    /// `http` or `https`, with a host; its path ends in a slash.
    pub(super) address: Url,
    pub(super) token: Option<Secret>,
    /// What the operator should know.
    pub(super) note: Option<String>,
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: Option<String>,
    token: Option<String>,
}

impl Access {
    /// Reads the environment and the file.
    pub(super) fn settings(&self, err: &mut dyn Write) -> Result<Settings, Failure> {
        let settings = self.find(|name| std::env::var_os(name))?;
        if let Some(note) = &settings.note {
            writeln!(err, "note: {note}")?;
        }
        Ok(settings)
    }

    fn find(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<Settings, Failure> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let file = file(&set);
        let (written, note) = match &file {
            Some(file) => read(file)?,
            None => (Written::default(), None),
        };
        let environment = |name: &str| match set(name).map(OsString::into_string) {
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(Exit::Config.because(format!("{name} is no UTF-8"))),
            None => Ok(None),
        };
        let file = file.map_or_else(|| "the file".to_owned(), |file| file.display().to_string());
        let address = [
            (self.address.clone(), "--address".to_owned()),
            (environment(ADDRESS)?, ADDRESS.to_owned()),
            (written.address, format!("address in {file}")),
            (Some(DEFAULT_ADDRESS.to_owned()), String::new()),
        ];
        let address = address
            .into_iter()
            .find_map(|(text, from)| Some((text?, from)));
        let (address, from) = address.unwrap_or_default();
        let token = environment(TOKEN)?.or(written.token);
        let token = token
            .filter(|token| !token.is_empty())
            .map(|token| Secret::new(token.into_bytes()));
        Ok(Settings {
            address: read_address(&address).map_err(|wrong| {
                Exit::Config.because(format!("{from}: {} {wrong}", plain::line(&address)))
            })?,
            token: self.token.clone().or(token),
            note,
        })
    }
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.as_bytes()))
}

/// Where the file is, by the XDG base directories.
fn file(set: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        // The specification has relative ones ignored.
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?;
    Some(folder.join("raincheck.toml"))
}

/// What the file says, and a note if others can read its token. One that is not there says nothing.
fn read(file: &Path) -> Result<(Written, Option<String>), Failure> {
    let name = file.display();
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => {
            return Err(Exit::Config.because(format!("{name} cannot be read: {error}")));
        }
    };
    let written: Written = toml::from_str(&text).map_err(|error| {
        // Not the error's own text: it quotes the line, which may hold the token.
        let at = error.span().map_or(0, |span| span.start);
        let line = text[..at.min(text.len())].matches('\n').count() + 1;
        let message = plain::line(error.message());
        Exit::Config.because(format!(
            "{name}:{line}: {message}; the keys are address and token, both strings"
        ))
    })?;
    let mode = fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    let open = written.token.is_some() && mode & 0o044 != 0;
    let note = open.then(|| {
        format!("others can read the token in {name}; close it to them: chmod 600 {name}")
    });
    Ok((written, note))
}

/// An address as it is written: `http://` may be left out.
fn read_address(text: &str) -> Result<Url, &'static str> {
    const WRONG: &str = "is no address; write http://127.0.0.1:9180 or https://admin.example.com";
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let mut url = Url::parse(&whole).map_err(|_| WRONG)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(WRONG);
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err("has more than an address; leave out user, query and fragment");
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
