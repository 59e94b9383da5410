//! What pages have done: to one run, or to all that a filter takes, once it is known how many those are.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::{
    ask::{self, Refused},
    list::run_target,
    page::{self, Frame},
    words,
};
use crate::{api::Door, model::record::Record};

/// `POST /runs/{id}/{act}`: back to the run, or to the new one that repeats it.
pub(super) async fn on_one(
    State(door): State<Door>,
    Path((id, act)): Path<(String, String)>,
) -> Response {
    if !["cancel", "redeliver", "repeat"].contains(&&*act) {
        return unknown().into_response();
    }
    let target = format!("{}/{act}", run_target(&id));
    match ask::post::<Record>(&door, &target).await {
        Ok(run) => Redirect::to(&format!("/runs/{}", run.run_id)).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// What the API says of an act on many.
#[derive(Debug, Deserialize)]
struct Done {
    matched: u64,
    changed: u64,
    skipped: u64,
    more: bool,
    next_cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "act.html")]
struct Page {
    frame: Frame,
    act: Act,
    /// The filter as a query.
    filter: String,
    matched: String,
    /// None while it is only asked.
    done: Option<(String, String)>,
    /// The query that goes on.
    more: Option<String>,
}

/// `GET /act/{act}`: how many it would be.
pub(super) async fn confirm(
    State(door): State<Door>,
    Path(act): Path<String>,
    target: Uri,
) -> Response {
    show(&door, &act, target.query().unwrap_or_default(), true).await
}

/// `POST /act/{act}`: does it.
pub(super) async fn on_all(
    State(door): State<Door>,
    Path(act): Path<String>,
    target: Uri,
) -> Response {
    show(&door, &act, target.query().unwrap_or_default(), false).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Act {
    name: &'static str,
    target: &'static str,
    /// What it is done to.
    what: &'static str,
    is_destructive: bool,
}

const ACTS: [Act; 2] = [
    Act {
        name: "cancel",
        target: "/api/v1/runs/cancel",
        what: "unfinished runs",
        is_destructive: true,
    },
    Act {
        name: "redeliver",
        target: "/api/v1/deliveries/redeliver",
        what: "deliveries",
        is_destructive: false,
    },
];

async fn show(door: &Door, act: &str, filter: &str, dry_run: bool) -> Response {
    let Some(act) = ACTS.into_iter().find(|known| known.name == act) else {
        return unknown().into_response();
    };
    let target = format!("{}?{filter}&dry_run={dry_run}", act.target);
    let done = match ask::post::<Done>(door, &target).await {
        Ok(done) => done,
        Err(refused) => return refused.into_response(),
    };
    let more = done.next_cursor.filter(|_| done.more && !dry_run);
    let page = Page {
        frame: Frame {
            here: "runs",
            has_sessions: door.has_sessions(),
        },
        act,
        matched: words::number(done.matched),
        done: (!dry_run).then(|| (words::number(done.changed), words::number(done.skipped))),
        more: more.map(|cursor| {
            let pairs = url::form_urlencoded::parse(filter.as_bytes()).into_owned();
            let kept: Vec<_> = pairs.filter(|(name, _)| name != "cursor").collect();
            let kept = kept.iter().map(|(name, value)| (&**name, &**value));
            words::query(kept.chain([("cursor", &*cursor)]))
        }),
        filter: filter.to_owned(),
    };
    page::html(StatusCode::OK, &page)
}

fn unknown() -> Refused {
    Refused {
        status: 404,
        title: "There is no such page".to_owned(),
        detail: "Runs can be cancelled, redelivered and repeated.".to_owned(),
    }
}
