//! One POST to a receiver, through the guarded resolver: no proxy, no redirect, nothing of its own.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::HeaderMap;
use reqwest::{Body, Client, ClientBuilder, Response, redirect};
use url::{Host, Url};

use super::{
    failure::Failure,
    lookups::Lookup,
    resolver::{self, DIAL, Dial, GuardedResolver},
};
use crate::{
    config::WebhookClient,
    model::{address_guard::AddressGuard, delivery::DeliveryError},
};

/// How long a connection is kept for the next delivery: shorter than servers keep theirs, so that it is rarely closed
/// under a request.
const IDLE: Duration = Duration::from_secs(3);

/// The way to receivers.
pub(super) struct Receiver {
    client: Client,
    guard: Arc<AddressGuard>,
}

impl Receiver {
    /// Makes the HTTP client. Without any certificate authority on this machine, `https` receivers fail and others do
    /// not.
    pub(super) fn new(settings: &WebhookClient, lookup: Lookup) -> Result<Self, reqwest::Error> {
        // Fails only if a provider is installed already, which serves as well.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let guard = Arc::new(settings.guard());
        let client = builder(settings, &guard, &lookup).build().or_else(|error| {
            tracing::warn!(
                error = %Failure::from(error).detail,
                "deliveries to https receivers will fail: no certificate authorities; install `ca-certificates`"
            );
            builder(settings, &guard, &lookup).tls_certs_only([]).build()
        })?;
        Ok(Self { client, guard })
    }

    /// Sends one POST; returns when the head of the answer is there. The address that is dialled first is noted in
    /// `dialled` before.
    pub(super) async fn post(
        &self,
        endpoint: &str,
        headers: HeaderMap,
        body: Body,
        dialled: &Arc<OnceLock<SocketAddr>>,
    ) -> Result<Response, Failure> {
        let url = Url::parse(endpoint).map_err(|error| Failure {
            error: DeliveryError::Unreachable,
            detail: format!("the receiver's URL is none: {error}"),
        })?;
        let port = url.port_or_known_default().unwrap_or_default();
        let dial = Dial::new(port, Arc::clone(dialled));
        self.check(&url, &dial)?;
        let request = self.client.post(url).headers(headers).body(body);
        Ok(DIAL.scope(dial, request.send()).await?)
    }

    /// Judges what is known before a name is resolved. A literal never meets the resolver, so it is judged here.
    fn check(&self, url: &Url, dial: &Dial) -> Result<(), Failure> {
        self.guard.check_url(url)?;
        let literal: Option<SocketAddr> = match url.host() {
            Some(Host::Ipv4(ip)) => Some((ip, dial.port).into()),
            Some(Host::Ipv6(ip)) => Some((ip, dial.port).into()),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = literal {
            resolver::check(&self.guard, url.host_str().unwrap_or_default(), address)?;
            dial.note(address);
        }
        Ok(())
    }
}

fn builder(settings: &WebhookClient, guard: &Arc<AddressGuard>, lookup: &Lookup) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .referer(false)
        .redirect(redirect::Policy::none())
        .dns_resolver(GuardedResolver {
            guard: Arc::clone(guard),
            lookup: Arc::clone(lookup),
        })
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(settings.per_host)
}
