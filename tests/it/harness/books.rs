//! Reads the metrics page, and checks the books in it.

/// The sum of a metric over all its lines that have these labels.
pub(crate) fn metric(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    lines(page)
        .filter(|line| line.name == name)
        .filter(|line| labels.iter().all(|label| line.labels.contains(label)))
        .map(|line| line.value)
        .sum()
}

/// Asserts that every run that was ever accepted is somewhere.
pub(crate) fn assert_balanced(page: &str) {
    let accepted = metric(page, "raincheck_store_runs_accepted", &[]);
    let states = metric(page, "raincheck_store_runs", &[]);
    assert!(
        page.contains("raincheck_store_runs_accepted"),
        "no books on the metrics page"
    );
    assert_eq!(accepted, states, "the books do not balance:\n{page}");
}

/// One sample of a metrics page.
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) value: f64,
}

/// All samples of a metrics page.
pub(crate) fn lines(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (head, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = head.split_once('{').unwrap_or((head, ""));
            let labels = labels
                .trim_end_matches('}')
                .split(',')
                .filter_map(|label| label.split_once('='))
                .map(|(name, value)| (name, value.trim_matches('"')))
                .collect();
            Sample {
                name,
                labels,
                value: value.parse().expect("a number"),
            }
        })
}
