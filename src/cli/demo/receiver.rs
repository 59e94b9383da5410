//! The demo's webhook receiver: it verifies each delivery's signature and passes it on.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::sync::mpsc;

use super::scene::Answer;
use crate::{
    cli::{Exit, Failure},
    model::signature::{Checks, Verdict},
    plugin::clock,
};

/// One delivery as it came.
pub(super) struct Told {
    pub(super) state: String,
    pub(super) attempt: String,
    /// What became of the signature.
    pub(super) signature: String,
    pub(super) body: String,
    genuine: bool,
}

impl Told {
    /// Whether the delivery is genuine, and tells what the caller would have had.
    pub(super) fn must_be(&self, answer: &Answer) -> Result<(), Failure> {
        if !self.genuine {
            return Err(Exit::Failed.because("the webhook's signature does not verify"));
        }
        if self.body == answer.body {
            Ok(())
        } else {
            Err(Exit::Failed
                .because("the webhook does not tell what the synchronous call answered"))
        }
    }
}

#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) checks: Checks,
    pub(super) told: mpsc::Sender<Told>,
}

pub(super) fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/hook", post(receive))
        .with_state(receiver)
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let verdict = receiver
        .checks
        .verify(&headers, &body, clock::system().now());
    let told = Told {
        state: header("raincheck-run-state"),
        attempt: header("raincheck-delivery-attempt"),
        genuine: matches!(verdict, Verdict::Verified(_)),
        signature: verdict.to_string(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    // With `--stay` nobody waits for later ones.
    let _ = receiver.told.try_send(told);
    StatusCode::NO_CONTENT
}
