//! A store with runs in it, the public router before it, and short ways to ask it.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::{
    api::public::{Shared, router},
    config::{CallerEndpoints, Cors, Durability, OnSlow, Route, RouteWebhook, RunSettings},
    metrics::Metrics,
    model::{
        access,
        exchange::{self, StoredRequest, StoredResponse},
        id::RunId,
        policy::{Policy, Repeat, StatusSet, WebhookPolicy},
        retry::Next,
        run::{Access, End, Facts, Reason, RunState},
        time::{ManualClock, Timestamp},
    },
    store::{
        Accepted, NewRun, RunClaim, Settlement, Store,
        sqlite::{Settings, SqliteStore},
    },
    worker::live::LiveRuns,
};

pub(super) struct House {
    pub(super) store: Arc<dyn Store>,
    pub(super) live: LiveRuns,
    pub(super) metrics: Metrics,
    pub(super) clock: ManualClock,
    router: Router,
    _folder: tempfile::TempDir,
}

/// An answer, taken in whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Retention of the house's store.
pub(super) const RETENTION: Duration = Duration::from_secs(3600);

impl House {
    pub(super) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
        let metrics = Metrics::new().unwrap();
        let settings = Settings {
            path: folder.path().join("store"),
            durability: Durability::Relaxed,
            retention: RETENTION,
            max_bytes: 0,
            public_prefix: "/_raincheck".into(),
        };
        let store: Arc<dyn Store> =
            SqliteStore::open(settings, Arc::new(clock.clone()), Arc::new(metrics.clone()))
                .unwrap();
        let live = LiveRuns::default();
        let shared = Shared {
            store: store.clone(),
            live: live.clone(),
            metrics: metrics.clone(),
            prefix: "/_raincheck".into(),
            public_url: String::new(),
            routes: vec![
                route("app", None),
                route("open", Some("https://open.example")),
                route("shop", Some("https://shop.example")),
            ],
            stopping: tokio_util::sync::CancellationToken::new(),
        };
        Self {
            router: router(Arc::new(shared)),
            store,
            live,
            metrics,
            clock,
            _folder: folder,
        }
    }

    /// Accepts a run on `route` that is shown as `access` says, and starts it.
    pub(super) async fn start(&self, method: &str, route: &str, access: Access) -> Box<RunClaim> {
        let new = NewRun {
            id: self.store.next_id(),
            policy: Arc::new(policy(route)),
            facts: facts(method, access),
            request: StoredRequest {
                head: Bytes::from(format!("{method} /jobs/run HTTP/1.1\r\nHost: a\r\n\r\n")),
                body: exchange::Body::EMPTY,
                client: None,
                tls: false,
                webhook_secret: None,
            },
            key: None,
            accepted_at: Timestamp::from_millis(1_790_000_000_000),
            start: true,
        };
        match self.store.accept(new).await.unwrap() {
            Accepted::New(Some(claim)) => claim,
            other => panic!("the run was not started: {other:?}"),
        }
    }

    pub(super) async fn end(&self, claim: RunClaim, end: End, response: Option<StoredResponse>) {
        let settlement = Settlement {
            began: claim.run.accepted_at,
            outcome: crate::model::retry::Outcome::Answered {
                status: 200,
                retry_after: None,
            },
            progress: claim.run.progress,
            next: Next::End(end),
            response,
            claim_delivery: false,
        };
        self.store.settle_run(claim, settlement).await.unwrap();
    }

    /// A run by `method` that anybody may see, ended with this response.
    pub(super) async fn answered(&self, method: &str, head: &str, body: Bytes) -> RunId {
        let claim = self.start(method, "app", Access::Anybody).await;
        self.answer(claim, head, body).await
    }

    /// Ends a run with this response.
    pub(super) async fn answer(&self, claim: Box<RunClaim>, head: &str, body: Bytes) -> RunId {
        let id = claim.run.id;
        let mut writer = self.store.spool().writer(exchange::INLINE_MAX);
        writer.write(body).await.unwrap();
        let body = writer.finish().await.unwrap();
        let head = Bytes::from(format!("HTTP/1.1 {head}\r\n\r\n"));
        let end = if head.starts_with(b"HTTP/1.1 2") {
            End::Succeeded
        } else {
            End::Failed(Reason::UpstreamStatus)
        };
        self.end(*claim, end, Some(StoredResponse { head, body }))
            .await;
        id
    }

    pub(super) fn token(&self, id: RunId) -> String {
        access::token(&self.store.identity().key, id)
    }

    pub(super) fn owned_by(&self, authorization: &'static str) -> Access {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())]);
        access::access_of(&self.store.identity().key, &headers, &owner_headers())
    }

    /// Asks for `target` below the prefix, as a client of `https://api.example.com`.
    pub(super) async fn ask(&self, method: &str, target: &str, lines: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://api.example.com{target}"));
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let (parts, body) = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[]).await
    }
}

fn owner_headers() -> Vec<HeaderName> {
    vec![AUTHORIZATION, HeaderName::from_static("x-api-key")]
}

fn facts(method: &str, access: Access) -> Facts {
    Facts {
        dialect: "cerebrium".into(),
        asynchronous: true,
        name: "/jobs/run".into(),
        method: method.into(),
        path: "/jobs/run".into(),
        has_key: false,
        webhook_endpoint: None,
        depth: 0,
        traceparent: None,
        access,
    }
}

fn policy(route: &str) -> Policy {
    Policy {
        route: route.into(),
        response_grace_period: Duration::from_secs(900),
        max_queue_time: Duration::from_secs(900),
        repeat: Repeat::Idempotent,
        attempts: 1,
        retry_statuses: vec![503],
        success_statuses: StatusSet(vec![200..=399]),
        response_body: 1 << 20,
        webhook: WebhookPolicy {
            on: vec![RunState::Succeeded],
            schedule: vec![Duration::ZERO],
        },
    }
}

fn route(name: &str, origin: Option<&str>) -> Arc<Route> {
    let settings = RunSettings {
        policy: Arc::new(policy(name)),
        dialects: vec![],
        concurrency: 1,
        convert_after: None,
        on_slow: OnSlow::Convert,
        max_wait: Duration::from_secs(60),
        owner_headers: owner_headers(),
        idempotency_header: HeaderName::from_static("idempotency-key"),
        forward_control_params: false,
        async_parameter: "async".into(),
        webhook_parameter: "webhookEndpoint".into(),
        cors: origin.map(|origin| Cors {
            origins: vec![origin.into()],
            credentials: false,
            max_age: Duration::from_secs(600),
        }),
        webhook: RouteWebhook {
            endpoint: None,
            caller_endpoints: CallerEndpoints::Any,
            signing_secrets: vec![],
        },
    };
    Arc::new(Route {
        name: name.into(),
        host: None,
        path: "/".into(),
        upstream: name.into(),
        run: Some(Arc::new(settings)),
    })
}
