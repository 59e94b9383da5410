//! Another configuration in a running process: all of it is prepared before any of it holds.

use std::sync::Arc;

use tracing::{info, warn};

use super::{
    Running,
    assembly::{keep, parts},
    certificates::{self, CertificateError},
    upstreams::Upstreams,
};
use crate::{api::Reloaded, config::Config, courier, proxy::upstream::CaError};

/// Why a configuration cannot hold. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A file of certificate authorities cannot be used.
    #[error(transparent)]
    Authorities(#[from] CaError),
    /// Webhooks cannot be sent.
    #[error(transparent)]
    Courier(#[from] courier::StartError),
}

impl Running {
    /// Goes by another configuration from now on, without dropping a connection: routes, upstreams, limits, webhook
    /// settings, certificates, who is let in to the admin listener, how long a stop may take. What is on its way goes on as it began, and stored runs keep
    /// what they were promised. What cannot change in a running process stays, and is named in the answer.
    ///
    /// # Errors
    /// Says what cannot be used; nothing has changed then.
    pub async fn reload(&mut self, mut config: Config) -> Result<Reloaded, ReloadError> {
        let needs_restart = self.keep_what_is_fixed(&mut config);
        let mut upstreams = Upstreams::of(&config, &self.upstreams)?;
        let certificates = self.certificates(&config)?;
        upstreams.resolve().await;
        self.core.reconfigure(&config)?;
        keep(
            &mut upstreams,
            &self.rest,
            (&self.tasks, self.runtimes.back()),
        );
        self.proxy
            .renew(parts(&config, &self.core, &upstreams, &self.in_flight));
        std::mem::take(&mut self.upstreams).retire(&upstreams);
        self.upstreams = upstreams;
        for (shown, certificate) in certificates {
            shown.show(certificate);
        }
        if self.config.admin != config.admin {
            let store = self.core.store.as_ref();
            self.admin_app.renew(config.admin.clone(), store);
        }
        let hash = config.digest.clone();
        self.config = config;
        info!(hash, "the configuration was read again, and holds now");
        if !needs_restart.is_empty() {
            warn!(
                keys = needs_restart.join(", "),
                "what these keys say now is taken by a restart or an upgrade (SIGQUIT) only"
            );
        }
        Ok(Reloaded {
            hash,
            needs_restart,
        })
    }

    /// Notes that a configuration was refused, and why.
    pub fn refused(&self, why: &str) {
        self.core.metrics.config_refused();
        warn!(
            why,
            holds = self.config.digest,
            "the configuration is refused; the one before holds"
        );
    }

    /// What listeners show by this configuration.
    fn certificates(&self, config: &Config) -> Result<Vec<Certificate>, CertificateError> {
        let mut found = Vec::new();
        for (address, shown) in &self.certificates {
            let mut listeners = config.listeners.iter();
            let files = listeners
                .find(|listener| listener.address == *address)
                .and_then(|listener| listener.tls.as_ref());
            if let Some(files) = files {
                found.push((Arc::clone(shown), certificates::load(files)?));
            }
        }
        Ok(found)
    }

    /// Puts what cannot change in place of what the file says; returns the keys that differ.
    fn keep_what_is_fixed(&self, config: &mut Config) -> Vec<&'static str> {
        let old = &self.config;
        let mut differ = Vec::new();
        let mut keep = |key, differs: bool| {
            if differs {
                differ.push(key);
            }
        };
        let threads = &mut config.server.threads;
        keep("server.threads", old.server.threads != *threads);
        threads.clone_from(&old.server.threads);
        let prefix = &mut config.server.public_prefix;
        keep("server.public_prefix", old.server.public_prefix != *prefix);
        prefix.clone_from(&old.server.public_prefix);
        let url = &mut config.server.public_url;
        keep("server.public_url", old.server.public_url != *url);
        url.clone_from(&old.server.public_url);
        keep("store", old.store != config.store);
        config.store = old.store.clone();
        // Who may be let in depends on where it listens: another token is not for this address.
        if old.admin.address != config.admin.address {
            keep("admin", true);
            config.admin = old.admin.clone();
        }
        let sockets = |config: &Config| -> Vec<_> {
            let listeners = config.listeners.iter();
            listeners
                .map(|one| (one.address.clone(), one.h2c, one.tls.is_some()))
                .collect()
        };
        keep("listener", sockets(old) != sockets(config));
        let mut listeners = old.listeners.clone();
        for listener in &mut listeners {
            let mut new = config.listeners.iter();
            let files = new
                .find(|new| new.address == listener.address)
                .and_then(|new| new.tls.clone());
            if let (Some(before), Some(files)) = (&mut listener.tls, files) {
                *before = files;
            }
        }
        config.listeners = listeners;
        config
            .webhook
            .own_addresses
            .clone_from(&old.webhook.own_addresses);
        differ
    }
}

type Certificate = (Arc<certificates::Shown>, rustls::sign::CertifiedKey);
