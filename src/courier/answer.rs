//! What a receiver answered: its status, its `Retry-After`, and the beginning of the body for the delivery log.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderMap, header::RETRY_AFTER};
use tokio::time::Instant;

use crate::model::{delivery::DeliveryOutcome, retry, time::Timestamp};

/// Bytes of an answer's body that are kept; after more, the connection is closed.
const READ_AT_MOST: usize = 1024;
/// How long the end of an answer's body is waited for.
const LINGER: Duration = Duration::from_secs(1);

/// A receiver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Where it came from.
    pub(super) address: Option<SocketAddr>,
    /// The body's first KiB, as text.
    pub(super) excerpt: String,
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
        let (address, status) = (response.remote_addr(), response.status().as_u16());
        let retry_after = retry_after(response.headers(), now);
        let mut kept = Vec::new();
        let rest = async {
            while let Ok(Some(piece)) = response.chunk().await {
                let room = READ_AT_MOST - kept.len();
                kept.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.len() > room {
                    return;
                }
            }
        };
        let patience = deadline.min(Instant::now() + LINGER);
        // A body that does not end in time takes nothing away from its status.
        let _unfinished = tokio::time::timeout_at(patience, rest).await;
        Self {
            address,
            excerpt: excerpt(&kept),
            status,
            retry_after,
        }
    }

    /// What is recorded.
    pub(super) const fn outcome(&self) -> DeliveryOutcome {
        DeliveryOutcome::Answered {
            status: self.status,
            retry_after: self.retry_after,
        }
    }
}

/// The text of a body's beginning. What is no UTF-8 is replaced, but for a character that is cut at the end.
fn excerpt(kept: &[u8]) -> String {
    let mut text = String::with_capacity(kept.len());
    let mut chunks = kept.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let cut = kept.len() == READ_AT_MOST && chunks.peek().is_none();
        if !chunk.invalid().is_empty() && !cut {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    retry::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
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
    fn an_excerpt_is_text_whatever_the_bytes_are() {
        assert_eq!(excerpt(b"a\xffb\xc3"), "a\u{fffd}b\u{fffd}");
        let full = "\u{20ac}".repeat(READ_AT_MOST);
        let cut = excerpt(&full.as_bytes()[..READ_AT_MOST]);
        assert_eq!(cut, "\u{20ac}".repeat(READ_AT_MOST / 3));
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
