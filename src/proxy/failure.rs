//! What a caller and the log are told when a request could not be passed on.

use pingora::{Error, ErrorSource, ErrorType};
use tracing::{debug, warn};

use crate::model::problem::{Code, Problem};

/// The problem that stands for an upstream's answer; none if there is nobody left to tell.
pub(super) fn problem(error: &Error) -> Option<Problem> {
    match error.esource() {
        ErrorSource::Upstream => Some(of_upstream(error)),
        ErrorSource::Downstream => of_downstream(error),
        ErrorSource::Internal | ErrorSource::Unset => Some(Problem::new(
            Code::Internal,
            "The proxy could not pass the request on; its log says why.",
        )),
    }
}

fn of_upstream(error: &Error) -> Problem {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout => Problem::new(
            Code::GatewayTimeout,
            "The upstream did not answer in time. The request may have reached it.",
        ),
        ErrorType::ConnectNoRoute
        | ErrorType::ConnectRefused
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::TLSWantX509Lookup
        | ErrorType::HandshakeError => Problem::new(
            Code::BadGateway,
            "No connection to the upstream came about; nothing was sent.",
        ),
        _ => Problem::new(
            Code::BadGateway,
            "The upstream's connection ended, or its answer is malformed. The request may have been applied.",
        ),
    }
}

fn of_downstream(error: &Error) -> Option<Problem> {
    match error.etype() {
        ErrorType::WriteError
        | ErrorType::ReadError
        | ErrorType::ConnectionClosed
        | ErrorType::WriteTimedout => None,
        ErrorType::ReadTimedout => Some(Problem::new(
            Code::RequestTimeout,
            "The request's body stopped coming.",
        )),
        _ => Some(Problem::new(
            Code::BadRequest,
            "The request's framing or its body is malformed.",
        )),
    }
}

/// Logs a failure: at warn if the upstream or we are at fault, at debug if the client is. Contexts of Pingora's errors
/// may quote heads, so only kinds and system errors are written.
pub(super) fn log(error: &Error, route: &str, status: u16) {
    let kind = error.etype().as_str();
    let cause = error
        .root_cause()
        .downcast_ref::<std::io::Error>()
        .map(ToString::to_string);
    let source = error.esource().as_str();
    if matches!(error.esource(), ErrorSource::Downstream) {
        debug!(
            route,
            status, kind, cause, "the client's request ended early"
        );
    } else {
        warn!(
            route,
            status, source, kind, cause, "a request could not be passed on"
        );
    }
}
