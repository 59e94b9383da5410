//! As much of PromQL as it takes to see which metrics and labels an expression names.

/// A metric with what its braces ask for: labels and values, alternatives of `=~` one by one.
#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) wanted: Vec<(String, String)>,
}

/// What an expression names.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) selectors: Vec<Selector>,
    /// Labels after `by`, `on`, `without`, `ignoring`.
    pub(super) grouping: Vec<String>,
    /// Labels that are left of an outermost aggregation; none if nothing is aggregated `by`.
    pub(super) left: Option<Vec<String>>,
}

/// Words that are no metrics. Another one is taken for a metric, so that none is overlooked.
const WORDS: [&str; 14] = [
    "absent",
    "and",
    "changes",
    "delta",
    "deriv",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "min",
    "rate",
    "sum",
    "time",
    "or",
];

pub(super) fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        if c == '[' {
            rest = rest.split_once(']').expect("a closed range").1;
        } else if c.is_ascii_alphabetic() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = named(word, after.trim_start(), &mut names);
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    names
}

/// Takes in one word; what is left behind it.
fn named<'e>(word: &str, after: &'e str, names: &mut Names) -> &'e str {
    if ["by", "on", "without", "ignoring"].contains(&word) {
        let (inside, rest) = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'))
            .expect("labels");
        let labels: Vec<_> = inside.split(',').map(|l| l.trim().to_owned()).collect();
        if word == "by" && names.left.is_none() {
            names.left = Some(labels.clone());
        }
        names.grouping.extend(labels);
        return rest;
    }
    if WORDS.contains(&word) {
        return after;
    }
    let (inside, rest) = match after.strip_prefix('{') {
        Some(after) => after.split_once('}').expect("closed braces"),
        None => ("", after),
    };
    // No value in these files has a comma.
    let wanted = inside.split(',').filter(|part| !part.is_empty());
    let wanted = wanted.flat_map(|part| {
        let (label, value) = part.split_once(['=', '!']).expect("a matcher");
        let value = value.trim_start_matches(['=', '~']).trim_matches('"');
        value
            .split('|')
            .map(|one| (label.trim().to_owned(), one.to_owned()))
            .collect::<Vec<_>>()
    });
    names.selectors.push(Selector {
        metric: word.to_owned(),
        wanted: wanted.collect(),
    });
    rest
}

#[test]
fn metrics_labels_and_values_are_seen() {
    let seen = names(
        r#"histogram_quantile(0.9, sum by (route, le) (rate(x_bucket{a="1",b=~"2|3"}[10m]))) > 3 and on (job) y"#,
    );
    let metrics: Vec<_> = seen.selectors.iter().map(|s| &*s.metric).collect();
    assert_eq!(metrics, ["x_bucket", "y"]);
    let wanted: Vec<_> = seen.selectors[0]
        .wanted
        .iter()
        .map(|(l, v)| (&**l, &**v))
        .collect();
    assert_eq!(wanted, [("a", "1"), ("b", "2"), ("b", "3")]);
    assert_eq!(seen.grouping, ["route", "le", "job"]);
    assert_eq!(seen.left.expect("by"), ["route", "le"]);
}
