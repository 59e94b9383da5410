//! Which runs a list is about, as flags: the filters of the admin API, which also checks their values.

use clap::{Args, builder::PossibleValuesParser};

use crate::model::{
    delivery::DeliveryState,
    run::{Reason, RunState},
};

/// Conditions that a run must meet, all of them.
#[derive(Debug, Default, Args)]
pub(super) struct Filter {
    /// In any of these states; repeat it, or write a list with commas.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(RunState::ALL.map(RunState::as_str)))]
    state: Vec<String>,
    /// Ended with success, or without.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    success: Option<bool>,
    /// Failed for any of these reasons.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)))]
    reason: Vec<String>,
    /// On this route.
    #[arg(long)]
    route: Option<String>,
    /// Of this name: the OpenWhisk action, otherwise the path.
    #[arg(long)]
    name: Option<String>,
    /// Asked for in this dialect.
    #[arg(long)]
    dialect: Option<String>,
    /// With a delivery in this state.
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(DeliveryState::ALL.map(DeliveryState::as_str)))]
    delivery: Option<String>,
    /// With a delivery to this host.
    #[arg(long)]
    host: Option<String>,
    /// Accepted then or later: 2026-11-21T12:00:00Z, or how long ago, like -15m.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Accepted then or earlier.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
}

impl Filter {
    /// As parameters of the admin API.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let list = |words: &[String]| (!words.is_empty()).then(|| words.join(","));
        let parameters = [
            ("state", list(&self.state)),
            ("success", self.success.map(|success| success.to_string())),
            ("reason", list(&self.reason)),
            ("route", self.route.clone()),
            ("name", self.name.clone()),
            ("dialect", self.dialect.clone()),
            ("delivery", self.delivery.clone()),
            ("host", self.host.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
        ];
        let given = parameters.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        filter: Filter,
    }

    fn parse(words: &str) -> Result<Vec<(&'static str, String)>, String> {
        let line = Line::try_parse_from(["list"].into_iter().chain(words.split_whitespace()));
        line.map(|line| line.filter.parameters())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn flags_become_parameters_and_lists_are_joined() {
        assert_eq!(parse("").unwrap(), []);
        let all = parse(
            "--state failed,cancelled --state queued --success=false --reason timeout --route a --name /b \
             --dialect prefer --delivery dead --host h --since -15m --until 2026-11-21T12:00:00+02:00",
        )
        .unwrap();
        let written: Vec<_> = all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let expected = "state=failed,cancelled,queued success=false reason=timeout route=a name=/b dialect=prefer \
                        delivery=dead host=h since=-15m until=2026-11-21T12:00:00+02:00";
        assert_eq!(written.join(" "), expected);
        assert_eq!(
            parse("--success").unwrap(),
            [("success", "true".to_owned())]
        );
    }

    #[test]
    fn words_that_are_none_are_refused_with_those_that_are() {
        let said = parse("--state done").unwrap_err();
        assert!(
            said.contains("succeeded") && said.contains("cancelled"),
            "{said}"
        );
        let said = parse("--reason tired").unwrap_err();
        assert!(said.contains("upstream_status"), "{said}");
        assert!(parse("--success perhaps").is_err());
        assert!(parse("--since").is_err());
    }
}
