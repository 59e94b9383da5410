//! Looking at runs: the list, one record with its logs, one response.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::{StatusCode, request::Parts};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer, Shared, describe,
    query::{
        CURSOR, DELIVERY, DIALECT, Given, HOST, LIMIT, NAME, Parameter, REASON, ROUTE, SINCE,
        STATE, SUCCESS, UNTIL,
    },
};
use crate::{
    api::{
        answer, replay,
        runs::{Id, parse},
    },
    model::{
        id::RunId,
        problem::{Code, Problem},
        run::{Record, Run},
    },
    store::{Found, Page},
};

/// What a list can be asked for.
pub(super) static PARAMETERS: [&Parameter; 12] = [
    &STATE, &SUCCESS, &REASON, &ROUTE, &NAME, &DIALECT, &SINCE, &UNTIL, &DELIVERY, &HOST, &LIMIT,
    &CURSOR,
];

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct RunList<'a> {
    /// The newest first.
    runs: Vec<Record<'a>>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The runs that meet all conditions, the newest first. A page may be short, or empty, and still have a next one: at
/// most 50,000 runs are looked at for each.
#[utoipa::path(get, path = "/api/v1/runs", operation_id = "list_runs", tag = "runs", params(describe::OfList),
    responses((status = 200, description = "A page of runs.", body = RunList)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    let given = shared.read(&request, &PARAMETERS)?;
    let page = Page {
        before: given.cursor(),
        skip: 0,
        limit: given.number(&LIMIT) as usize,
    };
    let (mut runs, mut next) = (Vec::new(), None);
    if let Some(filter) = given.filter() {
        let listed = shared.store.list(filter, page).await;
        let listed = listed.map_err(|error| {
            tracing::error!(%error, "runs cannot be listed");
            answer::unavailable()
        })?;
        (runs, next) = (listed.runs, listed.next);
    }
    for run in &mut runs {
        shared.reschedule(run);
    }
    let list = RunList {
        runs: runs.iter().map(Run::record).collect(),
        next_cursor: next.map(|id| id.to_string()),
    };
    Ok(answer::json(StatusCode::OK, &list))
}

/// One run, with each attempt of its upstream call (`attempts_log`) and of its delivery (`delivery.attempts_log`).
#[utoipa::path(get, path = "/api/v1/runs/{id}", operation_id = "get_run", tag = "runs",
    params(("id" = String, Path, format = "uuid", description = "The run's id, with or without hyphens.")),
    responses((status = 200, description = "The run.", body = Record)))]
pub(super) async fn record(State(shared): State<Arc<Shared>>, id: Id, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let run = find(&shared, id).await?;
    let attempts = shared.store.attempts(run.id).await.map_err(|error| {
        tracing::error!(run_id = %run.id, %error, "attempts cannot be looked up");
        answer::unavailable()
    })?;
    let record = run.record().with_attempts(&attempts);
    Ok(answer::about(&run, answer::json(StatusCode::OK, &record)))
}

/// The response of a run, replayed: its status, headers and body. While it is unfinished: 202 and the record.
#[utoipa::path(get, path = "/api/v1/runs/{id}/response", operation_id = "get_response", tag = "runs",
    params(("id" = String, Path, format = "uuid", description = "The run's id, with or without hyphens.")),
    responses(
        (status = "2XX", description = "The response. What the application answered has any status and type; our own answers have the header `Raincheck-Error`."),
        (status = "3XX", description = "The response."), (status = "4XX", description = "The response, or a problem."),
        (status = "5XX", description = "The response, or a problem.")))]
pub(super) async fn response(State(shared): State<Arc<Shared>>, id: Id, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let run = find(&shared, id).await?;
    if !run.state.is_final() {
        return Ok(answer::record(&run, StatusCode::ACCEPTED));
    }
    let stored = shared.store.response(run.id).await.map_err(|error| {
        tracing::error!(run_id = %run.id, %error, "a response cannot be looked up");
        answer::unavailable()
    })?;
    // It may have gone between the two look-ups.
    let stored = stored.ok_or_else(answer::expired)?;
    let store = shared.store.as_ref();
    // A relative `Location` is one of the application's own listener, whose name only `public_url` tells.
    let origin = (!shared.public_url.is_empty()).then_some(shared.public_url.as_str());
    let replayed = replay::replay(store, &run, stored, &request, origin).await;
    let replayed: Response = replayed.map_err(|error| {
        tracing::error!(run_id = %run.id, %error, "a stored response cannot be read");
        Problem::new(Code::Internal, "The stored response cannot be read.").about(run.id)
    })?;
    Ok(answer::about(&run, replayed))
}

/// The run that a path names, with the next attempt of its delivery as its receiver's breaker has it.
pub(super) async fn find(shared: &Shared, id: Id) -> Result<Box<Run>, Problem> {
    found(shared, parse(id).ok_or_else(no_such_run)?).await
}

/// The same, by its id.
pub(super) async fn found(shared: &Shared, id: RunId) -> Result<Box<Run>, Problem> {
    match shared.store.find(id).await {
        Ok(Found::Run(mut run)) => {
            shared.reschedule(&mut run);
            Ok(run)
        }
        Ok(Found::Unknown) => Err(no_such_run()),
        Ok(Found::Expired) => Err(answer::expired()),
        Err(error) => {
            tracing::error!(run_id = %id, %error, "a run cannot be looked up");
            Err(answer::unavailable())
        }
    }
}

/// There is no such run, and to operators that is no secret.
pub(super) fn no_such_run() -> Problem {
    Problem::new(Code::UnknownRun, "No run has this id.")
}

impl Shared {
    /// The parameters of a request.
    pub(super) fn read(
        &self,
        request: &Parts,
        known: &[&'static Parameter],
    ) -> Result<Given, Problem> {
        Given::read(request.uri.query(), known, self.clock.now())
    }
}
