//! `conf/alerts.yml` and `conf/grafana.json`: they name only metrics, labels and values that there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    file,
    promql::{Names, names},
    tool,
};
use crate::harness::{Server, Setup, lines};

/// What Prometheus adds to every metric that it scrapes.
const SCRAPED: [&str; 2] = ["instance", "job"];

/// The values of each label of each metric.
type Page = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The metrics of a program with a route `app`.
fn page() -> Page {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let text = proxy.admin_get("/metrics").text();
    let mut page = Page::new();
    for line in lines(&text) {
        let labels = page.entry(line.name.to_owned()).or_default();
        for (label, value) in line.labels {
            let values = labels.entry(label.to_owned()).or_default();
            values.insert(value.to_owned());
        }
    }
    page
}

/// Holds an expression, and the labels that its texts show, to what there is.
fn assert_exists(page: &Page, expression: &str, shown: &[String]) {
    let Names {
        selectors,
        grouping,
        left,
    } = names(expression);
    assert!(!selectors.is_empty(), "no metric in {expression}");
    let mut known: BTreeSet<&str> = SCRAPED.into();
    for selector in &selectors {
        let labels = page
            .get(&selector.metric)
            .unwrap_or_else(|| panic!("there is no metric {} in {expression}", selector.metric));
        known.extend(labels.keys().map(String::as_str));
        for (label, value) in &selector.wanted {
            if SCRAPED.contains(&&**label) {
                continue;
            }
            let values = labels.get(label).unwrap_or_else(|| {
                panic!("{} has no label {label}: {expression}", selector.metric)
            });
            assert!(
                value.starts_with('$') || values.contains(value),
                "{} has no {label}={value}: {expression}",
                selector.metric
            );
        }
    }
    for label in &grouping {
        assert!(known.contains(&**label), "no label {label}: {expression}");
    }
    for label in shown {
        let there = match &left {
            Some(left) => left.contains(label),
            None => known.contains(&**label),
        };
        assert!(there, "{label} is shown, but gone: {expression}");
    }
}

/// The labels between `open` and `}}`.
fn placeholders(text: &str, open: &str) -> Vec<String> {
    let parts = text.split(open).skip(1);
    parts
        .filter_map(|part| part.split_once("}}"))
        .map(|(label, _)| label.trim().to_owned())
        .collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    let text = value[key].as_str();
    text.unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn alerts_use_what_there_is_and_say_what_to_do() {
    let rules: Value = serde_saphyr::from_str(&file("conf/alerts.yml")).expect("YAML");
    let rules = rules["groups"][0]["rules"].as_array().expect("rules");
    let page = page();
    let mut seen = BTreeSet::new();
    for rule in rules {
        let name = text(rule, "alert");
        assert!(seen.insert(name), "{name} is there twice");
        let said = &rule["annotations"];
        let severity = text(&rule["labels"], "severity");
        assert!(["critical", "warning"].contains(&severity), "{name}");
        assert!(text(said, "description").len() > 40, "{name}");
        let shown = placeholders(text(said, "summary"), "{{ $labels.");
        assert_exists(&page, text(rule, "expr"), &shown);
    }
}

#[test]
fn the_dashboard_uses_what_there_is() {
    let dashboard: Value = serde_json::from_str(&file("conf/grafana.json")).expect("JSON");
    let page = page();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "an id twice: {panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let shown = placeholders(text(target, "legendFormat"), "{{");
            assert_exists(&page, text(target, "expr"), &shown);
        }
    }
    for note in dashboard["annotations"]["list"].as_array().expect("notes") {
        let shown = placeholders(text(note, "textFormat"), "{{");
        assert_exists(&page, text(note, "expr"), &shown);
    }
    for variable in dashboard["templating"]["list"].as_array().expect("list") {
        let Some(query) = variable["definition"].as_str() else {
            continue;
        };
        let asked = query.strip_prefix("label_values(").expect(query);
        let (metric, label) = asked.split_once(", ").expect(query);
        let label = label.trim_end_matches(')').to_owned();
        assert_exists(&page, metric, &[label]);
    }
}

#[test]
fn prometheus_takes_the_alerts_and_they_fire_when_they_should() {
    let root = env!("CARGO_MANIFEST_DIR");
    let rules = format!("{root}/conf/alerts.yml");
    let Some((right, said)) = tool("promtool", &["check", "rules", &rules]) else {
        return;
    };
    assert!(right, "{said}");
    let tests = format!("{root}/tests/packaging/alerts.yml");
    let (right, said) = tool("promtool", &["test", "rules", &tests]).expect("it was there before");
    assert!(right, "{said}");
}
