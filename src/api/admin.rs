//! The admin face: what operators and their tools ask for, on a listener of its own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::session::Sessions;
use super::{bridge, health, hold, problems};
use crate::{
    config::Admin,
    courier::Lines,
    metrics::Metrics,
    model::{
        problem::{Code, Problem},
        run::Run,
        secret::Secret,
        time::{SharedClock, Timestamp},
    },
    store::Store,
    worker::{live::LiveRuns, readiness::Readiness},
};

mod acts;
mod backup;
mod bulk;
mod describe;
mod door;
mod events;
mod guard;
mod list;
mod pages;
mod query;
mod receivers;
mod reload;
mod replicas;
mod session;
mod stats;

pub use door::{Door, OwnRules, Pages};
pub use reload::{ReloadOrder, ReloadOrders, Reloaded, Reloads, reloads};

/// Seconds that an idle connection stays open.
const KEEPALIVE: u64 = 60;

/// The admin listener's application, to be added to the server as a service on `admin.address`.
#[derive(Clone)]
pub struct AdminApp {
    pub(super) router: Router,
    entrance: Arc<ArcSwap<Entrance>>,
}

/// What the admin face is made of.
#[derive(Clone)]
pub struct AdminParts {
    /// `[admin]`
    pub config: Admin,
    /// `server.public_prefix`: where the pages are that explain problems.
    pub public_prefix: String,
    /// `server.public_url`
    pub public_url: String,
    /// Where runs are kept.
    pub store: Arc<dyn Store>,
    /// What can be cancelled.
    pub live: LiveRuns,
    /// What is counted.
    pub metrics: Metrics,
    /// What waits for receivers.
    pub lines: Lines,
    /// Tells the time.
    pub clock: SharedClock,
    /// Who reads the configuration again, if anybody does.
    pub reloads: Option<Reloads>,
}

pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) readiness: Arc<Readiness>,
    live: LiveRuns,
    metrics: Metrics,
    lines: Lines,
    clock: SharedClock,
    prefix: String,
    public_url: String,
    entrance: Arc<ArcSwap<Entrance>>,
    started_at: Timestamp,
    /// None if nobody reloads.
    reloads: Option<Reloads>,
    /// Places for event streams.
    streams: Arc<Semaphore>,
}

/// Who is let in.
struct Entrance {
    /// In lower case.
    hosts: Vec<String>,
    /// None if everybody who reaches the listener may use it.
    lock: Option<Lock>,
}

impl Entrance {
    fn new(config: Admin, store: &dyn Store) -> Self {
        let lock = config.token.map(|token| Lock {
            sessions: Sessions::new(&store.identity().key, &token),
            token,
            log_ins: Semaphore::new(pages::LOG_INS),
        });
        let hosts = config.hosts.iter();
        Self {
            hosts: hosts.map(|host| host.to_ascii_lowercase()).collect(),
            lock,
        }
    }
}

/// What keeps others out.
struct Lock {
    token: Secret,
    sessions: Sessions,
    log_ins: Semaphore,
}

/// What a resource answers: refusals are made into documents where all answers pass.
type Answer = Result<Response, Problem>;

impl AdminApp {
    /// The admin face of these parts, with pages that are made of its API.
    pub fn new(
        parts: AdminParts,
        readiness: Arc<Readiness>,
        pages: impl FnOnce(Door) -> Pages,
    ) -> Self {
        let entrance = Entrance::new(parts.config, parts.store.as_ref());
        let entrance = Arc::new(ArcSwap::from_pointee(entrance));
        let shared = Arc::new(Shared {
            entrance: Arc::clone(&entrance),
            started_at: parts.clock.now(),
            reloads: parts.reloads,
            streams: Arc::new(Semaphore::new(events::STREAMS)),
            store: parts.store,
            readiness,
            live: parts.live,
            metrics: parts.metrics,
            lines: parts.lines,
            clock: parts.clock,
            prefix: parts.public_prefix,
            public_url: parts.public_url,
        });
        Self {
            router: router(&shared, pages),
            entrance,
        }
    }

    /// Lets in by another `[admin]` from now on. Another token ends all sessions.
    pub fn renew(&self, config: Admin, store: &dyn Store) {
        self.entrance.store(Arc::new(Entrance::new(config, store)));
    }
}

fn router(shared: &Arc<Shared>, pages: impl FnOnce(Door) -> Pages) -> Router {
    let (api, described) = OpenApiRouter::with_openapi(describe::beginning())
        .routes(routes!(list::list))
        .routes(routes!(list::record))
        .routes(routes!(list::response))
        .routes(routes!(acts::cancel))
        .routes(routes!(acts::redeliver))
        .routes(routes!(acts::repeat))
        .routes(routes!(bulk::cancel))
        .routes(routes!(bulk::redeliver))
        .routes(routes!(receivers::breakers))
        .routes(routes!(replicas::replicas))
        .routes(routes!(stats::stats))
        .routes(routes!(events::events))
        .routes(routes!(reload::reload))
        .routes(routes!(backup::backup))
        .split_for_parts();
    let document = describe::document(described);
    let document = async move || {
        let kind = HeaderValue::from_static("application/json");
        ([(CONTENT_TYPE, kind)], document.clone()).into_response()
    };
    let words = middleware::from_fn_with_state(shared.clone(), in_words);
    let admitted = middleware::from_fn_with_state(shared.clone(), guard::admitted);
    let asked = api.clone().layer(words.clone()).with_state(shared.clone());
    let pages = pages(Door::new(asked, Arc::clone(&shared.entrance)));
    let guarded = api
        .route("/openapi.json", get(document))
        .route("/metrics", get(metrics_text))
        .with_state(shared.clone())
        .merge(pages.guarded)
        .method_not_allowed_fallback(wrong_method)
        .layer(admitted);
    let mut router = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/login", get(pages::log_in_page).post(pages::log_in))
        .route("/logout", post(pages::log_out));
    if !shared.prefix.is_empty() {
        let explained = Router::new().route("/problems/{code}", get(problems::page));
        router = router.nest(&shared.prefix, explained);
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared.clone())
        .merge(guarded)
        .merge(pages.open)
        .fallback(nothing)
        .layer(words)
        .layer(middleware::from_fn_with_state(
            shared.clone(),
            guard::for_this_host,
        ))
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
        if let Err(error) = bridge::answer(&mut session, self.router.clone(), target).await {
            tracing::debug!(%error, "a request to the admin listener was not answered whole");
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Makes a document of the problem that an answer stands for.
async fn in_words(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let mut refusal = super::answer::refusal(&problem, &shared.prefix);
    // `Allow` of a wrong method, the challenge of a missing token.
    for (name, value) in response.headers() {
        if !refusal.headers().contains_key(name) {
            refusal.headers_mut().append(name, value.clone());
        }
    }
    refusal
}

async fn nothing() -> Problem {
    let says = "There is no such resource on the admin listener. GET /openapi.json describes those that there are.";
    Problem::new(Code::NoRoute, says)
}

async fn wrong_method() -> Problem {
    let says = "The resource does not take this method; Allow names those that it takes.";
    Problem::new(Code::MethodNotAllowed, says)
}

impl Shared {
    /// Tells the next attempt of a run's delivery as its receiver's breaker has it.
    fn reschedule(&self, run: &mut Run) {
        hold::reschedule(&self.lines, run);
    }
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
