//! Query parameters of the admin API: one table says what there is, checks what is given, and describes it.

use url::form_urlencoded;

use crate::model::{
    delivery::DeliveryState,
    dialect,
    filter::Filter,
    id::RunId,
    moment,
    problem::{Code, Problem},
    run::{Reason, RunState},
    time::Timestamp,
};

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// What it asks for.
    pub(super) says: &'static str,
    pub(super) kind: Kind,
}

/// What the value of a parameter may be.
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(fn() -> Vec<&'static str>),
    /// Some of these words: the parameter repeated, or a list with commas.
    AnyOf(fn() -> Vec<&'static str>),
    /// Anything.
    Text,
    /// See [`moment::read`].
    Moment,
    /// A whole number.
    Number { least: u32, most: u32, default: u32 },
    /// The `next_cursor` of an answer.
    Cursor,
}

const fn parameter(name: &'static str, kind: Kind, says: &'static str) -> Parameter {
    Parameter { name, says, kind }
}

pub(super) static STATE: Parameter = parameter(
    "state",
    Kind::AnyOf(|| RunState::ALL.map(RunState::as_str).to_vec()),
    "Runs in any of these states.",
);
pub(super) static UNFINISHED: Parameter = parameter(
    "state",
    Kind::AnyOf(|| vec![RunState::Queued.as_str(), RunState::Running.as_str()]),
    "Runs in any of these states; without it, in both.",
);
pub(super) static SUCCESS: Parameter = parameter(
    "success",
    Kind::Flag,
    "Finished runs that succeeded, or that did not.",
);
pub(super) static REASON: Parameter = parameter(
    "reason",
    Kind::AnyOf(|| Reason::ALL.map(Reason::as_str).to_vec()),
    "Runs that failed for any of these reasons.",
);
pub(super) static ROUTE: Parameter = parameter("route", Kind::Text, "Runs of this route.");
pub(super) static NAME: Parameter = parameter(
    "name",
    Kind::Text,
    "Runs of this name: the OpenWhisk action, otherwise the path.",
);
pub(super) static DIALECT: Parameter = parameter(
    "dialect",
    Kind::OneOf(|| {
        let spoken = dialect::ALL.iter().map(|dialect| dialect.name);
        spoken.chain([dialect::openwhisk::DIALECT.name]).collect()
    }),
    "Runs that were asked for in this dialect.",
);
pub(super) static SINCE: Parameter = parameter(
    "since",
    Kind::Moment,
    "Runs accepted then or later: RFC 3339, or how long ago, like `-15m`.",
);
pub(super) static UNTIL: Parameter = parameter(
    "until",
    Kind::Moment,
    "Runs accepted then or earlier: RFC 3339, or how long ago, like `-15m`.",
);
pub(super) static DELIVERY: Parameter = parameter(
    "delivery",
    Kind::OneOf(|| DeliveryState::ALL.map(DeliveryState::as_str).to_vec()),
    "Runs with a delivery in this state.",
);
pub(super) static HOST: Parameter = parameter(
    "host",
    Kind::Text,
    "Runs with a delivery to this host, without its port.",
);
pub(super) static LIMIT: Parameter = parameter(
    "limit",
    Kind::Number {
        least: 1,
        most: 200,
        default: 50,
    },
    "How many runs at most.",
);
pub(super) static CURSOR: Parameter = parameter(
    "cursor",
    Kind::Cursor,
    "Where to go on: the `next_cursor` of the answer before.",
);
pub(super) static DRY_RUN: Parameter = parameter(
    "dry_run",
    Kind::Flag,
    "Only say how many there are, and change nothing.",
);
pub(super) static ALL: Parameter = parameter(
    "all",
    Kind::Flag,
    "Needed where nothing else says which ones are meant.",
);

/// The parameters of a request, each known and with a value that it can have.
pub(super) struct Given {
    pairs: Vec<(&'static Parameter, String)>,
    now: Timestamp,
}

impl Given {
    /// Reads a query that may have the parameters in `known`.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`], with what is wrong and the values that are allowed.
    pub(super) fn read(
        query: Option<&str>,
        known: &[&'static Parameter],
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let mut given = Self {
            pairs: Vec::new(),
            now,
        };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(parameter) = known.iter().find(|known| known.name == name) else {
                return Err(unknown(&name, known));
            };
            given.take(parameter, &value)?;
        }
        Ok(given)
    }

    fn take(&mut self, parameter: &'static Parameter, value: &str) -> Result<(), Problem> {
        let name = parameter.name;
        if value.is_empty() {
            let says = format!("`{name}` has no value. Give it one, or leave it out.");
            return Err(invalid(says));
        }
        if let Kind::AnyOf(words) = parameter.kind {
            for word in value.split(',') {
                one_of(name, word, &words())?;
                self.pairs.push((parameter, word.to_owned()));
            }
            return Ok(());
        }
        if self.one(parameter).is_some() {
            let says = format!("`{name}` is given several times. Give it once.");
            return Err(invalid(says));
        }
        match parameter.kind {
            Kind::Flag => one_of(name, value, &["true", "false"])?,
            Kind::OneOf(words) => one_of(name, value, &words())?,
            Kind::Moment => {
                let read = moment::read(value, self.now);
                read.map_err(|error| invalid(format!("`{name}` is {}: {error}.", shown(value))))?;
            }
            Kind::Number { least, most, .. } => {
                let number = value.parse::<u32>().ok();
                if !number.is_some_and(|number| (least..=most).contains(&number)) {
                    let is = shown(value);
                    let says = format!("`{name}` is {is}. Write a number from {least} to {most}.");
                    return Err(invalid(says));
                }
            }
            Kind::Cursor => {
                let read = value.parse::<RunId>();
                read.map_err(|_| {
                    invalid(format!(
                        "`{name}` is {}. Write the next_cursor of an answer, or leave it out.",
                        shown(value)
                    ))
                })?;
            }
            Kind::Text | Kind::AnyOf(_) => {}
        }
        self.pairs.push((parameter, value.to_owned()));
        Ok(())
    }

    /// Whether none but `others` are given.
    pub(super) fn is_empty_but(&self, others: &[&'static Parameter]) -> bool {
        let mut names = self.pairs.iter().map(|(parameter, _)| parameter.name);
        names.all(|name| others.iter().any(|other| other.name == name))
    }

    fn one(&self, parameter: &Parameter) -> Option<&str> {
        self.values(parameter).next()
    }

    fn values(&self, parameter: &Parameter) -> impl Iterator<Item = &str> + use<'_> {
        let (pairs, name) = (self.pairs.iter(), parameter.name);
        pairs
            .filter(move |(given, _)| given.name == name)
            .map(|(_, value)| value.as_str())
    }

    /// A flag's value, if it is given.
    pub(super) fn flag(&self, parameter: &Parameter) -> Option<bool> {
        self.one(parameter).map(|value| value == "true")
    }

    /// A number's value.
    pub(super) fn number(&self, parameter: &Parameter) -> u32 {
        let default = match parameter.kind {
            Kind::Number { default, .. } => default,
            _ => 0,
        };
        let given = self.one(parameter);
        given
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    /// Where to go on.
    pub(super) fn cursor(&self) -> Option<RunId> {
        self.one(&CURSOR)?.parse().ok()
    }

    /// The runs that are asked for; none if no run can be what is asked for.
    pub(super) fn filter(&self) -> Option<Filter> {
        let moment = |parameter| moment::read(self.one(parameter)?, self.now).ok();
        let text = |parameter| self.one(parameter).map(str::to_owned);
        Some(Filter {
            states: self.states()?,
            reasons: picked(&Reason::ALL, Reason::as_str, self.values(&REASON)),
            route: text(&ROUTE),
            name: text(&NAME),
            dialect: text(&DIALECT),
            since: moment(&SINCE),
            until: moment(&UNTIL),
            started_since: None,
            started_until: None,
            delivery: picked(
                &DeliveryState::ALL,
                DeliveryState::as_str,
                self.values(&DELIVERY),
            )
            .first()
            .copied(),
            host: text(&HOST).map(|host| host.to_ascii_lowercase()),
        })
    }

    /// The states that `state` and `success` have in common; empty: any; none: there are none.
    fn states(&self) -> Option<Vec<RunState>> {
        let mut states = picked(&RunState::ALL, RunState::as_str, self.values(&STATE));
        let Some(success) = self.flag(&SUCCESS) else {
            return Some(states);
        };
        if states.is_empty() {
            states = RunState::ALL.to_vec();
        }
        states.retain(|state| state.is_final() && (*state == RunState::Succeeded) == success);
        (!states.is_empty()).then_some(states)
    }
}

/// Of `all`, those whose names are among `wanted`.
fn picked<'a, T: Copy>(
    all: &[T],
    name: fn(T) -> &'static str,
    wanted: impl Iterator<Item = &'a str>,
) -> Vec<T> {
    let wanted: Vec<_> = wanted.collect();
    let picked = all.iter().copied();
    picked.filter(|one| wanted.contains(&name(*one))).collect()
}

fn one_of(name: &str, word: &str, words: &[&str]) -> Result<(), Problem> {
    if words.contains(&word) {
        return Ok(());
    }
    let (is, words) = (shown(word), words.join(", "));
    Err(invalid(format!("`{name}` is {is}. Write one of: {words}.")))
}

fn unknown(name: &str, known: &[&'static Parameter]) -> Problem {
    let is = shown(name);
    if known.is_empty() {
        return invalid(format!(
            "{is} is no parameter of this resource; it has none."
        ));
    }
    let names: Vec<_> = known.iter().map(|known| known.name).collect();
    let names = names.join(", ");
    invalid(format!(
        "{is} is no parameter of this resource. It has: {names}."
    ))
}

/// The beginning of what was given, for a message.
fn shown(value: &str) -> String {
    const MOST: usize = 60;
    let short: String = value.chars().take(MOST).collect();
    let more = if short.len() < value.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

/// A parameter is not valid.
pub(super) fn invalid(says: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidParameter, says)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
    static SOME: [&Parameter; 6] = [&STATE, &SUCCESS, &REASON, &SINCE, &LIMIT, &CURSOR];

    fn read(query: &str) -> Result<Given, String> {
        Given::read(Some(query), &SOME, NOW).map_err(|problem| problem.detail)
    }

    fn filter(query: &str) -> Option<Filter> {
        read(query).unwrap().filter()
    }

    #[test]
    fn states_are_repeated_or_listed() {
        let wanted = [RunState::Queued, RunState::Failed];
        for query in [
            "state=queued&state=failed",
            "state=failed,queued",
            "state=failed%2Cqueued",
        ] {
            assert_eq!(filter(query).unwrap().states, wanted, "{query}");
        }
        assert_eq!(filter("").unwrap(), Filter::default());
    }

    #[test]
    fn success_narrows_the_states_and_may_leave_none() {
        let states = |query| filter(query).map(|filter| filter.states);
        assert_eq!(states("success=true"), Some(vec![RunState::Succeeded]));
        let failures = vec![RunState::Failed, RunState::Cancelled];
        assert_eq!(states("success=false"), Some(failures));
        let cancelled = vec![RunState::Cancelled];
        assert_eq!(
            states("success=false&state=cancelled,queued"),
            Some(cancelled)
        );
        assert_eq!(states("success=true&state=failed"), None);
        assert_eq!(states("success=false&state=running"), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (query, says) in [
            (
                "stat=failed",
                "\"stat\" is no parameter of this resource. It has: state, success, reason, since, limit, cursor.",
            ),
            (
                "state=fail",
                "`state` is \"fail\". Write one of: queued, running, succeeded, failed, cancelled.",
            ),
            (
                "state=queued,",
                "`state` is \"\". Write one of: queued, running, succeeded, failed, cancelled.",
            ),
            (
                "success=yes",
                "`success` is \"yes\". Write one of: true, false.",
            ),
            (
                "success=true&success=true",
                "`success` is given several times. Give it once.",
            ),
            ("limit=0", "`limit` is \"0\". Write a number from 1 to 200."),
            (
                "limit=201",
                "`limit` is \"201\". Write a number from 1 to 200.",
            ),
            (
                "limit=-1",
                "`limit` is \"-1\". Write a number from 1 to 200.",
            ),
            (
                "limit=99999999999999999999",
                "`limit` is \"99999999999999999999\". Write a number from 1 to 200.",
            ),
            (
                "cursor=garbage",
                "`cursor` is \"garbage\". Write the next_cursor of an answer, or leave it out.",
            ),
            (
                "state=",
                "`state` has no value. Give it one, or leave it out.",
            ),
            (
                "limit",
                "`limit` has no value. Give it one, or leave it out.",
            ),
        ] {
            assert_eq!(read(query).err().as_deref(), Some(says), "{query}");
        }
        let since = read("since=yesterday").err().unwrap();
        assert!(since.contains("-15m") && since.contains("2026-"), "{since}");
        let long = read(&format!("{}=1", "x".repeat(5000))).err().unwrap();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn a_limit_has_a_default() {
        assert_eq!(read("").unwrap().number(&LIMIT), 50);
        assert_eq!(read("limit=200").unwrap().number(&LIMIT), 200);
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query: String) {
            if let Ok(given) = read(&query) {
                let _ = given.filter();
            }
        }

        #[test]
        fn no_value_makes_it_panic(name in "state|success|reason|since|limit|cursor", value: String) {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            let _ = read(&query);
        }
    }
}
