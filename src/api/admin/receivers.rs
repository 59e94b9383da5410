//! Receivers whose circuit breakers hold deliveries back.

use std::sync::Arc;

use axum::extract::State;
use http::{StatusCode, request::Parts};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Shared};
use crate::{
    api::answer,
    courier::ReceiverState,
    model::{breaker::BreakerState, time::Timestamp},
};

/// The breakers that are not closed.
#[derive(Serialize, ToSchema)]
pub(super) struct BreakerList {
    /// In the order of their receivers.
    breakers: Vec<Breaker>,
}

#[derive(Serialize, ToSchema)]
struct Breaker {
    /// Host and port.
    receiver: String,
    state: BreakerState,
    /// Failures in a row.
    failures: u32,
    /// When the next probe goes out, while it is open.
    #[schema(required)]
    probe_at: Option<Timestamp>,
    /// Deliveries that wait for it.
    pending: usize,
    /// Deliveries that are out.
    out: usize,
}

impl From<ReceiverState> for Breaker {
    fn from(it: ReceiverState) -> Self {
        Self {
            receiver: it.receiver,
            state: it.state,
            failures: it.failures,
            probe_at: it.probe_at,
            pending: it.pending,
            out: it.out,
        }
    }
}

/// Receivers whose circuit breakers are not closed, as this process sees them.
#[utoipa::path(get, path = "/api/v1/breakers", operation_id = "list_breakers", tag = "deliveries",
    responses((status = 200, description = "The breakers that are not closed.", body = BreakerList)))]
pub(super) async fn breakers(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let troubled = shared.lines.troubled().into_iter();
    let list = BreakerList {
        breakers: troubled.map(Breaker::from).collect(),
    };
    Ok(answer::json(StatusCode::OK, &list))
}
