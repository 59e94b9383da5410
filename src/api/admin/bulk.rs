//! Acting on all runs that a filter takes: in pieces, and a bounded number in one call.

use std::sync::Arc;

use axum::extract::State;
use futures::future;
use http::{StatusCode, request::Parts};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer, Shared, describe,
    query::{
        ALL, CURSOR, DELIVERY, DIALECT, DRY_RUN, Given, HOST, NAME, Parameter, REASON, ROUTE,
        SINCE, STATE, SUCCESS, UNFINISHED, UNTIL, invalid,
    },
};
use crate::{
    api::answer,
    model::{delivery::DeliveryState, filter::Filter, id::RunId, problem::Problem, run::RunState},
    store::{Cancelled, Page, Redelivered},
};

/// What can be cancelled by.
pub(super) static OF_CANCEL: [&Parameter; 9] = [
    &UNFINISHED,
    &ROUTE,
    &NAME,
    &DIALECT,
    &SINCE,
    &UNTIL,
    &CURSOR,
    &DRY_RUN,
    &ALL,
];
/// What can be redelivered by.
pub(super) static OF_REDELIVER: [&Parameter; 13] = [
    &DELIVERY, &HOST, &STATE, &SUCCESS, &REASON, &ROUTE, &NAME, &DIALECT, &SINCE, &UNTIL, &CURSOR,
    &DRY_RUN, &ALL,
];
/// Those that narrow nothing down.
static NO_FILTER: [&Parameter; 3] = [&CURSOR, &DRY_RUN, &ALL];

/// Runs that are changed in one piece.
const PIECE: usize = 200;
/// Runs that one call changes at most.
const MOST: u64 = 10_000;
/// Pages that one call reads at most, of [`crate::store::LIST_MAX`] rows each.
const PAGES: usize = 100;

/// What became of the runs that a filter takes.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Done {
    /// Whether nothing was changed.
    dry_run: bool,
    /// How many runs the filter takes: in a dry run all of them (among the newest 2,000,000), else those that this call
    /// came to.
    matched: u64,
    /// How many were changed.
    changed: u64,
    /// How many were not: they had changed otherwise in the meantime, or could not be changed.
    skipped: u64,
    /// Whether there may be more: ask again with `next_cursor`.
    more: bool,
    /// Where to go on.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Cancels the unfinished runs that meet all conditions, the newest first: at most 10,000 in one call.
#[utoipa::path(post, path = "/api/v1/runs/cancel", operation_id = "cancel_runs", tag = "runs", params(describe::OfCancel),
    responses((status = 200, description = "What was done.", body = Done)))]
pub(super) async fn cancel(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    let given = shared.read(&request, &OF_CANCEL)?;
    let mut filter = asked(&given)?;
    if let Some(filter) = &mut filter
        && filter.states.is_empty()
    {
        filter.states = vec![RunState::Queued, RunState::Running];
    }
    shared.for_all(&given, filter, Act::Cancel).await
}

/// Begins new rounds of attempts for the deliveries that meet all conditions (dead ones, unless `delivery` says
/// otherwise), the newest first: at most 10,000 in one call.
#[utoipa::path(post, path = "/api/v1/deliveries/redeliver", operation_id = "redeliver_runs", tag = "deliveries", params(describe::OfRedeliver),
    responses((status = 200, description = "What was done.", body = Done)))]
pub(super) async fn redeliver(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    let given = shared.read(&request, &OF_REDELIVER)?;
    let mut filter = asked(&given)?;
    if let Some(filter) = &mut filter {
        filter.delivery.get_or_insert(DeliveryState::Dead);
    }
    shared.for_all(&given, filter, Act::Redeliver).await
}

#[derive(Clone, Copy)]
enum Act {
    Cancel,
    Redeliver,
}

/// The filter, if it was said which runs are meant.
fn asked(given: &Given) -> Result<Option<Filter>, Problem> {
    if given.is_empty_but(&NO_FILTER) && given.flag(&ALL) != Some(true) {
        return Err(invalid(
            "No condition says which ones are meant. Add one, like route or since, or all=true for all of them; \
             dry_run=true says how many there are.",
        ));
    }
    Ok(given.filter())
}

impl Shared {
    async fn for_all(&self, given: &Given, filter: Option<Filter>, act: Act) -> Answer {
        let dry_run = given.flag(&DRY_RUN) == Some(true);
        let mut done = Done {
            dry_run,
            ..Done::default()
        };
        if let Some(filter) = filter {
            if dry_run {
                done.matched = self.store.count(filter).await.map_err(unreadable)?;
            } else {
                self.change(&mut done, filter, given.cursor(), act).await?;
                tracing::info!(
                    act = act.as_str(),
                    changed = done.changed,
                    skipped = done.skipped,
                    more = done.more,
                    "runs were changed by filter"
                );
            }
        }
        Ok(answer::json(StatusCode::OK, &done))
    }

    async fn change(
        &self,
        done: &mut Done,
        filter: Filter,
        mut before: Option<RunId>,
        act: Act,
    ) -> Result<(), Problem> {
        for _ in 0..PAGES {
            match self.piece(done, &filter, before, act).await {
                Ok(next) => before = next,
                Err(problem) if done.matched == 0 => return Err(problem),
                // What was done is told, and where to go on.
                Err(_) => break,
            }
            if before.is_none() || done.matched >= MOST {
                break;
            }
        }
        done.more = before.is_some();
        done.next_cursor = before.map(|id| id.to_string());
        Ok(())
    }

    /// Changes one page of runs; returns where the next one begins.
    async fn piece(
        &self,
        done: &mut Done,
        filter: &Filter,
        before: Option<RunId>,
        act: Act,
    ) -> Result<Option<RunId>, Problem> {
        let page = Page {
            before,
            skip: 0,
            limit: PIECE,
        };
        let listed = self.store.list(filter.clone(), page).await;
        let listed = listed.map_err(unreadable)?;
        let ids: Vec<_> = listed.runs.iter().map(|run| run.id).collect();
        let matched = ids.len() as u64;
        let changed = match act {
            Act::Cancel => self.cancel_all(ids).await?,
            Act::Redeliver => self.redeliver_all(ids).await?,
        };
        done.matched += matched;
        done.changed += changed;
        done.skipped += matched - changed;
        Ok(listed.next)
    }

    /// All at once, so that one commit takes them all.
    async fn cancel_all(&self, ids: Vec<RunId>) -> Result<u64, Problem> {
        let cancelled = ids.into_iter().map(|id| self.cancel(id));
        let (mut changed, mut failed) = (0, None);
        for cancelled in future::join_all(cancelled).await {
            match cancelled {
                Ok(Cancelled::Now(_)) => changed += 1,
                Ok(_) => {}
                Err(problem) => failed = Some(problem),
            }
        }
        failed.filter(|_| changed == 0).map_or(Ok(changed), Err)
    }

    async fn redeliver_all(&self, ids: Vec<RunId>) -> Result<u64, Problem> {
        let redelivered = self.redeliver(ids).await?;
        let begun = redelivered.iter();
        let begun = begun.filter(|one| matches!(one, Redelivered::Now(_)));
        Ok(begun.count() as u64)
    }
}

impl Act {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Redeliver => "redeliver",
        }
    }
}

fn unreadable(error: crate::store::StoreError) -> Problem {
    tracing::error!(%error, "runs cannot be listed");
    answer::unavailable()
}
