//! The client's side of HTTP, as the commands need it.

use std::{error::Error, time::Duration};

use http::header::CONTENT_TYPE;
use serde::Deserialize;

use super::{Exit, Failure, plain};
use crate::model::problem;

/// A server that takes longer to take a connection is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that is silent for longer has nothing to say; for what it need not wait for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest problem document that is read, in bytes.
const LONGEST_PROBLEM: usize = 64 * 1024;

/// Does the work of a command on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed.because(format!("no thread can be started: {error}")))?;
    let done = runtime.block_on(work);
    // A look-up of a name may still be under way.
    runtime.shutdown_background();
    done
}

/// Settings of every client: no redirect is followed, as what is answered is what is shown.
pub(super) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("raincheck/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
}

/// The failure to build one.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn no_client(error: reqwest::Error) -> Failure {
    Exit::Failed.because(format!("no HTTP client can be built: {}", cause(&error)))
}

/// What went wrong beneath it all, without the URL (it may hold a token).
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    plain::line(&deepest.to_string())
}

/// What a problem document (RFC 9457) says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    title: String,
    detail: String,
    /// Raincheck's code.
    pub(super) code: String,
}

impl Problem {
    /// Whether an answer is one.
    pub(super) fn is(response: &reqwest::Response) -> bool {
        let kind = response.headers().get(CONTENT_TYPE);
        kind.is_some_and(|kind| {
            kind.as_bytes()
                .starts_with(problem::CONTENT_TYPE.as_bytes())
        })
    }

    /// Reads the answer as one; empty if it is none.
    pub(super) async fn read(response: reqwest::Response) -> Self {
        match start_of(response, LONGEST_PROBLEM).await {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => Self::default(),
        }
    }

    /// What it says, for a person; on several lines if it says several things.
    pub(super) fn says(&self) -> String {
        let text = if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        };
        plain::text(text)
    }
}

/// The first `most` bytes of a body.
async fn start_of(mut response: reqwest::Response, most: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut start = Vec::new();
    while start.len() < most
        && let Some(chunk) = response.chunk().await?
    {
        start.extend_from_slice(&chunk[..chunk.len().min(most - start.len())]);
    }
    Ok(start)
}
