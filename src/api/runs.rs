//! The resources of one run: its record, its response, and its cancelling.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use http::{StatusCode, request::Parts};

use super::{answer, events, public::Shared, replay, sight, waiting::Wait};
use crate::{
    model::{
        id::RunId,
        problem::{Code, Problem},
        run::Run,
    },
    store::Cancelled,
};

/// The id in a request's path; what is no id names no run.
pub(super) type Id = Result<Path<String>, PathRejection>;

/// An answer, and the run that it is about if the asker may see one.
pub(super) type Answered = (Option<Box<Run>>, Response);

/// `GET /runs/{id}`
pub(super) async fn record(State(shared): State<Arc<Shared>>, id: Id, request: Parts) -> Response {
    let answered = match looked_at(&shared, id, &request).await {
        // Events wait for nothing: the first one says how the run stands.
        Ok((run, _)) if events::are_asked_for(&request.headers) => {
            let response = events::answer(&shared, &run);
            (Some(run), response)
        }
        Ok((run, wait)) => match wait.for_end(&shared, run).await {
            Ok(run) => {
                let response = applied(wait, answer::record(&run, looked_up(&run)));
                (Some(run), response)
            }
            Err(problem) => refused(&shared, &problem),
        },
        Err(problem) => refused(&shared, &problem),
    };
    shared.finish(&request, answered)
}

/// `GET /runs/{id}/response`
pub(super) async fn response(
    State(shared): State<Arc<Shared>>,
    id: Id,
    request: Parts,
) -> Response {
    let answered = match looked_at(&shared, id, &request).await {
        Ok((run, wait)) => match wait.for_end(&shared, run).await {
            Ok(run) => {
                let (run, response) = response_of(&shared, run, &request).await;
                (run, applied(wait, response))
            }
            Err(problem) => refused(&shared, &problem),
        },
        Err(problem) => refused(&shared, &problem),
    };
    shared.finish(&request, answered)
}

/// The run, if the asker may see it, and how long its end is waited for.
async fn looked_at(shared: &Shared, id: Id, request: &Parts) -> Result<(Box<Run>, Wait), Problem> {
    let run = sight::look(shared, parse(id), request).await?;
    Ok((run, Wait::asked(request)?))
}

fn applied(wait: Wait, mut response: Response) -> Response {
    if let Some(applied) = wait.applied() {
        response.headers_mut().append("preference-applied", applied);
    }
    response
}

/// `DELETE /runs/{id}`
pub(super) async fn cancel(State(shared): State<Arc<Shared>>, id: Id, request: Parts) -> Response {
    let answered = match sight::look(&shared, parse(id), &request).await {
        Ok(run) => cancelled(&shared, run.id).await,
        Err(problem) => refused(&shared, &problem),
    };
    shared.finish(&request, answered)
}

/// The id, if the path has one.
pub(super) fn parse(id: Id) -> Option<RunId> {
    id.ok()?.0.parse().ok()
}

fn looked_up(run: &Run) -> StatusCode {
    if run.state.is_final() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    }
}

fn refused(shared: &Shared, problem: &Problem) -> Answered {
    (None, answer::refusal(problem, &shared.prefix))
}

async fn response_of(shared: &Shared, run: Box<Run>, request: &Parts) -> Answered {
    if !run.state.is_final() {
        let response = answer::record(&run, StatusCode::ACCEPTED);
        return (Some(run), response);
    }
    let stored = match shared.store.response(run.id).await {
        Ok(Some(stored)) => stored,
        // It went between the two look-ups.
        Ok(None) => return refused(shared, &answer::expired()),
        Err(error) => {
            tracing::error!(run_id = %run.id, %error, "a response cannot be looked up");
            return refused(shared, &answer::unavailable());
        }
    };
    let origin = replay::origin(&shared.public_url, &request.uri);
    let store = shared.store.as_ref();
    let response = match replay::replay(store, &run, stored, request, origin.as_deref()).await {
        Ok(response) => answer::about(&run, response),
        Err(error) => {
            tracing::error!(run_id = %run.id, %error, "a stored response cannot be read");
            let problem = Problem::new(Code::Internal, "The stored response cannot be read.");
            answer::about(
                &run,
                answer::refusal(&problem.about(run.id), &shared.prefix),
            )
        }
    };
    (Some(run), response)
}

/// The store first, the upstream's connection after: a cancel that is answered holds through a crash.
async fn cancelled(shared: &Shared, id: RunId) -> Answered {
    let run = match shared.store.cancel(id).await {
        Ok(Cancelled::Now(run)) => {
            shared.live.cancel(id);
            shared.ended(&run);
            run
        }
        Ok(Cancelled::Before(run)) => run,
        Ok(Cancelled::Finished(run)) => {
            let problem = Problem::new(
                Code::RunFinished,
                format!(
                    "The run has {} already, so it cannot be cancelled.",
                    run.state.as_str()
                ),
            );
            let response = answer::refusal(&problem.about(id), &shared.prefix);
            let response = answer::about(&run, response);
            return (Some(run), response);
        }
        Ok(Cancelled::Unknown) => return refused(shared, &answer::unknown()),
        Ok(Cancelled::Expired) => return refused(shared, &answer::expired()),
        Err(error) => {
            tracing::error!(run_id = %id, %error, "a run cannot be cancelled");
            return refused(shared, &answer::unavailable());
        }
    };
    let response = answer::record(&run, StatusCode::ACCEPTED);
    (Some(run), response)
}
