//! Problems: code → status, title, document (RFC 9457).

use serde::Serialize;

use super::{
    id::RunId,
    run::{End, Reason},
};

/// The media type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Everything that can go wrong by our own account, with a stable code each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the codes' titles below say what they mean")]
pub enum Code {
    NoRoute,
    AmbiguousPath,
    BadRequest,
    HeadTooLarge,
    UpgradeNotARun,
    ConflictingTriggers,
    RepeatedParameter,
    InvalidWebhookEndpoint,
    ForbiddenWebhookEndpoint,
    CrossSiteWebhook,
    RequestTooLarge,
    RequestTimeout,
    LoopDetected,
    TooManyRuns,
    StoreUnavailable,
    IdempotencyKeyReused,
    UnknownRun,
    RunExpired,
    RunFinished,
    RunCancelled,
    BadGateway,
    GatewayTimeout,
    UpstreamStatus,
    Timeout,
    Unreachable,
    Broken,
    ResponseTooLarge,
    Interrupted,
    Expired,
    InvalidParameter,
    Unauthorized,
    CrossSiteRequest,
    MethodNotAllowed,
    NoDelivery,
    DeliveryUnderWay,
    RequestGone,
    TooManyStreams,
    ConfigurationRefused,
    NotReloadable,
    BackupUnavailable,
    Internal,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 41] = [
        Self::NoRoute,
        Self::AmbiguousPath,
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::UpgradeNotARun,
        Self::ConflictingTriggers,
        Self::RepeatedParameter,
        Self::InvalidWebhookEndpoint,
        Self::ForbiddenWebhookEndpoint,
        Self::CrossSiteWebhook,
        Self::RequestTooLarge,
        Self::RequestTimeout,
        Self::LoopDetected,
        Self::TooManyRuns,
        Self::StoreUnavailable,
        Self::IdempotencyKeyReused,
        Self::UnknownRun,
        Self::RunExpired,
        Self::RunFinished,
        Self::RunCancelled,
        Self::BadGateway,
        Self::GatewayTimeout,
        Self::UpstreamStatus,
        Self::Timeout,
        Self::Unreachable,
        Self::Broken,
        Self::ResponseTooLarge,
        Self::Interrupted,
        Self::Expired,
        Self::InvalidParameter,
        Self::Unauthorized,
        Self::CrossSiteRequest,
        Self::MethodNotAllowed,
        Self::NoDelivery,
        Self::DeliveryUnderWay,
        Self::RequestGone,
        Self::TooManyStreams,
        Self::ConfigurationRefused,
        Self::NotReloadable,
        Self::BackupUnavailable,
        Self::Internal,
    ];

    /// The code as it is written, its HTTP status, and its title.
    pub const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::NoRoute => ("no-route", 404, "No route matches this request"),
            Self::AmbiguousPath => ("ambiguous-path", 400, "The path has dot segments"),
            Self::BadRequest => ("bad-request", 400, "The request is malformed"),
            Self::HeadTooLarge => ("head-too-large", 431, "The request's head is too large"),
            Self::UpgradeNotARun => (
                "upgrade-not-a-run",
                400,
                "An upgrade or CONNECT cannot be a run",
            ),
            Self::ConflictingTriggers => (
                "conflicting-triggers",
                400,
                "Two dialects ask for a run at once",
            ),
            Self::RepeatedParameter => (
                "repeated-parameter",
                400,
                "A parameter is given several times",
            ),
            Self::InvalidWebhookEndpoint => (
                "invalid-webhook-endpoint",
                400,
                "The webhook endpoint is no usable URL",
            ),
            Self::ForbiddenWebhookEndpoint => (
                "forbidden-webhook-endpoint",
                400,
                "The webhook endpoint is not allowed",
            ),
            Self::CrossSiteWebhook => (
                "cross-site-webhook",
                403,
                "A foreign web page may not set a webhook",
            ),
            Self::RequestTooLarge => ("request-too-large", 413, "The request's body is too large"),
            Self::RequestTimeout => ("request-timeout", 408, "The request's body came too slowly"),
            Self::LoopDetected => (
                "loop-detected",
                508,
                "The request has passed through here before",
            ),
            Self::TooManyRuns => (
                "too-many-runs",
                429,
                "The route has too many unfinished runs",
            ),
            Self::StoreUnavailable => (
                "store-unavailable",
                503,
                "Runs cannot be stored at the moment",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                422,
                "The idempotency key belongs to another request",
            ),
            Self::UnknownRun => ("unknown-run", 404, "No such run"),
            Self::RunExpired => ("run-expired", 410, "The run's record has expired"),
            Self::RunFinished => ("run-finished", 409, "The run has finished"),
            Self::RunCancelled => ("run-cancelled", 409, "The run was cancelled"),
            Self::BadGateway => ("bad-gateway", 502, "The upstream could not answer"),
            Self::GatewayTimeout => (
                "gateway-timeout",
                504,
                "The upstream did not answer in time",
            ),
            Self::UpstreamStatus => (
                "upstream-status",
                502,
                "The upstream answered with an error",
            ),
            Self::Timeout => ("timeout", 504, "The response grace period is over"),
            Self::Unreachable => ("unreachable", 502, "The upstream could not be reached"),
            Self::Broken => ("broken", 502, "The upstream's connection ended midway"),
            Self::ResponseTooLarge => (
                "response-too-large",
                502,
                "The upstream's response is too large",
            ),
            Self::Interrupted => (
                "interrupted",
                502,
                "The run was interrupted, and may not be repeated",
            ),
            Self::Expired => ("expired", 503, "The run was queued for too long"),
            Self::InvalidParameter => ("invalid-parameter", 400, "A parameter is not valid"),
            Self::Unauthorized => ("unauthorized", 401, "The admin token is needed"),
            Self::CrossSiteRequest => (
                "cross-site-request",
                403,
                "A foreign web page may not act here",
            ),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                405,
                "The resource does not take this method",
            ),
            Self::NoDelivery => ("no-delivery", 409, "The run has no delivery"),
            Self::DeliveryUnderWay => (
                "delivery-under-way",
                409,
                "The webhook is being told at this moment",
            ),
            Self::RequestGone => (
                "request-gone",
                409,
                "The run's request is not kept any more",
            ),
            Self::TooManyStreams => ("too-many-streams", 429, "Too many event streams are open"),
            Self::ConfigurationRefused => (
                "configuration-refused",
                422,
                "The configuration file is refused",
            ),
            Self::NotReloadable => (
                "not-reloadable",
                409,
                "This process cannot read its configuration again",
            ),
            Self::BackupUnavailable => ("backup-unavailable", 409, "No backup can be made now"),
            Self::Internal => ("internal", 500, "An internal error"),
        }
    }

    /// The code as it is written.
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// Its HTTP status.
    pub const fn status(self) -> u16 {
        self.parts().1
    }

    /// Its title.
    pub const fn title(self) -> &'static str {
        self.parts().2
    }
}

impl From<Reason> for Code {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::UpstreamStatus => Self::UpstreamStatus,
            Reason::Timeout => Self::Timeout,
            Reason::Unreachable => Self::Unreachable,
            Reason::Broken => Self::Broken,
            Reason::ResponseTooLarge => Self::ResponseTooLarge,
            Reason::Interrupted => Self::Interrupted,
            Reason::Expired => Self::Expired,
            Reason::Internal => Self::Internal,
        }
    }
}

/// One problem, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is.
    pub code: Code,
    /// What is wrong here, how much, and what to do: for the caller.
    pub detail: String,
    /// The run it concerns.
    pub run_id: Option<RunId>,
    /// Seconds until another try makes sense (`Retry-After`).
    pub retry_after: Option<u32>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
}

impl Problem {
    /// A problem that concerns no run.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            run_id: None,
            retry_after: None,
        }
    }

    /// The same problem, with a `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same problem, about `run`.
    #[must_use]
    pub fn about(mut self, run: RunId) -> Self {
        self.run_id = Some(run);
        self
    }

    /// The document, where `public_prefix` is where the pages that explain the codes are (empty: nowhere).
    pub fn document(&self, public_prefix: &str) -> Vec<u8> {
        let (code, status, title) = self.code.parts();
        let page = format!("{public_prefix}/problems/{code}");
        let r#type = if public_prefix.is_empty() {
            "about:blank"
        } else {
            &page
        };
        let run_id = self.run_id.map(|id| id.to_string());
        let document = Document {
            r#type,
            title,
            status,
            detail: &self.detail,
            code,
            run_id,
        };
        let mut text = serde_json::to_vec(&document).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// The problem that stands for a response when a run ended without one; none for an end with a response.
    pub fn of_end(id: RunId, end: End) -> Option<Self> {
        let (code, detail) = match end {
            End::Succeeded | End::Failed(Reason::UpstreamStatus) => return None,
            End::Cancelled => (
                Code::RunCancelled,
                "The run was cancelled before it had a response.",
            ),
            End::Failed(reason) => (reason.into(), of_reason(reason)),
        };
        Some(Self::new(code, detail).about(id))
    }
}

const fn of_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::UpstreamStatus => "The upstream answered with an error status.",
        Reason::Timeout => {
            "The upstream did not finish its answer within the response grace period."
        }
        Reason::Unreachable => {
            "No connection to the upstream came about within the response grace period; nothing was sent."
        }
        Reason::Broken => {
            "The connection to the upstream ended before the response was complete. The request may have been applied."
        }
        Reason::ResponseTooLarge => {
            "The upstream's response is larger than what is kept. The request may have been applied."
        }
        Reason::Interrupted => {
            "The proxy stopped, or a connection that was in use again ended, while the request was under way, and it may not be repeated. The request may have been applied."
        }
        Reason::Expired => {
            "The run waited for longer than the route's max_queue_time; nothing was sent."
        }
        Reason::Internal => "The proxy could not carry out the run.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn text(problem: &Problem, public_prefix: &str) -> String {
        String::from_utf8(problem.document(public_prefix)).unwrap()
    }

    #[test]
    fn a_document_has_these_members_in_this_order() {
        let problem = Problem::new(Code::TooManyRuns, "Say \"later\".").retry_after(5);
        assert_eq!(
            text(&problem, "/_raincheck"),
            "{\"type\":\"/_raincheck/problems/too-many-runs\",\"title\":\"The route has too many unfinished runs\",\
             \"status\":429,\"detail\":\"Say \\\"later\\\".\",\"code\":\"too-many-runs\"}\n"
        );
    }

    #[test]
    fn a_document_about_a_run_names_it_and_without_a_prefix_there_is_no_page() {
        let id = "0199f00c-5e2a-7c3b-8d4e-5f60718293a4".parse().unwrap();
        let problem = Problem::of_end(id, End::Failed(Reason::Timeout)).unwrap();
        let text = text(&problem, "");
        assert!(text.starts_with("{\"type\":\"about:blank\","), "{text}");
        assert!(
            text.ends_with(",\"run_id\":\"0199f00c-5e2a-7c3b-8d4e-5f60718293a4\"}\n"),
            "{text}"
        );
    }

    #[test]
    fn codes_are_unique_and_speak_of_errors() {
        let codes: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{}", code.as_str());
        }
    }

    #[test]
    fn a_failed_runs_code_is_its_reason_with_hyphens() {
        for reason in Reason::ALL {
            let code = Code::from(reason).as_str();
            assert_eq!(code, reason.as_str().replace('_', "-"));
        }
    }

    #[test]
    fn ends_with_a_response_need_no_stand_in() {
        let id = RunId::from_parts(1, 1);
        for end in [End::Succeeded, End::Failed(Reason::UpstreamStatus)] {
            assert_eq!(Problem::of_end(id, end), None);
        }
        assert_eq!(
            Problem::of_end(id, End::Cancelled).unwrap().code.status(),
            409
        );
    }
}
