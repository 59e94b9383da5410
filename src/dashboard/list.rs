//! The list of runs, with its filters in the URL.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{StatusCode, Uri};
use serde::Deserialize;
use url::form_urlencoded;

use super::{
    ask::{self, Refused},
    page::{self, Frame},
    words::{self, Badge},
};
use crate::{
    api::Door,
    model::{
        delivery::DeliveryState,
        record::Record,
        run::{Reason, RunState},
    },
};

/// A page of the list, as the API answers it.
#[derive(Debug, Deserialize)]
struct Listed {
    runs: Vec<Record>,
    next_cursor: Option<String>,
}

/// What is asked for: pairs of the URL, without empty ones.
#[derive(Debug, Default)]
struct Asked(Vec<(String, String)>);

impl Asked {
    fn of(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(
            pairs
                .filter(|(_, value)| !value.trim().is_empty())
                .collect(),
        )
    }

    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// As a query, without these names.
    fn without(&self, names: &[&str]) -> String {
        let pairs = self.0.iter().filter(|(name, _)| !names.contains(&&**name));
        words::query(pairs.map(|(name, value)| (&**name, &**value)))
    }

    fn is_narrowed(&self) -> bool {
        self.0
            .iter()
            .any(|(name, _)| !["cursor", "limit"].contains(&&**name))
    }

    /// Whether the API can cancel by this filter.
    fn can_cancel(&self) -> bool {
        let known = [
            "state", "route", "name", "dialect", "since", "until", "cursor", "limit",
        ];
        let unfinished = ["", "queued", "running", "queued,running"];
        self.is_narrowed()
            && self.0.iter().all(|(name, _)| known.contains(&&**name))
            && unfinished.contains(&self.get("state"))
    }
}

/// One run in the list.
#[derive(Template)]
#[template(path = "row.html")]
pub(super) struct Row {
    run: Record,
    badge: Badge,
    mode: &'static str,
    delivery: Option<Badge>,
    queued: String,
    took: String,
    status: String,
}

impl Row {
    fn of(run: Record) -> Self {
        let status = run.response.as_ref().map(|response| response.status);
        Self {
            badge: words::of_run(&run),
            mode: words::mode(&run),
            delivery: run.delivery.as_ref().map(words::of_delivery),
            queued: words::took(run.queued_ms),
            took: words::took(run.duration_ms),
            status: status.map_or_else(|| "–".to_owned(), |status| status.to_string()),
            run,
        }
    }
}

#[derive(Template)]
#[template(path = "list.html")]
struct Page {
    frame: Frame,
    asked: Asked,
    /// What is wrong with the filter.
    wrong: Option<String>,
    rows: Vec<Row>,
    /// Queries of other pages.
    older: Option<String>,
    newest: Option<String>,
    /// The query of events that concern this page; empty where it is not the newest one.
    live: String,
    /// The query that acts on all of the filter.
    all: String,
    choices: [Choice; 4],
    fields: [Field; 6],
}

/// A part of the filter with few values.
struct Choice {
    label: &'static str,
    name: &'static str,
    options: Vec<Value>,
}

struct Value {
    value: &'static str,
    text: &'static str,
    is_chosen: bool,
}

/// A part of the filter with any value.
struct Field {
    label: &'static str,
    name: &'static str,
    hint: &'static str,
    value: String,
}

/// `GET /runs`. A form sends empty fields too: they are taken out of the URL.
pub(super) async fn page(State(door): State<Door>, target: Uri) -> Response {
    let query = target.query().unwrap_or_default();
    let asked = Asked::of(query);
    let clean = asked.without(&[]);
    if form_urlencoded::parse(query.as_bytes()).count() != asked.0.len() {
        return Redirect::to(&format!("/runs?{clean}")).into_response();
    }
    let listed = ask::get::<Listed>(&door, &format!("/api/v1/runs?{clean}")).await;
    let (listed, wrong) = match listed {
        Ok(listed) => (listed, None),
        Err(Refused {
            status: 400,
            detail,
            ..
        }) => (
            Listed {
                runs: Vec::new(),
                next_cursor: None,
            },
            Some(detail),
        ),
        Err(refused) => return refused.into_response(),
    };
    let filter = asked.without(&["cursor"]);
    let older = listed.next_cursor.map(|cursor| {
        let cursor = words::query([("cursor", &*cursor)]);
        [filter.as_str(), &cursor]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("&")
    });
    let is_newest = asked.get("cursor").is_empty();
    let status = match wrong {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    let page = Page {
        frame: Frame {
            here: "runs",
            has_sessions: door.has_sessions(),
        },
        newest: (!is_newest).then(|| filter.clone()),
        live: if is_newest && wrong.is_none() {
            // Times are of the past; what happens from now on meets none but `since`.
            asked.without(&["cursor", "limit", "since", "until"])
        } else {
            "off".to_owned()
        },
        all: asked.without(&["cursor", "limit"]),
        rows: listed.runs.into_iter().map(Row::of).collect(),
        choices: choices(&asked),
        fields: fields(&asked),
        asked,
        wrong,
        older,
    };
    page::html(status, &page)
}

fn choices(asked: &Asked) -> [Choice; 4] {
    let choice = |label, name, values: &[(&'static str, &'static str)]| {
        let any = [("", "any")];
        let options = any.iter().chain(values).map(|&(value, text)| Value {
            value,
            text,
            is_chosen: asked.get(name) == value,
        });
        let options = options.collect();
        Choice {
            label,
            name,
            options,
        }
    };
    let itself = |word: &'static str| (word, word);
    let states = RunState::ALL.map(RunState::as_str).map(itself);
    let states: Vec<_> = [("queued,running", "unfinished")]
        .into_iter()
        .chain(states)
        .collect();
    [
        choice("State", "state", &states),
        choice(
            "Result",
            "success",
            &[("true", "success"), ("false", "failure")],
        ),
        choice(
            "Reason",
            "reason",
            &Reason::ALL.map(Reason::as_str).map(itself),
        ),
        choice(
            "Delivery",
            "delivery",
            &DeliveryState::ALL.map(DeliveryState::as_str).map(itself),
        ),
    ]
}

fn fields(asked: &Asked) -> [Field; 6] {
    let field = |label, name, hint| Field {
        label,
        name,
        hint,
        value: asked.get(name).to_owned(),
    };
    [
        field("Route", "route", ""),
        field("Name", "name", "/path or action"),
        field("Dialect", "dialect", ""),
        field("Receiver", "host", "host"),
        field("Since", "since", "-15m or a time"),
        field("Until", "until", "-5m or a time"),
    ]
}

/// `GET /runs/{id}/row`: one row, for a list that is live.
pub(super) async fn row(State(door): State<Door>, Path(id): Path<String>) -> Response {
    match ask::get::<Record>(&door, &run_target(&id)).await {
        Ok(run) => page::html(StatusCode::OK, &Row::of(run)),
        Err(refused) => refused.into_response(),
    }
}

/// The API's resource of a run. An id that is none leads to its refusal.
pub(super) fn run_target(id: &str) -> String {
    let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    format!("/api/v1/runs/{id}")
}
