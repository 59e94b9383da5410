//! The admin face: what an operator's tools ask for, on a listener of its own.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE},
    uri::Authority,
};
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};

use ring::hmac;

use super::{bridge, health};
use crate::{
    config::Admin, metrics::Metrics, model::secret::Secret, store::Store,
    worker::readiness::Readiness,
};

/// Seconds that an idle connection stays open.
const KEEPALIVE: u64 = 60;

/// The admin listener's application, to be added to the server as a service on `admin.address`.
#[derive(Clone)]
pub struct AdminApp(pub(super) Router);

pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) readiness: Arc<Readiness>,
    metrics: Metrics,
    hosts: Vec<String>,
    token: Option<Secret>,
}

impl AdminApp {
    /// The admin face of `store`, as `config` has it.
    pub fn new(
        config: &Admin,
        store: Arc<dyn Store>,
        metrics: Metrics,
        readiness: Arc<Readiness>,
    ) -> Self {
        let shared = Arc::new(Shared {
            store,
            readiness,
            metrics,
            hosts: config
                .hosts
                .iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            token: config.token.clone(),
        });
        let guarded = Router::new()
            .route("/metrics", get(metrics_text))
            .layer(middleware::from_fn_with_state(shared.clone(), with_token));
        let router = Router::new()
            .merge(guarded)
            .route("/livez", get(health::live))
            .route("/readyz", get(health::ready))
            .fallback(async || (StatusCode::NOT_FOUND, "There is no such page.\n"))
            .layer(middleware::from_fn_with_state(
                shared.clone(),
                for_this_host,
            ))
            .with_state(shared);
        Self(router)
    }
}

#[async_trait]
impl HttpServerApp for AdminApp {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::debug!(%error, "a request to the admin listener could not be read");
                return None;
            }
        }
        if *shutdown.borrow() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(KEEPALIVE));
        }
        let target = session.req_header().uri.clone();
        if let Err(error) = bridge::answer(&mut session, self.0.clone(), target).await {
            tracing::debug!(%error, "a request to the admin listener was not answered whole");
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Refuses requests for a host that is not this listener's: a page that binds its own name to our address (DNS
/// rebinding) cannot read what we answer.
async fn for_this_host(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    if named_host(request.uri(), request.headers()).is_some_and(|host| shared.answers_to(&host)) {
        return next.run(request).await;
    }
    let text = "This listener answers to IP addresses, localhost and the names in admin.hosts.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// The host that a request names, lower case, without port and brackets; none if there is none, or several.
fn named_host(target: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(HOST).iter();
    let authority = match (target.authority(), lines.next(), lines.next()) {
        (Some(authority), _, None) => authority.clone(),
        (None, Some(line), None) => Authority::try_from(line.as_bytes()).ok()?,
        _ => return None,
    };
    let host = authority.host();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Some(host.to_ascii_lowercase())
}

impl Shared {
    fn answers_to(&self, host: &str) -> bool {
        host == "localhost"
            || host.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known == host)
    }
}

/// Lets requests with the bearer token pass (RFC 6750), if there is one.
async fn with_token(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let allowed = shared.token.as_ref().is_none_or(|token| {
        bearer(request.headers()).is_some_and(|given| same(given, token.reveal()))
    });
    if allowed {
        return next.run(request).await;
    }
    let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    let text = "Send the admin token: Authorization: Bearer <token>.\n";
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
}

/// Compares in a time that tells neither of them: the keyed hashes of both are compared.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"raincheck admin token");
    hmac::verify(&key, given, hmac::sign(&key, expected).as_ref()).is_ok()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// `GET /metrics`, with the books as the store has them now. If it cannot be read, all the rest is still told.
async fn metrics_text(State(shared): State<Arc<Shared>>) -> Response {
    match shared.store.books().await {
        Ok(books) => shared.metrics.keep_books(&books),
        Err(error) => {
            tracing::warn!(%error, "the books cannot be read; the metrics show the last ones")
        }
    }
    shared
        .metrics
        .store_writable
        .set(shared.store.ready().is_ok().into());
    match shared.metrics.text() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written as text");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
