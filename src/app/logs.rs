//! The log: lines for people on a terminal, JSON elsewhere; both on stderr.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

/// What is logged unless the environment says otherwise. What Pingora has to say of requests and handshakes is the
/// clients' doing, or said by us with the route; PostgreSQL gives notice of what was not there to be dropped.
const DEFAULT: &str = "info,pingora_proxy=off,pingora_core=warn,pingora_core::services::listening=off,tokio_postgres=warn";
/// Environment variables that say otherwise, in the syntax of tracing's `EnvFilter`.
const VARIABLES: [&str; 2] = ["RAINCHECK_LOG", "RUST_LOG"];

/// Starts logging. A second call, or one in a program that logs already, does nothing.
pub fn start() {
    let filter = VARIABLES
        .iter()
        .find_map(|name| EnvFilter::try_from_env(name).ok())
        .unwrap_or_else(|| EnvFilter::new(DEFAULT));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // It fails only if there is a log already.
    let _ = if std::io::stderr().is_terminal() {
        log.finish().try_init()
    } else {
        log.with_ansi(false)
            .json()
            .flatten_event(true)
            .finish()
            .try_init()
    };
}
