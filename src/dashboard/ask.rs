//! What pages ask of the API, and what they show when it refuses.

use askama::Template;
use axum::{
    body::{Body, to_bytes},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};

use super::page::{self, Frame};
use crate::api::Door;

/// More than any document of the API: 200 records, or one run's attempts.
const LONGEST: usize = 4 * 1024 * 1024;

/// The API's refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) title: String,
    pub(super) detail: String,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    refused: &'a Refused,
}

/// Asks for a document.
pub(super) async fn get<T: DeserializeOwned>(door: &Door, target: &str) -> Result<T, Refused> {
    read(door.ask(Method::GET, target).await).await
}

/// Has something done.
pub(super) async fn post<T: DeserializeOwned>(door: &Door, target: &str) -> Result<T, Refused> {
    read(door.ask(Method::POST, target).await).await
}

/// The document that an answer is, or the refusal.
async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Refused> {
    let status = response.status();
    let body = document(response.into_body()).await;
    if !status.is_success() {
        let refused: Refused = serde_json::from_slice(&body).unwrap_or_default();
        return Err(Refused {
            status: status.as_u16(),
            ..refused
        });
    }
    serde_json::from_slice(&body).map_err(|error| {
        tracing::error!(%error, "a page cannot read what the API answers");
        Refused {
            status: 500,
            title: "An internal error".to_owned(),
            detail: "The page cannot be made; the log says why.".to_owned(),
        }
    })
}

async fn document(body: Body) -> Vec<u8> {
    let body = to_bytes(body, LONGEST).await;
    body.map(Into::into).unwrap_or_default()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let frame = Frame {
            here: "",
            has_sessions: false,
        };
        let refused = &self;
        page::html(status, &ProblemPage { frame, refused })
    }
}
