//! From the file as written to the configuration as meant: section by section, then what holds between them.

mod admin;
mod limits;
mod listener;
mod openwhisk;
mod route;
mod run;
mod server;
mod store;
mod upstream;
mod webhook;

use std::{ffi::OsString, path::Path, sync::Arc};

use toml::de::DeTable;

use self::webhook::Common;
use super::{
    Config, Route,
    complaint::Complaint,
    defaults,
    file::{Reading, Section},
};

/// Who reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The program: it has listeners and upstreams of its own.
    Proxy,
    /// A host with its own `ProxyHttp`, which has listeners and peers already.
    Host,
}

/// Reads `text`, which was found in `file`. Beside the configuration, the keys that are known.
pub(super) fn read(
    text: &str,
    file: &Path,
    reader: Reader,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> (Result<Config, Vec<Complaint>>, Vec<String>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let complaints = errors.into_iter().map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Complaint {
                message: format!("this is no TOML: {}", error.message().replace('\n', ", ")),
                ..Complaint::at(file, text, at)
            }
        });
        let mut complaints: Vec<_> = complaints.collect();
        complaints.sort();
        return (Err(complaints), Vec::new());
    }
    if table.get_ref().is_empty() && reader == Reader::Proxy {
        let message = "the file says nothing; write at least an [upstream.NAME] with `peers` and a [[route]] with `upstream`";
        return (Err(vec![Complaint::about(file, message)]), Vec::new());
    }
    let reading = Reading::new(file, text, environment);
    let config = {
        let root = Section::root(&reading, table.get_ref(), defaults::table());
        whole(&root, reader)
    };
    let (complaints, known) = reading.finish();
    match config {
        Some(config) if complaints.is_empty() => (Ok(config), known),
        Some(_) | None => (Err(complaints), known),
    }
}

fn whole(root: &Section<'_>, reader: Reader) -> Option<Config> {
    let server = server::read(&root.section("server"));
    let admin = admin::read(&root.section("admin"));
    let store = store::read(&root.section("store"));
    let limits = limits::read(&root.section("limits"));
    let webhook = root.section("webhook");
    let client = webhook::client(&webhook);
    let common = Common::general(&webhook, &client, &server);
    let (listeners, upstreams) = match reader {
        Reader::Proxy => (listener::read(root, &admin), upstream::read(root)),
        Reader::Host => {
            for key in ["listener", "upstream"] {
                if root.has(key) {
                    root.complain(
                        key,
                        "belongs to the proxy of its own; leave it out, the host has its own",
                    );
                }
            }
            (Vec::new(), Some(Vec::new()))
        }
    };
    upstream::no_loops(root, &listeners, upstreams.as_deref().unwrap_or_default());
    let shared = route::Shared {
        reader,
        server: &server,
        limits: &limits,
        client: &client,
        common: &common,
        upstreams: upstreams.as_deref(),
    };
    let namespaces = openwhisk::read(root, &shared);
    let routes = route::read(root, &shared)?;
    Some(Config {
        file: root.reading.file.to_owned(),
        digest: digest(root.reading.text),
        server,
        listeners,
        admin,
        store,
        limits,
        webhook: client,
        upstreams: upstreams?,
        routes: routes.into_iter().map(Arc::<Route>::new).collect(),
        namespaces,
    })
}

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let digits = digest.as_ref().iter().take(6);
    digits.map(|byte| format!("{byte:02x}")).collect()
}
