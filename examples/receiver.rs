//! A webhook receiver for trying deliveries out: prints what arrives, verifies its signature, answers 200.
//!
//! `cargo run --example receiver -- 127.0.0.1:9000 whsec_…`

use std::{sync::Arc, time::SystemTime};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use raincheck::model::{
    secret::Secret,
    signature::{Signed, read_secret},
    time::Timestamp,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let secret = arguments
        .next()
        .map(|text| read_secret(&text))
        .transpose()?;
    let listener = TcpListener::bind(&address).await?;
    say(&format!("listening on http://{}", listener.local_addr()?));
    let router = Router::new()
        .fallback(post(receive))
        .with_state(Arc::new(secret));
    Ok(axum::serve(listener, router).await?)
}

async fn receive(
    State(secret): State<Arc<Option<Secret>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("-")
    };
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let verdict = match secret.as_ref() {
        None => Ok("unchecked"),
        Some(secret) => signed.verify(secret, &body, now()).map(|()| "genuine"),
    };
    say(&format!(
        "{} {} attempt {}: {} bytes, {}",
        header("raincheck-run-id"),
        header("raincheck-run-state"),
        header("raincheck-delivery-attempt"),
        body.len(),
        verdict.map_or_else(|error| error.to_string(), str::to_owned),
    ));
    if verdict.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    }
}

#[expect(clippy::disallowed_methods, reason = "an example is its own clock")]
fn now() -> Timestamp {
    SystemTime::now().into()
}

#[expect(clippy::print_stdout, reason = "printing is what it is for")]
fn say(line: &str) {
    println!("{line}");
}
