//! The admin listener's router before a house's store, and short ways to ask it.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::house::{Answer, House};
use crate::{
    api::{AdminApp, AdminParts, Door, Pages},
    config::Admin,
    model::secret::Secret,
    worker::readiness::Readiness,
};

pub(super) struct Office {
    pub(super) house: House,
    pub(super) readiness: Arc<Readiness>,
    app: AdminApp,
}

/// A name that the listener answers to.
pub(super) const HERE: (&str, &str) = ("host", "127.0.0.1:9180");

pub(super) fn office(token: Option<&str>) -> Office {
    let house = House::open();
    let readiness = Arc::new(Readiness::default());
    let config = Admin {
        address: "127.0.0.1:0".into(),
        hosts: vec!["Ops.Example.com".into()],
        token: token.map(|token| Secret::new(token.as_bytes())),
    };
    let parts = AdminParts {
        config,
        public_prefix: "/_raincheck".into(),
        public_url: String::new(),
        store: house.store.clone(),
        live: house.live.clone(),
        metrics: house.metrics.clone(),
        lines: house.lines.clone(),
        clock: Arc::new(house.clock.clone()),
        reloads: None,
    };
    let app = AdminApp::new(parts, readiness.clone(), no_pages);
    Office {
        house,
        readiness,
        app,
    }
}

/// A page stands in for all, and for what they load.
fn no_pages(_: Door) -> Pages {
    let page = || axum::routing::get(async || "a page");
    Pages {
        guarded: axum::Router::new()
            .route("/", page())
            .route("/runs", page()),
        open: axum::Router::new(),
    }
}

impl Office {
    /// Sends exactly this.
    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        lines: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let response = self.begin(method, target, lines, body).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends exactly this, and does not take the answer's body in.
    pub(super) async fn begin(
        &self,
        method: &str,
        target: &str,
        lines: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.app.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[HERE], "").await
    }

    pub(super) async fn post(&self, target: &str) -> Answer {
        self.send("POST", target, &[HERE], "").await
    }
}
