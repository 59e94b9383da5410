//! `raincheck check`: everything that is wrong with a configuration, or what it would do.

use std::path::{Path, PathBuf};

use super::{Exit, Failure, Screen};
use crate::config::{Complaint, Config, Durability, StoreKind};

/// Where the configuration is looked for.
pub(super) const DEFAULT_FILE: &str = "raincheck.toml";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let config = load(&arguments.config)?;
    writeln!(screen.out, "{}", summary(&config))?;
    for note in notes(&config) {
        writeln!(screen.err, "note: {note}")?;
    }
    Ok(())
}

/// Reads a configuration; the failure says everything that is wrong.
pub(super) fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|complaints| refused(&complaints))
}

/// The failure of a command whose configuration is wrong.
pub(super) fn refused(complaints: &[Complaint]) -> Failure {
    let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    Exit::Config.because(lines.join("\n"))
}

fn summary(config: &Config) -> String {
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| {
            let host = route.host.as_deref().unwrap_or_default();
            let runs = if route.run.is_some() {
                ""
            } else {
                ", pass-through only"
            };
            format!(
                "{} ({host}{} to {}{runs})",
                route.name, route.path, route.upstream
            )
        })
        .collect();
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| {
            let scheme = if listener.tls.is_some() {
                "https"
            } else {
                "http"
            };
            format!("{scheme}://{}", listener.address)
        })
        .collect();
    format!(
        "{} is right: routes {}; listening on {}; admin on {}; runs kept in {}",
        config.file.display(),
        routes.join(", "),
        listeners.join(", "),
        config.admin.address,
        match config.store.kind {
            StoreKind::Sqlite => config.store.path.display().to_string(),
            StoreKind::Postgres { .. } => "PostgreSQL".to_owned(),
        },
    )
}

/// What is allowed and may still surprise.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    for listener in &config.listeners {
        let local = ["127.", "localhost:", "[::1]"];
        if listener.tls.is_none() && !local.iter().any(|host| listener.address.starts_with(host)) {
            notes.push(format!(
                "{} is without TLS: tokens of runs can be read on the way, unless something in front speaks TLS",
                listener.address
            ));
        }
    }
    if config.store.durability == Durability::Relaxed {
        notes.push(
            "store.durability is \"relaxed\": a power cut may lose runs that were answered 202"
                .to_owned(),
        );
    }
    if matches!(config.store.kind, StoreKind::Postgres { .. }) {
        notes.push(
            "a crash of the database loses nothing that was answered 202; a promotion of its standby does not either if synchronous_standby_names is set there"
                .to_owned(),
        );
    }
    for upstream in &config.upstreams {
        if upstream.tls.as_ref().is_some_and(|tls| !tls.verify) {
            notes.push(format!(
                "upstream {} is not verified: anybody in between can answer for it",
                upstream.name
            ));
        }
    }
    for key in &config.webhook.ed25519_keys {
        notes.push(format!(
            "webhooks are signed by the ed25519 key that receivers know as {}",
            key.public()
        ));
    }
    let runs = || {
        let routes = config.routes.iter();
        routes.filter_map(|route| Some((route.name.as_str(), route.run.as_deref()?)))
    };
    let links = runs().filter(|(_, run)| run.policy.webhook.body.links());
    let links: Vec<_> = links.map(|(name, _)| name).collect();
    if !links.is_empty() && config.server.public_url.is_empty() {
        notes.push(format!(
            "webhooks of {} link to responses by a path alone: server.public_url is empty",
            links.join(", ")
        ));
    }
    let unsigned = runs().filter(|(_, run)| run.webhook.signing_secrets.is_empty());
    let unsigned: Vec<_> = unsigned.map(|(name, _)| name).collect();
    if !unsigned.is_empty() && config.webhook.ed25519_keys.is_empty() {
        notes.push(format!(
            "webhooks of {} are signed only for callers who send an X-Webhook-Secret: webhook.signing_secrets is empty",
            unsigned.join(", ")
        ));
    }
    notes
}
