//! Which runs are asked for: what a list, a count or a bulk action is about.

use super::{
    delivery::DeliveryState,
    run::{Reason, Run, RunState},
    time::Timestamp,
};

/// Conditions that a run must meet, all of them; one that is empty or none asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Any of these states.
    pub states: Vec<RunState>,
    /// Any of these reasons.
    pub reasons: Vec<Reason>,
    /// This route.
    pub route: Option<String>,
    /// This name: the OpenWhisk action, otherwise the path.
    pub name: Option<String>,
    /// This dialect.
    pub dialect: Option<String>,
    /// Accepted then or later.
    pub since: Option<Timestamp>,
    /// Accepted then or earlier.
    pub until: Option<Timestamp>,
    /// First started then or later; one that never started counts from its acceptance.
    pub started_since: Option<Timestamp>,
    /// First started then or earlier; one that never started counts from its acceptance.
    pub started_until: Option<Timestamp>,
    /// A delivery in this state.
    pub delivery: Option<DeliveryState>,
    /// A delivery to this host.
    pub host: Option<String>,
}

impl Filter {
    /// Whether `run` meets all conditions.
    pub fn takes(&self, run: &Run) -> bool {
        fn any<T: PartialEq>(wanted: &[T], is: Option<&T>) -> bool {
            wanted.is_empty() || is.is_some_and(|is| wanted.contains(is))
        }
        fn is(wanted: Option<&String>, text: Option<&str>) -> bool {
            wanted.is_none_or(|wanted| text == Some(wanted))
        }
        let after = |time: Option<Timestamp>, since: Option<Timestamp>| {
            since.is_none_or(|since| time.is_some_and(|time| time >= since))
        };
        let before = |time: Option<Timestamp>, until: Option<Timestamp>| {
            until.is_none_or(|until| time.is_some_and(|time| time <= until))
        };
        let delivery = run.delivery.as_ref();
        let accepted = Some(run.accepted_at);
        let started = run.started_at.or(accepted);
        any(&self.states, Some(&run.state))
            && any(&self.reasons, run.reason.as_ref())
            && is(self.route.as_ref(), Some(&run.policy.route))
            && is(self.name.as_ref(), Some(&run.facts.name))
            && is(self.dialect.as_ref(), Some(&run.facts.dialect))
            && after(accepted, self.since)
            && before(accepted, self.until)
            && after(started, self.started_since)
            && before(started, self.started_until)
            && self
                .delivery
                .is_none_or(|state| delivery.is_some_and(|delivery| delivery.state == state))
            && is(
                self.host.as_ref(),
                delivery.map(|delivery| delivery.host.as_str()),
            )
    }
}
