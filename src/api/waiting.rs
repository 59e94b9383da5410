//! Waiting for a run: how long a look is held, and until what.

use std::time::Duration;

use http::{HeaderValue, request::Parts};
use tokio::time::{Instant, sleep, sleep_until};

use super::{answer, public::Shared};
use crate::{
    model::{
        dialect::prefer::{self, Honoured},
        id::RunId,
        problem::{Code, Problem},
        run::Run,
    },
    store::{Found, Waiter},
};

/// The longest wait, in seconds.
const LONGEST: u64 = 60;

/// Between two looks at a run of which nothing is told, at least and at most: another process may have ended it.
const POLL: (f32, f32) = (20.0, 40.0);

/// How long an answer about an unfinished run is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wait {
    seconds: u64,
    preferred: bool,
}

impl Wait {
    /// What a request asks for: `?wait=N`, else `Prefer: wait=N`, of which at most 60 seconds are honoured.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if the parameter is no number of seconds that can be waited. (A preference that is none is
    /// ignored: RFC 7240 §2.)
    pub(super) fn asked(request: &Parts) -> Result<Self, Problem> {
        let query = request.uri.query().unwrap_or_default();
        let mut given = url::form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name == "wait")
            .map(|(_, value)| value);
        let Some(value) = given.next() else {
            let preferred = prefer::wait(&request.headers);
            return Ok(Self {
                seconds: preferred.unwrap_or_default().min(LONGEST),
                preferred: preferred.is_some(),
            });
        };
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = value
            .parse()
            .ok()
            .filter(|seconds| digits && *seconds <= LONGEST);
        match seconds {
            Some(seconds) if given.next().is_none() => Ok(Self {
                seconds,
                preferred: false,
            }),
            Some(_) => Err(Problem::new(
                Code::BadRequest,
                "The query has `wait` several times; give it once.",
            )),
            None => Err(Problem::new(
                Code::BadRequest,
                format!(
                    "`wait` is no number of seconds that can be waited; write a whole number from 0 to {LONGEST}."
                ),
            )),
        }
    }

    /// What `Preference-Applied` says of it.
    pub(super) fn applied(self) -> Option<HeaderValue> {
        let honoured = Honoured {
            respond_async: false,
            wait: self.preferred.then_some(self.seconds),
        };
        honoured.applied()
    }

    /// Holds an answer until the run has ended, or the time is over, or the proxy stops. Returns the run as it then
    /// stands.
    ///
    /// # Errors
    /// What is to be said of a run that cannot be looked up any more.
    pub(super) async fn for_end(self, shared: &Shared, run: Box<Run>) -> Result<Box<Run>, Problem> {
        if self.seconds == 0 || run.state.is_final() {
            return Ok(run);
        }
        let end = Instant::now() + Duration::from_secs(self.seconds);
        end_of(shared, run.id, end).await
    }
}

/// Waits until a run has ended, or it is `until`, or the proxy stops. Returns the run as it then stands.
///
/// # Errors
/// What is to be said of a run that cannot be looked up.
pub(super) async fn end_of(
    shared: &Shared,
    id: RunId,
    until: Instant,
) -> Result<Box<Run>, Problem> {
    // Registered before the look, so that no change after it is missed.
    let mut waiter = shared.store.notices().changes.of(id);
    loop {
        let run = again(shared, id).await?;
        if run.state.is_final() {
            return Ok(run);
        }
        tokio::select! {
            () = change(&mut waiter) => {}
            () = sleep_until(until) => return Ok(run),
            () = shared.stopping.cancelled() => return Ok(run),
        }
    }
}

/// Resolves when a run has changed, or is worth another look anyway.
pub(super) async fn change(waiter: &mut Waiter) {
    let (least, most) = POLL;
    let poll = Duration::from_secs_f32(least + (most - least) * fastrand::f32());
    tokio::select! {
        () = waiter.changed() => {}
        () = sleep(poll) => {}
    }
}

/// Another look at a run that was seen already.
///
/// # Errors
/// What is to be said if it cannot be looked up.
pub(super) async fn again(shared: &Shared, id: RunId) -> Result<Box<Run>, Problem> {
    match shared.store.find(id).await {
        Ok(Found::Run(mut run)) => {
            shared.reschedule(&mut run);
            Ok(run)
        }
        Ok(Found::Unknown) => Err(answer::unknown()),
        Ok(Found::Expired) => Err(answer::expired()),
        Err(error) => {
            tracing::error!(run_id = %id, %error, "a run cannot be looked up");
            Err(answer::unavailable())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(query: &str, preferences: &[&str]) -> Result<Wait, Code> {
        let mut request = Request::builder().uri(format!("/runs/x?{query}"));
        for line in preferences {
            request = request.header("prefer", *line);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Wait::asked(&parts).map_err(|problem| problem.code)
    }

    const fn wait(seconds: u64, preferred: bool) -> Wait {
        Wait { seconds, preferred }
    }

    #[test]
    fn a_wait_is_asked_for_in_the_query_or_as_a_preference() {
        for (query, preferences, expected) in [
            ("", &[][..], wait(0, false)),
            ("token=t&wait=7", &[], wait(7, false)),
            ("wait=60", &["wait=5"], wait(60, false)),
            ("wait=0", &["wait=5"], wait(0, false)),
            ("token=t", &["return=minimal", "WAIT=5"], wait(5, true)),
            ("", &["wait=3600"], wait(60, true)),
            ("", &["wait=soon"], wait(0, false)),
        ] {
            assert_eq!(
                asked(query, preferences),
                Ok(expected),
                "{query} {preferences:?}"
            );
        }
    }

    #[test]
    fn a_parameter_that_is_no_wait_is_refused() {
        for query in [
            "wait=",
            "wait",
            "wait=61",
            "wait=-1",
            "wait=+1",
            "wait=1.5",
            "wait=%205",
            "wait=x",
            "wait=1&wait=2",
            "wait=99999999999999999999",
        ] {
            assert_eq!(asked(query, &[]), Err(Code::BadRequest), "{query}");
        }
    }

    #[test]
    fn only_a_preference_that_counts_is_said_to_be_applied() {
        let applied = |wait: Wait| wait.applied().map(|line| line.to_str().unwrap().to_owned());
        assert_eq!(applied(wait(5, true)).as_deref(), Some("wait=5"));
        assert_eq!(applied(wait(5, false)), None);
    }
}
