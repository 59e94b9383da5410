//! How long a caller waits for the response itself, and what it gets after that time.

use std::time::Duration;

use http::HeaderMap;

use super::admission::dialects;
use crate::{
    config::{OnSlow, RunSettings},
    model::dialect::{
        Dialect,
        prefer::{self, Honoured},
    },
};

/// What is left of the grace period after the longest wait.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// How long a caller waits for the head of its response, from the end of its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long.
    pub(super) time: Duration,
    /// What becomes of the request then.
    pub(super) then: OnSlow,
    /// The dialect of the 202 that it then gets.
    pub(super) dialect: &'static Dialect,
    /// The preferences that say so.
    pub(super) honoured: Honoured,
}

impl Patience {
    /// That of a request that asked for a run in this dialect; none if its 202 comes at once. An idempotency key has
    /// to be stored before anything is sent, so a wait beside one is not honoured; nor is one of no seconds.
    pub(super) fn of_run(
        headers: &HeaderMap,
        settings: &RunSettings,
        asked: &'static Dialect,
        has_key: bool,
    ) -> Option<Self> {
        if !is_prefer(asked) || has_key {
            return None;
        }
        let seconds = wait(headers, settings).filter(|seconds| *seconds > 0)?;
        Some(Self {
            time: Duration::from_secs(seconds),
            then: OnSlow::Convert,
            dialect: asked,
            honoured: Honoured {
                respond_async: true,
                wait: Some(seconds),
            },
        })
    }

    /// That of a request that asked for no run; none if it waits as long as it takes. `wait=N` counts in place of
    /// `convert_after`, for fewer or more seconds.
    pub(super) fn of_plain(headers: &HeaderMap, settings: &RunSettings) -> Option<Self> {
        let after = settings.convert_after?;
        let spoken = dialects(settings).find(|dialect| is_prefer(dialect));
        let asked = spoken.and_then(|dialect| Some((dialect, wait(headers, settings)?)));
        let wait = asked.map(|(_, seconds)| seconds);
        Some(Self {
            time: wait.map_or(after, Duration::from_secs),
            then: settings.on_slow,
            dialect: match asked {
                Some((dialect, _)) => dialect,
                None => dialects(settings).next()?,
            },
            honoured: Honoured {
                respond_async: false,
                wait,
            },
        })
    }
}

fn is_prefer(dialect: &Dialect) -> bool {
    dialect.name == prefer::DIALECT.name
}

/// The seconds of `Prefer: wait=N`, at most `max_wait`, and so few that some of the grace period is left; none where
/// that leaves none.
fn wait(headers: &HeaderMap, settings: &RunSettings) -> Option<u64> {
    let grace = settings.policy.response_grace_period;
    let most = settings
        .max_wait
        .min(grace.saturating_sub(LEAST_GRACE))
        .as_secs();
    let asked = prefer::wait(headers)?;
    (asked == 0 || most > 0).then_some(asked.min(most))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::{config::Config, model::dialect::named};

    fn settings(more: &str) -> std::sync::Arc<RunSettings> {
        let text = format!("[[route]]\nname = \"api\"\n[route.async]\n{more}");
        let config = Config::embedded(&text).unwrap();
        config.routes[0].run.clone().unwrap()
    }

    fn prefer(lines: &[&'static str]) -> HeaderMap {
        let name = HeaderName::from_static("prefer");
        lines
            .iter()
            .map(|line| (name.clone(), HeaderValue::from_static(line)))
            .collect()
    }

    /// Seconds, dialect, and what is said to be honoured.
    fn told(patience: Option<Patience>) -> Option<(u64, &'static str, String)> {
        let patience = patience?;
        let applied = patience.honoured.applied();
        let applied = applied.map_or(String::new(), |line| line.to_str().unwrap().to_owned());
        Some((patience.time.as_secs(), patience.dialect.name, applied))
    }

    fn expected(
        seconds: u64,
        dialect: &'static str,
        applied: &str,
    ) -> Option<(u64, &'static str, String)> {
        Some((seconds, dialect, applied.to_owned()))
    }

    #[test]
    fn a_plain_request_waits_as_long_as_its_route_or_its_preference_says() {
        let cerebrium = "dialects = [\"cerebrium\"]\n";
        for (more, lines, patience) in [
            ("", &[][..], None),
            ("", &["wait=5"], None),
            ("convert_after = 30\n", &[], expected(30, "cerebrium", "")),
            (
                "convert_after = 30\n",
                &["wait=5"],
                expected(5, "prefer", "wait=5"),
            ),
            (
                "convert_after = 30\n",
                &["wait=45"],
                expected(45, "prefer", "wait=45"),
            ),
            (
                "convert_after = 30\n",
                &["wait=999999999999999999999999"],
                expected(60, "prefer", "wait=60"),
            ),
            (
                "convert_after = 30\n",
                &["wait=0"],
                expected(0, "prefer", "wait=0"),
            ),
            (
                "convert_after = 30\n",
                &["wait=-1", "return=minimal"],
                expected(30, "cerebrium", ""),
            ),
            (
                "convert_after = 30\nmax_wait = 0\n",
                &["wait=5"],
                expected(30, "cerebrium", ""),
            ),
            (
                "convert_after = 3\nresponse_grace_period = \"20s\"\n",
                &["wait=50"],
                expected(19, "prefer", "wait=19"),
            ),
            (
                &format!("convert_after = 30\n{cerebrium}"),
                &["wait=5"],
                expected(30, "cerebrium", ""),
            ),
        ] {
            let settings = settings(more);
            let of = Patience::of_plain(&prefer(lines), &settings);
            assert_eq!(told(of), patience, "{more}{lines:?}");
        }
    }

    #[test]
    fn a_request_for_a_run_waits_only_if_it_prefers_to() {
        let asked = named("prefer").unwrap();
        let applied = "respond-async, wait=5";
        for (more, line, has_key, patience) in [
            ("", "respond-async", false, None),
            (
                "",
                "respond-async, wait=5",
                false,
                expected(5, "prefer", applied),
            ),
            (
                "max_wait = 5\n",
                "respond-async, wait=500",
                false,
                expected(5, "prefer", applied),
            ),
            ("", "respond-async, wait=5", true, None),
            ("", "respond-async, wait=0", false, None),
            ("", "respond-async, wait=soon", false, None),
            ("max_wait = 0\n", "respond-async, wait=5", false, None),
        ] {
            let settings = settings(more);
            let of = Patience::of_run(&prefer(&[line]), &settings, asked, has_key);
            assert_eq!(told(of), patience, "{more}{line}");
        }
        let query = named("cerebrium").unwrap();
        let of = Patience::of_run(&prefer(&["wait=5"]), &settings(""), query, false);
        assert!(of.is_none());
    }
}
