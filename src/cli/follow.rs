//! Follows a run until it ends: long polls where the server knows them, ever rarer looks where it does not.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::{
    Exit, Failure,
    http::{self as client, Problem},
    record::Record,
    terminal::Spinner,
};

/// What is asked of the server: to hold its answer for so long, until the run ends.
const WAIT: HeaderValue = HeaderValue::from_static("wait=20");
/// The longest that one look may take.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// An answer that came sooner was not held.
const HELD: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How the waiting ended.
pub(super) enum Followed {
    /// The run has ended; its record, and the record's text.
    Ended(Box<Record>, String),
    /// The time for it was over.
    Late,
    /// Ctrl-C.
    Interrupted,
}

/// Looks at a run, by the request that `look` makes, until it ends. While nobody answers it goes on: the server may be
/// starting again. `known` is what is known of the run before the first look.
///
/// # Errors
/// The server knows no such run, or will not show it.
pub(super) async fn follow(
    look: impl Fn() -> RequestBuilder,
    timeout: Duration,
    known: &str,
    spinner: &Spinner,
) -> Result<Followed, Failure> {
    let uncaught = |error| Exit::Failed.because(format!("signals cannot be caught: {error}"));
    // From here on Ctrl-C ends the waiting, not the process.
    let mut interrupts = signal(SignalKind::interrupt()).map_err(uncaught)?;
    spinner.say(known);
    tokio::select! {
        // A run that has ended has, whatever else happened.
        biased;
        ended = until_ended(look, spinner) => ended,
        () = tokio::time::sleep(timeout) => Ok(Followed::Late),
        _ = interrupts.recv() => Ok(Followed::Interrupted),
    }
}

async fn until_ended(
    look: impl Fn() -> RequestBuilder,
    spinner: &Spinner,
) -> Result<Followed, Failure> {
    let mut quick = 0;
    loop {
        let began = Instant::now();
        let request = look().header("prefer", WAIT).timeout(LONGEST_LOOK);
        let retry_after = match request.send().await {
            Ok(response) => match seen(response).await? {
                Seen::Ended(record, text) => return Ok(Followed::Ended(record, text)),
                Seen::Unfinished(record) => {
                    spinner.say(&format!("{} {}", record.run_id, record.state));
                    None
                }
                Seen::Trouble(status, after) => {
                    spinner.say(&format!("the server answers {status}; trying again"));
                    after
                }
            },
            Err(error) => {
                spinner.say(&format!("{}; trying again", client::cause(&error)));
                None
            }
        };
        let held = began.elapsed() >= HELD;
        quick = if held { 0 } else { quick + 1 };
        tokio::time::sleep(pause(quick, retry_after)).await;
    }
}

/// What one look showed.
enum Seen {
    Ended(Box<Record>, String),
    Unfinished(Box<Record>),
    /// Nothing, for now; and when to look again, if the server said so.
    Trouble(StatusCode, Option<Duration>),
}

async fn seen(response: Response) -> Result<Seen, Failure> {
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(Seen::Trouble(status, retry_after(&response)));
    }
    if !status.is_success() {
        if Problem::is(&response) {
            return Err(Exit::Failed.because(Problem::read(response).await.says()));
        }
        return Err(Exit::Failed.because(format!("the run's record is answered with {status}")));
    }
    let Ok(text) = response.text().await else {
        // It was cut off.
        return Ok(Seen::Trouble(status, None));
    };
    match serde_json::from_str::<Box<Record>>(&text) {
        Ok(record) if record.success.is_some() => Ok(Seen::Ended(record, text)),
        Ok(record) if !record.state.is_empty() => Ok(Seen::Unfinished(record)),
        _ => Err(Exit::Network.because("what stands at the run's address is no record of a run")),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// How long to wait after so many looks in a row that were answered at once; none after one that was held.
fn pause(quick: u32, asked: Option<Duration>) -> Duration {
    let own = match quick.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_PAUSE.saturating_mul(1 << doublings.min(10)),
    };
    own.max(asked.unwrap_or_default()).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_where_the_server_does_not_hold_its_answer() {
        let pauses = [0, 1, 2, 3, 4, 5, 6, 7, u32::MAX].map(|quick| pause(quick, None));
        let millis = pauses.map(|pause| pause.as_millis());
        assert_eq!(millis, [0, 200, 400, 800, 1600, 2000, 2000, 2000, 2000]);
    }

    #[test]
    fn what_a_server_asks_for_is_kept_within_reason() {
        assert_eq!(
            pause(1, Some(Duration::from_secs(2))),
            Duration::from_secs(2)
        );
        assert_eq!(pause(0, Some(Duration::from_secs(3600))), LONGEST_PAUSE);
    }
}
