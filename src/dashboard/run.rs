//! A run's page: what happened to it, what it answered, and what can be done with it.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
};

use super::{
    ask,
    list::run_target,
    page::{self, Frame},
    preview::{self, Preview},
    timeline::{self, Event},
    words::{self, Badge},
};
use crate::{api::Door, model::record::Record};

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    frame: Frame,
    part: Part,
}

/// What is refreshed while anything can still change.
#[derive(Template)]
#[template(path = "run_part.html")]
struct Part {
    badge: Badge,
    mode: &'static str,
    delivery: Option<Badge>,
    queued: String,
    took: String,
    grace: String,
    size: String,
    events: Vec<Event>,
    preview: Option<Preview>,
    is_live: bool,
    can_cancel: bool,
    can_redeliver: bool,
    run: Record,
}

/// `GET /runs/{id}`; what htmx asks for is the part that changes.
pub(super) async fn page(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let run = match ask::get::<Record>(&door, &run_target(&id)).await {
        Ok(run) => run,
        Err(refused) => return refused.into_response(),
    };
    let mut shown = None;
    if run.success.is_some() {
        let target = format!("{}/response", run_target(&run.run_id));
        shown = Some(preview::of(door.ask(Method::GET, &target).await).await);
    }
    let part = Part::of(run, shown);
    if headers.contains_key("hx-request") {
        return page::html(StatusCode::OK, &part);
    }
    let frame = Frame {
        here: "runs",
        has_sessions: door.has_sessions(),
    };
    page::html(StatusCode::OK, &Page { frame, part })
}

impl Part {
    fn of(run: Record, preview: Option<Preview>) -> Self {
        let is_pending = run
            .delivery
            .as_ref()
            .is_some_and(|it| it.state == "pending");
        let size = run.response.as_ref().map(|response| response.bytes);
        Self {
            badge: words::of_run(&run),
            mode: words::mode(&run),
            delivery: run.delivery.as_ref().map(words::of_delivery),
            queued: words::took(run.queued_ms),
            took: words::took(run.duration_ms),
            grace: words::took(Some(run.grace_period_s * 1000)),
            size: size.map(words::bytes).unwrap_or_default(),
            events: timeline::of(&run),
            preview,
            is_live: run.success.is_none() || is_pending,
            can_cancel: run.success.is_none(),
            can_redeliver: run.delivery.is_some(),
            run,
        }
    }
}

/// `GET /runs/{id}/response`: the body as a file. Whatever it is, a browser only saves it.
pub(super) async fn download(State(door): State<Door>, Path(id): Path<String>) -> Response {
    let run = match ask::get::<Record>(&door, &run_target(&id)).await {
        Ok(run) => run,
        Err(refused) => return refused.into_response(),
    };
    let target = format!("{}/response", run_target(&run.run_id));
    let stored = door.ask(Method::GET, &target).await;
    let length = stored.headers().get(CONTENT_LENGTH).cloned();
    let mut response = Response::new(stored.into_body());
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, kind);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    }
    // An id is hexadecimal digits and hyphens.
    let name = format!("attachment; filename=\"{}{}\"", run.run_id, extension(&run));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    response
}

fn extension(run: &Record) -> &'static str {
    let kind = run
        .response
        .as_ref()
        .and_then(|it| it.content_type.as_deref());
    let kind = kind.unwrap_or_default().split(';').next();
    match kind.unwrap_or_default().trim() {
        "application/json" | "application/problem+json" => ".json",
        "text/plain" => ".txt",
        "text/csv" => ".csv",
        "text/html" => ".html",
        "application/pdf" => ".pdf",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        _ => ".bin",
    }
}
