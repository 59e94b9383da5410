//! The pages that explain our problem codes: what each means, and what to do.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};

use crate::model::problem::Code;

/// `GET /problems/{code}`
pub(super) async fn page(Path(code): Path<String>) -> Response {
    let Some(code) = Code::ALL.into_iter().find(|known| known.as_str() == code) else {
        return (StatusCode::NOT_FOUND, "There is no such problem code.\n").into_response();
    };
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("max-age=3600")),
        (
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, html(code)).into_response()
}

fn html(code: Code) -> String {
    let (name, status, title) = code.parts();
    let (meaning, advice) = explanation(code);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}: {title}</title>\n\
         <h1>{title}</h1>\n<p><code>{name}</code>, HTTP status {status}</p>\n\
         <p>{meaning}</p>\n<p><b>What to do:</b> {advice}</p>\n</html>\n"
    )
}

/// What a code means, and what to do about it. Plain words without HTML's special characters.
const fn explanation(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::NoRoute => (
            "No route of the proxy matches the request's host and path, or there is no such resource below the public prefix.",
            "Check the URL's host and path. Operators: see [[route]] in the configuration.",
        ),
        Code::AmbiguousPath => (
            "The path has a segment of one or two dots, plain or percent-encoded. Proxy and application could understand it differently.",
            "Resolve the dot segments before you send the request.",
        ),
        Code::BadRequest => (
            "The request breaks a rule of HTTP, for example by a missing or repeated Host, or by Content-Length together with Transfer-Encoding.",
            "The problem's detail names the rule. Send the request with a client that keeps it.",
        ),
        Code::HeadTooLarge => (
            "Request line and headers together are longer than 64 KiB.",
            "Send fewer or shorter headers and cookies, and long values in the body.",
        ),
        Code::UpgradeNotARun => (
            "A run has one request and one response; WebSocket and other upgrades, and CONNECT, have neither.",
            "Leave out what asks for a run, and connect synchronously.",
        ),
        Code::ConflictingTriggers => (
            "The request asks for a run in two ways at once.",
            "Keep one of them.",
        ),
        Code::RepeatedParameter => (
            "A control parameter may be given once only, and it is there several times.",
            "Give it once.",
        ),
        Code::InvalidWebhookEndpoint => (
            "The webhook endpoint must be an absolute http or https URL with a host, without user and password, at most 2048 bytes long, given once.",
            "Percent-encode the whole URL once, as the value of the query parameter.",
        ),
        Code::ForbiddenWebhookEndpoint => (
            "The webhook endpoint is an address that this proxy does not call: its own, a private or reserved one, or one that its operator has not listed.",
            "Use a public address. Operators: see webhook.allow_hosts, webhook.allow_networks and webhook.caller_endpoints.",
        ),
        Code::CrossSiteWebhook => (
            "The request comes from a browser, and does not prove that a page of this site made it. A foreign page could have the response sent to itself.",
            "Call without a browser, from a page of the same origin, or from one that the route lists in cors.origins.",
        ),
        Code::RequestTooLarge => (
            "The body is longer than a run may have. The detail says the limit.",
            "Send less, or call synchronously. Operators: see limits.request_body.",
        ),
        Code::RequestTimeout => (
            "The body paused for too long, or took too long altogether. Nothing of it is kept.",
            "Send the request again. Operators: see limits.body_idle_timeout and limits.body_timeout.",
        ),
        Code::LoopDetected => (
            "The request has passed through this proxy several times already: an application or a webhook calls back into what called it.",
            "Break the loop. Operators: see limits.max_depth.",
        ),
        Code::TooManyRuns => (
            "As many runs of this route are unfinished as it may have. This one was not accepted.",
            "Try again after the time in Retry-After. Operators: see limits.unfinished_runs.",
        ),
        Code::StoreUnavailable => (
            "The proxy cannot store runs at the moment: its disk is full, failing or too busy. This run was not accepted.",
            "Try again after the time in Retry-After. Synchronous calls still work.",
        ),
        Code::IdempotencyKeyReused => (
            "The same Idempotency-Key came before with another method, target or body.",
            "Use a new key for each new request, and the same key only to repeat one.",
        ),
        Code::UnknownRun => (
            "There is no run with this id, or you may not see it.",
            "Follow the Location of the 202 with its token, or send the same credentials as with the run's request.",
        ),
        Code::RunExpired => (
            "The run ended so long ago that its record has been removed.",
            "Fetch responses sooner. Operators: see store.retention.",
        ),
        Code::RunFinished => (
            "The run has ended, so it cannot be cancelled.",
            "Nothing. Its response can be fetched.",
        ),
        Code::RunCancelled => (
            "The run was cancelled before it had a response. If it was under way, the application may have applied the request.",
            "Start a new run if it is still wanted.",
        ),
        Code::BadGateway => (
            "No usable answer came from the application.",
            "Try again if the request may be repeated. Operators: look at the application and at the upstream's peers.",
        ),
        Code::GatewayTimeout => (
            "The application did not answer in time.",
            "Try again if the request may be repeated, or ask for a run, which waits longer.",
        ),
        Code::UpstreamStatus => (
            "The application answered, with a status that does not count as success. The run's response is that answer.",
            "Read the response.",
        ),
        Code::Timeout => (
            "The application did not finish its answer within the response grace period. It may have applied the request.",
            "Find out whether the request was applied before you repeat it. Operators: see response_grace_period.",
        ),
        Code::Unreachable => (
            "No connection to the application came about within the response grace period. Nothing was sent.",
            "Start a new run; nothing was applied.",
        ),
        Code::Broken => (
            "The connection to the application ended before the response was complete. It may have applied the request.",
            "Find out whether the request was applied before you repeat it.",
        ),
        Code::ResponseTooLarge => (
            "The application's response is longer than what is kept of one. It has probably applied the request.",
            "Ask for less at a time. Operators: see limits.response_body.",
        ),
        Code::Interrupted => (
            "The proxy stopped, or a kept connection to the application ended, while the request was under way, and the request may not be repeated by itself. The application may have applied it.",
            "Find out whether the request was applied before you repeat it. Operators: see repeat in [route.async].",
        ),
        Code::Expired => (
            "The run waited in the queue for longer than the route allows. Nothing was sent.",
            "Start a new run; nothing was applied. Operators: see max_queue_time and concurrency.",
        ),
        Code::InvalidParameter => (
            "A query parameter is unknown, given several times, or has a value that it cannot have.",
            "The problem's detail names the parameter and the values that it takes.",
        ),
        Code::Unauthorized => (
            "The admin listener shows this to who has its token, and the request has none or a wrong one.",
            "Send it as Authorization: Bearer and the token, or log in at /login. Operators: see admin.token.",
        ),
        Code::CrossSiteRequest => (
            "The request comes from a browser, and a page of another site made it.",
            "Act from a page of the admin listener itself, or without a browser.",
        ),
        Code::MethodNotAllowed => (
            "The resource is there, and does not take the request's method.",
            "Use one of the methods that the Allow header names.",
        ),
        Code::NoDelivery => (
            "The run has no delivery that could be made again: it has no webhook, or has not ended.",
            "Look at the run's record. A run gets its delivery when it ends.",
        ),
        Code::DeliveryUnderWay => (
            "An attempt of the delivery is under way at this moment, so no new round can begin.",
            "Wait for the attempt, and look at its outcome before you ask again.",
        ),
        Code::RequestGone => (
            "A run's request is deleted when the run ends, and with it what a repetition would need.",
            "Send the request again from where it came.",
        ),
        Code::TooManyStreams => (
            "As many streams of events are open on the admin listener as it allows.",
            "Close one of them, or poll the list of runs.",
        ),
        Code::ConfigurationRefused => (
            "The configuration file has been read again and something in it is wrong. Nothing has changed.",
            "Mend what the detail names, try the file with raincheck check, and reload again.",
        ),
        Code::NotReloadable => (
            "The process has no configuration file that it could read again, or is stopping.",
            "Serve with --config, or start a new process. A host with Raincheck as a library reloads by its own means.",
        ),
        Code::BackupUnavailable => (
            "A backup is being made already, there is no space for one, or the store is backed up by other means.",
            "Do what the detail says, then ask again.",
        ),
        Code::Internal => (
            "The proxy failed in a way it should not.",
            "Try again. Operators: the log has an entry with the run's id.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_names_its_code_and_needs_no_escaping() {
        for code in Code::ALL {
            let (meaning, advice) = explanation(code);
            assert!(html(code).contains(&format!("<code>{}</code>", code.as_str())));
            assert!(!format!("{meaning}{advice}{}", code.title()).contains(['<', '>', '&']));
        }
    }
}
