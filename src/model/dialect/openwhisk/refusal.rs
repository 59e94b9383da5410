//! What is said when something is refused: `{"error":"…","code":"…"}`, and the words that clients know.

use serde::Serialize;

use crate::model::{
    problem::{Code, Problem},
    run::RunState,
};

/// A refusal, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub error: String,
    /// What it is called elsewhere (`Raincheck-Error`), if it has a code.
    pub code: Option<Code>,
    /// Seconds until another try makes sense (`Retry-After`).
    pub retry_after: Option<u32>,
    /// Whether credentials are asked for (`WWW-Authenticate`).
    pub challenge: bool,
    /// The methods that are taken (`Allow`).
    pub allow: Option<&'static str>,
    /// The state of the run that it is about, if the caller may know it.
    pub state: Option<RunState>,
}

#[derive(Serialize)]
struct Document<'a> {
    error: &'a str,
    code: &'a str,
}

impl Refusal {
    fn new(status: u16, error: impl Into<String>, code: Option<Code>) -> Self {
        Self {
            status,
            error: error.into(),
            code,
            retry_after: None,
            challenge: false,
            allow: None,
            state: None,
        }
    }

    /// The request cannot be understood.
    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(400, error, Some(Code::BadRequest))
    }

    /// The path names nothing.
    pub fn nothing() -> Self {
        let error = "The requested resource does not exist. Here are `namespaces`, and in a namespace `actions/{name}` \
                     (POST) and `activations`.";
        Self::new(404, error, Some(Code::NoRoute))
    }

    /// There can be no such action.
    pub fn no_action(error: impl Into<String>) -> Self {
        Self::new(404, error, Some(Code::NoRoute))
    }

    /// There is no such activation for the caller, or none yet, or none any more.
    pub fn no_activation() -> Self {
        let error = "The requested activation record does not exist. This either means that the invocation is still \
                     running and the record is not yet created or the activation's retention period has already expired.";
        Self::new(404, error, Some(Code::UnknownRun))
    }

    /// The caller's credentials are missing, or nobody's.
    pub fn unauthorized(offered: bool) -> Self {
        let error = if offered {
            "The supplied authentication is invalid."
        } else {
            "The resource requires authentication, which was not supplied with the request."
        };
        Self {
            challenge: true,
            ..Self::new(401, error, None)
        }
    }

    /// The namespace is not the caller's; or it is nobody's, which only its owner may learn.
    pub fn forbidden(namespace: &str) -> Self {
        let error = format!(
            "The supplied authentication is not authorized to access the namespace '{namespace}'."
        );
        Self::new(403, error, None)
    }

    /// The resource does not take the method.
    pub fn method(allow: &'static str) -> Self {
        let error = format!("The resource does not take this method; it takes {allow}.");
        Self {
            allow: Some(allow),
            ..Self::new(405, error, None)
        }
    }

    /// The document; `code` is that of the `X-Request-Id` beside it.
    pub fn document(&self, code: &str) -> Vec<u8> {
        let document = Document {
            error: &self.error,
            code,
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            retry_after: problem.retry_after,
            ..Self::new(problem.code.status(), problem.detail, Some(problem.code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_in_these_words() {
        let full = Problem::new(Code::StoreUnavailable, "Say \"later\".").retry_after(5);
        let all = [
            Refusal::bad("Nonsense."),
            Refusal::nothing(),
            Refusal::no_activation(),
            Refusal::unauthorized(false),
            Refusal::unauthorized(true),
            Refusal::forbidden("it's"),
            Refusal::method("GET, HEAD, OPTIONS"),
            full.into(),
        ];
        let said: Vec<_> = all
            .iter()
            .map(|refusal| {
                let text = String::from_utf8(refusal.document("7")).unwrap();
                format!("{} {text} {:?}", refusal.status, refusal.retry_after)
            })
            .collect();
        insta::assert_snapshot!(said.join("\n"));
    }
}
