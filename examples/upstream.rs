//! An application to put Raincheck in front of: it knows nothing of runs or webhooks.
//!
//! `cargo run --example upstream -- 127.0.0.1:8000`, then
//! `GET /hello`, `GET|POST /slow?ms=2000`, `POST /echo`, `GET /status/503`.

use std::{env, error::Error, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query},
    http::{HeaderMap, Method, StatusCode, Uri},
    routing::{any, get},
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Slow {
    #[serde(default)]
    ms: u64,
}

#[derive(Serialize)]
struct Echo {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let application = Router::new()
        .route("/hello", get(|| async { "hello\n" }))
        .route("/slow", any(slow))
        .route("/echo", any(echo))
        .route("/status/{code}", any(status));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    axum::serve(listener, application).await?;
    Ok(())
}

async fn slow(Query(slow): Query<Slow>) -> Json<serde_json::Value> {
    tokio::time::sleep(Duration::from_millis(slow.ms)).await;
    Json(serde_json::json!({ "slept_ms": slow.ms }))
}

async fn echo(method: Method, target: Uri, headers: HeaderMap, body: String) -> Json<Echo> {
    let headers = headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    Json(Echo {
        method: method.to_string(),
        target: target.to_string(),
        headers,
        body,
    })
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}
