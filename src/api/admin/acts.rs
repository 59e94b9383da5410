//! Acting on one run: cancel, redeliver, repeat.

use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use http::{StatusCode, request::Parts};

use super::{
    Answer, Shared,
    list::{find, found, no_such_run},
};
use crate::{
    api::{
        answer,
        runs::{Id, parse},
    },
    model::{
        exchange::{Body, INLINE_MAX},
        id::RunId,
        problem::{Code, Problem},
        run::{Record, Run},
    },
    store::{Accepted, Cancelled, NewRun, Redelivered},
    worker::ended,
};

/// Ends a run as cancelled: a queued one at once, a running one by closing its upstream connection. A cancelled run
/// can be cancelled again.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", operation_id = "cancel_run", tag = "runs",
    params(("id" = String, Path, format = "uuid", description = "The run's id, with or without hyphens.")),
    responses((status = 202, description = "It is cancelled.", body = Record)))]
pub(super) async fn cancel(State(shared): State<Arc<Shared>>, id: Id, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let id = parse(id).ok_or_else(no_such_run)?;
    match shared.cancel(id).await? {
        Cancelled::Now(run) | Cancelled::Before(run) => Ok(shared.accepted(run)),
        Cancelled::Finished(run) => {
            let state = run.state.as_str();
            let says = format!("The run has {state} already, so it cannot be cancelled.");
            Err(Problem::new(Code::RunFinished, says).about(id))
        }
        Cancelled::Unknown => Err(no_such_run()),
        Cancelled::Expired => Err(answer::expired()),
    }
}

/// Begins a new round of attempts of a run's delivery, whatever became of it before: the first is due at once, with
/// the same `webhook-id`.
#[utoipa::path(post, path = "/api/v1/runs/{id}/redeliver", operation_id = "redeliver_run", tag = "deliveries",
    params(("id" = String, Path, format = "uuid", description = "The run's id, with or without hyphens.")),
    responses((status = 202, description = "It is due.", body = Record)))]
pub(super) async fn redeliver(State(shared): State<Arc<Shared>>, id: Id, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let id = parse(id).ok_or_else(no_such_run)?;
    let redelivered = shared.redeliver(vec![id]).await?.pop();
    match redelivered.unwrap_or(Redelivered::Unknown) {
        Redelivered::Now(run) => Ok(shared.accepted(run)),
        Redelivered::UnderWay(_) => {
            let says = "An attempt of the delivery is under way at this moment. Wait for its outcome, then ask again.";
            Err(Problem::new(Code::DeliveryUnderWay, says)
                .about(id)
                .retry_after(5))
        }
        Redelivered::NoDelivery(run) => {
            let says = if !run.state.is_final() {
                "The run has not ended. Its webhook is told when it has."
            } else if run.facts.webhook_endpoint.is_none() {
                "The run has no webhook."
            } else {
                "The route's webhook.on leaves out runs that end like this one, so it has no delivery."
            };
            Err(Problem::new(Code::NoDelivery, says).about(id))
        }
        Redelivered::Unknown => Err(no_such_run()),
        Redelivered::Expired => Err(answer::expired()),
    }
}

/// A new run from the request of one that is unfinished, under what the route promised that one. A finished run's
/// request is deleted, so it cannot be repeated: 409 `request-gone`.
#[utoipa::path(post, path = "/api/v1/runs/{id}/repeat", operation_id = "repeat_run", tag = "runs",
    params(("id" = String, Path, format = "uuid", description = "The run's id, with or without hyphens.")),
    responses((status = 202, description = "The new run.", body = Record)))]
pub(super) async fn repeat(State(shared): State<Arc<Shared>>, id: Id, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let run = find(&shared, id).await?;
    let unreadable = |error: String| {
        tracing::error!(run_id = %run.id, error, "a stored request cannot be read");
        answer::unavailable()
    };
    let stored = shared.store.request(run.id).await;
    let Some(mut stored) = stored.map_err(|error| unreadable(error.to_string()))? else {
        let says = "The run has ended, and its request was deleted then. Send the request again from where it came.";
        return Err(Problem::new(Code::RequestGone, says).about(run.id));
    };
    stored.body = shared
        .copied(&stored.body)
        .await
        .map_err(|error| unreadable(error.to_string()))?;
    let id = shared.store.next_id();
    let new = NewRun {
        id,
        policy: Arc::clone(&run.policy),
        facts: run.facts.clone(),
        request: stored,
        key: None,
        accepted_at: shared.clock.now(),
        start: false,
    };
    match shared.store.accept(new).await {
        Ok(Accepted::New(_)) => {}
        Ok(Accepted::Replayed(_) | Accepted::KeyReused(_)) => return Err(answer::unavailable()),
        Err(error) => {
            tracing::warn!(run_id = %run.id, %error, "a run cannot be repeated");
            return Err(answer::unavailable());
        }
    }
    let labels = [run.policy.route.as_str(), run.facts.dialect.as_str()];
    shared
        .metrics
        .runs_accepted
        .with_label_values(&labels)
        .inc();
    tracing::info!(run_id = %id, repeats = %run.id, "run accepted as a repetition");
    Ok(shared.accepted(found(&shared, id).await?))
}

impl Shared {
    /// The store first, the upstream's connection after: a cancel that is answered holds through a crash.
    pub(super) async fn cancel(&self, id: RunId) -> Result<Cancelled, Problem> {
        let cancelled = self.store.cancel(id).await.map_err(|error| {
            tracing::error!(run_id = %id, %error, "a run cannot be cancelled");
            answer::unavailable()
        })?;
        if let Cancelled::Now(run) = &cancelled {
            self.live.cancel(id);
            ended::finished(&self.metrics, run);
        }
        Ok(cancelled)
    }

    pub(super) async fn redeliver(&self, ids: Vec<RunId>) -> Result<Vec<Redelivered>, Problem> {
        self.store.redeliver(ids).await.map_err(|error| {
            tracing::error!(%error, "deliveries cannot be made again");
            answer::unavailable()
        })
    }

    fn accepted(&self, mut run: Box<Run>) -> axum::response::Response {
        self.reschedule(&mut run);
        answer::record(&run, StatusCode::ACCEPTED)
    }

    /// A copy of a stored body, in a spool file of its own if it is long.
    async fn copied(&self, body: &Body) -> std::io::Result<Body> {
        if let Body::Inline(bytes) = body {
            return Ok(Body::Inline(Bytes::clone(bytes)));
        }
        let spool = self.store.spool();
        let (mut reader, mut writer) = (spool.reader(body), spool.writer(INLINE_MAX));
        while let Some(piece) = reader.next().await? {
            writer.write(piece).await?;
        }
        writer.finish().await
    }
}
