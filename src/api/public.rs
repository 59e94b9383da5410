//! The public face: the resources below `server.public_prefix`, on the listener of the application itself.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use http::{Uri, header::HOST, request::Parts, uri::PathAndQuery};
use pingora::protocols::http::ServerSession;
use tokio_util::sync::CancellationToken;

use super::{answer, bridge, hold, origins, problems, runs, webhook_keys};
use crate::{
    config::{Config, Route, RunSettings},
    courier::Lines,
    metrics::Metrics,
    model::{
        problem::{Code, Problem},
        run::Run,
        signature::{PublicKey, SigningKey},
    },
    store::Store,
    worker::{ended, live::LiveRuns},
};

/// Answers requests for paths below the public prefix.
#[derive(Clone)]
pub struct PublicApi {
    shared: Arc<Shared>,
    router: Router,
}

pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) live: LiveRuns,
    pub(super) metrics: Metrics,
    pub(super) lines: Lines,
    pub(super) prefix: String,
    pub(super) public_url: String,
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) webhook_keys: Vec<PublicKey>,
    /// Nobody waits any longer.
    pub(super) stopping: CancellationToken,
}

impl PublicApi {
    /// The face of `store`'s runs, as `config` has it.
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        live: LiveRuns,
        metrics: Metrics,
        lines: Lines,
    ) -> Self {
        let parts = (store, live, metrics, lines);
        Self::with(parts, CancellationToken::new(), config)
    }

    /// The same by a newer configuration.
    pub fn renewed(&self, config: &Config) -> Self {
        let Shared {
            store,
            live,
            metrics,
            lines,
            stopping,
            ..
        } = &*self.shared;
        let parts = (store.clone(), live.clone(), metrics.clone(), lines.clone());
        Self::with(parts, stopping.clone(), config)
    }

    fn with(
        (store, live, metrics, lines): (Arc<dyn Store>, LiveRuns, Metrics, Lines),
        stopping: CancellationToken,
        config: &Config,
    ) -> Self {
        let shared = Arc::new(Shared {
            store,
            live,
            metrics,
            lines,
            prefix: config.server.public_prefix.clone(),
            public_url: config.server.public_url.clone(),
            routes: config.all_routes().cloned().collect(),
            webhook_keys: config
                .webhook
                .ed25519_keys
                .iter()
                .map(SigningKey::public)
                .collect(),
            stopping,
        });
        let router = router(shared.clone());
        Self { shared, router }
    }

    /// What other APIs on the same listeners share with this one.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Lets nobody wait any longer: who does is answered with what is there.
    pub fn stop_waiting(&self) {
        self.shared.stopping.cancel();
    }

    /// Whether a request with this raw path is ours: it is the public prefix, or below it by whole segments.
    pub fn owns(&self, path: &str) -> bool {
        self.behind_prefix(path).is_some()
    }

    /// Answers the session's request, for a path that [`PublicApi::owns`]. `tls` says whether the client's own
    /// connection (to us, or to a proxy that we trust) is one by TLS. When this returns the answer is complete, or
    /// the client has left and the session is shut down.
    pub async fn serve(&self, session: &mut ServerSession, tls: bool) {
        let target = self.target(session, tls);
        if let Err(error) = bridge::answer(session, self.router.clone(), target).await {
            tracing::debug!(%error, "a look at a run was not answered whole");
        }
    }

    fn behind_prefix<'a>(&self, path: &'a str) -> Option<&'a str> {
        let prefix = self.shared.prefix.as_str();
        let rest = path.strip_prefix(prefix)?;
        let whole = !prefix.is_empty() && (rest.is_empty() || rest.starts_with('/'));
        whole.then_some(rest)
    }

    /// The request's target as the router sees it: absolute if its host is known, without the prefix.
    fn target(&self, session: &ServerSession, tls: bool) -> Uri {
        let request = session.req_header();
        let mut behind = self
            .behind_prefix(request.uri.path())
            .unwrap_or("/")
            .to_owned();
        if behind.is_empty() {
            behind.push('/');
        }
        if let Some(query) = request.uri.query() {
            behind.push('?');
            behind.push_str(query);
        }
        let target = PathAndQuery::try_from(behind).unwrap_or(PathAndQuery::from_static("/"));
        let authority = match request.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => request
                .headers
                .get(HOST)
                .map_or(&b""[..], |host| host.as_bytes()),
        };
        Uri::builder()
            .scheme(if tls { "https" } else { "http" })
            .authority(authority)
            .path_and_query(target.clone())
            .build()
            .unwrap_or(target.into())
    }
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(
            "/runs/{id}",
            get(runs::record)
                .delete(runs::cancel)
                .options(origins::options),
        )
        .route(
            "/runs/{id}/response",
            get(runs::response).options(origins::options),
        )
        .route("/problems/{code}", get(problems::page))
        .route("/webhook-keys", get(webhook_keys::keys))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

async fn nothing(State(shared): State<Arc<Shared>>) -> Response {
    let problem = Problem::new(
        Code::NoRoute,
        "There is no such resource. Runs are at /runs/{id} below this prefix, their responses at /runs/{id}/response.",
    );
    answer::refusal(&problem, &shared.prefix)
}

async fn wrong_method(State(shared): State<Arc<Shared>>) -> Response {
    let problem = Problem::new(
        Code::MethodNotAllowed,
        "The resource does not take this method; Allow names those that it takes.",
    );
    answer::refusal(&problem, &shared.prefix)
}

impl Shared {
    /// Tells the metrics that a run has ended by a cancel.
    pub(super) fn ended(&self, run: &Run) {
        ended::finished(&self.metrics, run);
    }

    /// Tells the next attempt of a run's delivery as its receiver's breaker has it.
    pub(super) fn reschedule(&self, run: &mut Run) {
        hold::reschedule(&self.lines, run);
    }

    /// The answer with what its route's cross-origin rule adds to it.
    pub(super) fn finish(&self, request: &Parts, (run, response): runs::Answered) -> Response {
        origins::tell(self, &request.headers, run.as_deref(), response)
    }

    /// The run settings of a route that still exists.
    pub(super) fn settings(&self, route: &str) -> Option<&RunSettings> {
        self.routes
            .iter()
            .find(|known| known.name == route)?
            .run
            .as_deref()
    }

    /// The run settings of all routes that have some, in the order of the configuration.
    pub(super) fn all_settings(&self) -> impl Iterator<Item = &RunSettings> {
        self.routes.iter().filter_map(|route| route.run.as_deref())
    }
}
