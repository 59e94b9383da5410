//! The admin API against its own description, by Schemathesis as `.ci/clients` installs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Ask, Gate, Raincheck, Server, Setup, encoded};

/// What the description cannot say: acting by filter wants at least one condition.
const RULES: &str = r#"
seed = 1
continue-on-failure = true
warnings = false
request-timeout = 10
[phases.stateful]
enabled = false
[generation]
max-examples = 15
[[operations]]
include-path = "/api/v1/runs/cancel"
checks.positive_data_acceptance.enabled = false
[[operations]]
include-path = "/api/v1/deliveries/redeliver"
checks.positive_data_acceptance.enabled = false
# A stream without end.
[[operations]]
include-path = "/api/v1/events"
enabled = false
"#;

#[test]
fn every_answer_is_as_described() {
    let Some(python) = installed() else { return };
    let (_gate, proxy, ids) = proxy_with_runs();
    let known = format!("[parameters]\n\"path.id\" = {ids:?}\n");
    for rules in [RULES.to_owned(), format!("{RULES}{known}")] {
        let file = proxy.folder().join("schemathesis.toml");
        fs::write(&file, rules).expect("write");
        let output = Command::new("python3")
            .args(["-m", "schemathesis.cli", "--config-file"])
            .arg(&file)
            .args(["--no-color", "run"])
            .arg(format!("http://{}/openapi.json", proxy.admin()))
            .env("PYTHONPATH", &python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(proxy.folder())
            .output()
            .expect("start");
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{wrong}");
        assert!(said.contains("Tested: 13"), "{said}");
    }
}

/// The folder of its packages.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn installed() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/python");
    if !python.join("schemathesis").exists() {
        eprintln!("skipped: `.ci/clients` has not installed Schemathesis");
        return None;
    }
    Some(python)
}

/// A proxy with a run in each state but queued, and their ids. The gate holds the one that is running.
fn proxy_with_runs() -> (Gate, Raincheck, Vec<String>) {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/held" {
            wait.wait();
        }
        answer.reply(200, &[("Content-Type", "application/json")], "{}")
    });
    let receiver = Server::fixed(500, "no");
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&receiver.url("/"));
    let dead = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    proxy.delivered(&dead);
    let cancelled = proxy.run(&Ask::get("/held?async=true"));
    proxy.ask(&Ask::new("DELETE", &cancelled.location));
    let held = proxy.run(&Ask::get("/held?async=true"));
    let ids = vec![dead.id, cancelled.id, held.id];
    (gate, proxy, ids)
}
