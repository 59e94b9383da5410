//! What a receiver answered: its status and its `Retry-After`. The body is read only to free the connection.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};
use tokio::time::Instant;

use crate::model::{delivery::DeliveryOutcome, time::Timestamp};

/// Bytes of an answer's body that are read before the connection is closed instead.
const READ_AT_MOST: usize = 1024;
/// How long the end of an answer's body is waited for.
const LINGER: Duration = Duration::from_secs(1);

/// A receiver's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    retry_after: Option<Duration>,
}

impl Answer {
    /// Takes the head. A short body is read to its end, so that the connection can be used again; a long or slow one
    /// is left, which closes the connection. The status counts either way.
    pub(super) async fn read(
        mut response: reqwest::Response,
        now: Timestamp,
        deadline: Instant,
    ) -> Self {
        let answer = Self {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), now),
        };
        let rest = async {
            let mut read = 0;
            while let Ok(Some(piece)) = response.chunk().await {
                read += piece.len();
                if read > READ_AT_MOST {
                    return;
                }
            }
        };
        let patience = deadline.min(Instant::now() + LINGER);
        // A body that does not end in time takes nothing away from its status.
        let _unfinished = tokio::time::timeout_at(patience, rest).await;
        answer
    }

    /// What is recorded.
    pub(super) fn outcome(self) -> DeliveryOutcome {
        DeliveryOutcome::Answered {
            status: self.status,
            retry_after: self.retry_after,
        }
    }
}

/// `Retry-After` as a delay (RFC 9110 §10.2.3): seconds, or a date; anything else is as if it were absent.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time, not garbage.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(Timestamp::from(date).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Option<Duration> {
        let now = Timestamp::from_millis(784_111_777_000);
        let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
        retry_after(&headers, now)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_garbage_is_ignored() {
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 "), Some(Duration::ZERO));
        let minute = Some(Duration::from_secs(60));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:37 GMT"), minute);
        assert_eq!(parse("Sunday, 06-Nov-94 08:50:37 GMT"), minute);
        let past = parse("Sun, 06 Nov 1994 08:00:00 GMT");
        assert_eq!(past, Some(Duration::ZERO));
        let huge = parse("99999999999999999999999999");
        assert_eq!(huge, Some(Duration::from_secs(u64::MAX)));
        for garbage in ["", "-5", "1.5", "+7", "soon", "12 s", "0x10"] {
            assert_eq!(parse(garbage), None, "{garbage}");
        }
    }
}
