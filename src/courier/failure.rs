//! Why an attempt had no answer: what the record says, and what the operator's log says.

use std::{error::Error, fmt, io};

use super::lookups::NotLookedUp;
use crate::model::{address_guard::Refused, delivery::DeliveryError};

/// An attempt without an answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the public may know.
    pub(super) error: DeliveryError,
    /// What the log says; no URL in it.
    pub(super) detail: String,
}

impl Failure {
    /// Our own fault.
    pub(super) fn internal(detail: impl fmt::Display) -> Self {
        Self {
            error: DeliveryError::Internal,
            detail: detail.to_string(),
        }
    }

    /// `webhook.timeout` is over.
    pub(super) fn timeout() -> Self {
        Self {
            error: DeliveryError::Timeout,
            detail: "no answer within `webhook.timeout`".to_owned(),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self {
            error: DeliveryError::Unreachable,
            detail: format!("refused: {refused}"),
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let is_https = error.url().is_some_and(|url| url.scheme() == "https");
        let error = error.without_url();
        if let Some(refused) = chain(&error).find_map(|e| e.downcast_ref::<Refused>()) {
            return (*refused).into();
        }
        let detail: Vec<String> = chain(&error).map(ToString::to_string).collect();
        Self {
            error: classify(&error, is_https),
            detail: detail.join(": "),
        }
    }
}

/// The stored body could not be read while it was sent.
#[derive(Debug, thiserror::Error)]
#[error("the stored body cannot be read: {0}")]
pub(super) struct Unreadable(#[from] pub(super) io::Error);

fn classify(error: &reqwest::Error, is_https: bool) -> DeliveryError {
    let any = |is: fn(&(dyn Error + 'static)) -> bool| chain(error).any(is);
    if any(|e| e.is::<Unreadable>() || e.is::<NotLookedUp>()) || error.is_builder() {
        DeliveryError::Internal
    } else if any(|e| e.is::<rustls::Error>()) {
        DeliveryError::Tls
    } else if error.is_timeout() {
        DeliveryError::Timeout
    } else if error.is_connect() {
        without_connection(error, is_https)
    } else {
        DeliveryError::Broken
    }
}

/// Before a connection is handed out, a TLS handshake is what meets its end, if there is one.
fn without_connection(error: &(dyn Error + 'static), is_https: bool) -> DeliveryError {
    if is_https && chain(error).any(is_end) {
        DeliveryError::Tls
    } else {
        DeliveryError::Unreachable
    }
}

fn is_end(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    error.downcast_ref::<io::Error>().is_some_and(|io| {
        matches!(
            io.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        )
    })
}

/// The error and all its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

/// An [`io::Error`] hides the error that it wraps from [`Error::source`].
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_there_is_a_handshake_its_end_is_blamed_on_tls() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(without_connection(&reset, true), DeliveryError::Tls);
        assert_eq!(
            without_connection(&reset, false),
            DeliveryError::Unreachable
        );
        assert_eq!(
            without_connection(&refused, true),
            DeliveryError::Unreachable
        );
    }
}
