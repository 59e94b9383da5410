//! Who shares the store, and the days that it is kept in.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};

use super::{
    ask,
    page::{self, Frame},
    words::{self, Badge},
};
use crate::{
    api::Door,
    model::{
        replica::{Day, DayState, Replica, ReplicaState, Sharing},
        time::Timestamp,
    },
};

#[derive(Template)]
#[template(path = "replicas.html")]
struct Page {
    frame: Frame,
    part: Part,
}

/// What is refreshed.
#[derive(Template)]
#[template(path = "replicas_part.html")]
struct Part {
    replicas: Vec<ReplicaRow>,
    days: Vec<DayRow>,
}

struct ReplicaRow {
    name: String,
    this_one: bool,
    badge: Badge,
    version: String,
    started_at: Timestamp,
    heartbeat_at: Timestamp,
    runs: String,
    deliveries: String,
}

struct DayRow {
    begins_at: Timestamp,
    ends_at: Timestamp,
    badge: Badge,
    runs: String,
    size: String,
}

/// `GET /replicas`; what htmx asks for is the part that changes.
pub(super) async fn page(State(door): State<Door>, headers: HeaderMap) -> Response {
    let part = match ask::get::<Sharing>(&door, "/api/v1/replicas").await {
        Ok(sharing) => Part {
            replicas: sharing.replicas.into_iter().map(of_replica).collect(),
            days: sharing.days.into_iter().rev().map(of_day).collect(),
        },
        Err(refused) => return refused.into_response(),
    };
    if headers.contains_key("hx-request") {
        return page::html(StatusCode::OK, &part);
    }
    let frame = Frame {
        here: "replicas",
        has_sessions: door.has_sessions(),
    };
    page::html(StatusCode::OK, &Page { frame, part })
}

fn of_replica(replica: Replica) -> ReplicaRow {
    let class = match replica.state {
        ReplicaState::Alive => "good",
        ReplicaState::Silent => "busy",
        ReplicaState::Fenced => "bad",
    };
    ReplicaRow {
        name: replica.name,
        this_one: replica.this_one,
        badge: badge(class, replica.state.as_str()),
        version: replica.version,
        started_at: replica.started_at,
        heartbeat_at: replica.heartbeat_at,
        runs: words::number(replica.runs),
        deliveries: words::number(replica.deliveries),
    }
}

fn of_day(day: Day) -> DayRow {
    let class = match day.state {
        DayState::Ahead => "idle",
        DayState::Kept => "good",
        DayState::Dropping => "busy",
        DayState::Dropped => "off",
    };
    DayRow {
        begins_at: day.begins_at,
        ends_at: day.ends_at,
        badge: badge(class, day.state.as_str()),
        runs: day.runs.map_or_else(|| "–".to_owned(), words::number),
        size: words::bytes(day.bytes),
    }
}

fn badge(class: &'static str, word: &str) -> Badge {
    Badge {
        class,
        word: word.to_owned(),
        note: String::new(),
    }
}
