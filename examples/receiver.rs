//! A webhook receiver of one's own: verifies each delivery and says what came. (`raincheck listen` is the tool; this
//! is the code that a Rust application needs.)
//!
//! `cargo run --example receiver -- 127.0.0.1:9000 whsec_…`

use std::{sync::Arc, time::SystemTime};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use raincheck::model::signature::{Checks, Verdict, read_secret};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let secrets: Result<_, _> = arguments.map(|text| read_secret(&text)).collect();
    let checks = Checks {
        secrets: secrets?,
        ..Checks::default()
    };
    let listener = TcpListener::bind(&address).await?;
    say(&format!("listening on http://{}", listener.local_addr()?));
    let router = Router::new()
        .fallback(post(receive))
        .with_state(Arc::new(checks));
    Ok(axum::serve(listener, router).await?)
}

async fn receive(State(checks): State<Arc<Checks>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("-")
    };
    let verdict = checks.verify(&headers, &body, now());
    say(&format!(
        "{} {} attempt {}: {} bytes, signature {verdict}",
        header("raincheck-run-id"),
        header("raincheck-run-state"),
        header("raincheck-delivery-attempt"),
        body.len(),
    ));
    if checks.is_empty() || matches!(verdict, Verdict::Verified(_)) {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    }
}

#[expect(clippy::disallowed_methods, reason = "an example is its own clock")]
fn now() -> raincheck::model::time::Timestamp {
    SystemTime::now().into()
}

#[expect(clippy::print_stdout, reason = "printing is what it is for")]
fn say(line: &str) {
    println!("{line}");
}
