//! Active health checks: a connection, or a GET that is answered with a 2xx or 3xx.

use pingora::{
    Error, ErrorType,
    lb::{
        Backend, Extensions,
        health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck},
    },
    upstreams::peer::BasicPeer,
};
use tracing::{info, warn};

use super::peer::Peer;
use crate::config;

/// Checks the peers of one upstream.
pub(super) struct Probe {
    kind: Kind,
    settings: config::HealthCheck,
}

enum Kind {
    Tcp,
    Http(String),
}

impl Probe {
    /// A probe as configured.
    pub(super) fn new(settings: &config::HealthCheck) -> Self {
        let kind = settings
            .http_path
            .as_ref()
            .map_or(Kind::Tcp, |path| Kind::Http(path.clone()));
        Self {
            kind,
            settings: settings.clone(),
        }
    }

    /// Checks one peer and takes it out or in.
    pub(super) async fn check(&self, upstream: &str, peer: &Peer) {
        let result = tokio::time::timeout(self.settings.timeout, self.probe(peer)).await;
        let success = matches!(result, Ok(Ok(())));
        let threshold = if success {
            self.settings.successes
        } else {
            self.settings.failures
        };
        match peer.observe(success, threshold) {
            Some(true) => info!(upstream, peer = %peer.address(), "peer is healthy again"),
            Some(false) => {
                let error = match result {
                    Ok(Err(error)) => error.etype().as_str().to_owned(),
                    Ok(Ok(())) | Err(_) => "no answer in time".to_owned(),
                };
                warn!(upstream, peer = %peer.address(), error, "peer is unhealthy");
            }
            None => {}
        }
    }

    async fn probe(&self, peer: &Peer) -> pingora::Result<()> {
        let backend = Backend {
            addr: peer.address().to_l4(),
            weight: 1,
            ext: Extensions::new(),
        };
        match &self.kind {
            Kind::Tcp => {
                let mut check = TcpHealthCheck::default();
                check.peer_template = BasicPeer::new("0.0.0.0:1");
                check.check(&backend).await
            }
            Kind::Http(path) => http_check(peer, path)?.check(&backend).await,
        }
    }
}

fn http_check(peer: &Peer, path: &str) -> pingora::Result<HttpHealthCheck> {
    let template = peer.http_peer();
    let mut check = HttpHealthCheck::new(peer.address().host(), template.is_tls());
    check.req.set_raw_path(path.as_bytes())?;
    check.peer_template = *template;
    check.validator = Some(Box::new(|response| {
        if response.status.is_success() || response.status.is_redirection() {
            Ok(())
        } else {
            Err(Error::explain(
                ErrorType::HTTPStatus(response.status.as_u16()),
                "health check",
            ))
        }
    }));
    Ok(check)
}
