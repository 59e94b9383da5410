//! The demo's application: it knows nothing of runs, and takes two seconds for a report.

use std::time::Duration;

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde_json::{Value, json};

const WORK: Duration = Duration::from_secs(2);

pub(super) fn router() -> Router {
    Router::new()
        .route("/hello", get(|| async { "hello\n" }))
        .route("/report", post(report).get(report))
}

async fn report() -> Json<Value> {
    tokio::time::sleep(WORK).await;
    Json(json!({ "report": "sales", "rows": 3, "total": 42 }))
}
