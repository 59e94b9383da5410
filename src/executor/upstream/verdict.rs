//! What an attempt's end means: from Pingora's error, and from how far the attempt came, to an outcome.

use pingora::{
    Error,
    ErrorSource::Upstream,
    ErrorType::{
        self, BindError, ConnectError, ConnectNoRoute, ConnectProxyFailure, ConnectRefused,
        ConnectTimedout, H2Downgrade, HandshakeError, InvalidCert, SocketError,
        TLSHandshakeFailure, TLSHandshakeTimedout,
    },
};

use crate::{executor::Contact, model::retry::Outcome};

/// How an attempt ended that did not end with a response of the upstream's; none if the response that the host's
/// pipeline wrote itself is the answer (its filters' 403, say).
///
/// An error of the upstream counts even where the pipeline has written a 502 for it.
pub(super) fn of_failure(
    error: Option<&Error>,
    whole_response: bool,
    contact: &Contact,
) -> Option<Outcome> {
    let Some(error) = error else {
        return (!whole_response).then(|| without_response(contact));
    };
    if error.etype() == &H2Downgrade {
        // The peer wants HTTP/1.1 and has handled nothing (RFC 9113 §7, HTTP_1_1_REQUIRED); Pingora has noted it.
        return Some(Outcome::NotSent { other_peer: true });
    }
    if error.esource() != &Upstream && !concerns_connecting(error.etype()) {
        return (!whole_response).then(|| without_response(contact));
    }
    Some(if !contact.may_have_sent() {
        Outcome::NotSent {
            other_peer: contact.has_other_peer(),
        }
    } else if contact.was_reused() && !contact.has_answer_begun() {
        Outcome::Stale
    } else {
        Outcome::Broken
    })
}

fn without_response(contact: &Contact) -> Outcome {
    if contact.may_have_sent() {
        Outcome::Broken
    } else {
        Outcome::Internal
    }
}

fn concerns_connecting(error: &ErrorType) -> bool {
    matches!(
        error,
        ConnectTimedout
            | ConnectRefused
            | ConnectNoRoute
            | ConnectError
            | ConnectProxyFailure
            | TLSHandshakeFailure
            | TLSHandshakeTimedout
            | InvalidCert
            | HandshakeError
            | BindError
            | SocketError
    )
}
