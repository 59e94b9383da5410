//! The API for pages that stand beside it, behind the same guard.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{Router, body::Body, response::Response};
use http::{Method, Request, StatusCode};
use tower::ServiceExt;

use super::Entrance;

/// The way from pages to the API: the same resources, without the guard that has let the page's request pass.
#[derive(Clone)]
pub struct Door {
    api: Router,
    entrance: Arc<ArcSwap<Entrance>>,
}

/// Pages of the admin listener.
pub struct Pages {
    /// Those behind the guard.
    pub guarded: Router,
    /// What everybody may load: no data.
    pub open: Router,
}

/// Marks a page's answer that has a content security policy of its own.
#[derive(Debug, Clone, Copy)]
pub struct OwnRules;

impl Door {
    pub(super) fn new(api: Router, entrance: Arc<ArcSwap<Entrance>>) -> Self {
        Self { api, entrance }
    }

    /// Whether browsers log in, and can log out.
    pub fn has_sessions(&self) -> bool {
        self.entrance.load().lock.is_some()
    }

    /// Asks for a resource by its path and query: `/api/v1/runs?limit=1`.
    pub async fn ask(&self, method: Method, target: &str) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .body(Body::empty());
        match request {
            Ok(request) => match self.api.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(_no_target) => {
                let mut response = Response::default();
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response
            }
        }
    }
}
