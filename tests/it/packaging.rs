//! What is handed to operators in `conf/` and for containers: it is right, and it fits the program.

mod containers;
mod metrics;
mod promql;
mod unit;

use std::{fs, path::Path, process::Command};

use crate::harness::PROGRAM;

/// A file of the repository.
fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Holds a configuration to `raincheck check`, with the secrets and PEM files that it names. The unit's credentials
/// are looked for beside it.
fn assert_right(name: &str, config: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
    put("cert.pem", &made.cert.pem());
    put("ca.pem", &made.cert.pem());
    put("key.pem", &made.signing_key.serialize_pem());
    put(
        "raincheck.toml",
        &config.replace("/run/credentials/raincheck.service/", ""),
    );
    let output = Command::new(PROGRAM)
        .arg("check")
        .current_dir(folder.path())
        .env("RAINCHECK_ADMIN_TOKEN", "0123456789abcdef0123")
        .env(
            "RAINCHECK_SIGNING_SECRET",
            "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
        )
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
}

/// Seconds of a duration in a configuration or a unit.
fn seconds(text: &str) -> u64 {
    humantime::parse_duration(text).expect(text).as_secs()
}

/// The longest that a configuration lets a stop take, in seconds.
fn longest_stop(config: &toml::Table) -> u64 {
    ["shutdown_delay", "drain_timeout"]
        .iter()
        .filter_map(|key| config["server"].get(key)?.as_str())
        .map(seconds)
        .sum()
}

/// Runs a tool that a machine may lack; whether it was content, and what it said. None, with a word, without it.
#[expect(
    clippy::print_stderr,
    reason = "a test that is left out says so, on a machine that may have the tool"
)]
fn tool(name: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(name).args(arguments).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some((
                output.status.success(),
                String::from_utf8_lossy(&said).into_owned(),
            ))
        }
        Err(error) => {
            eprintln!("skipped: {name}: {error}");
            None
        }
    }
}

#[test]
fn every_configuration_passes_check() {
    for name in ["raincheck.toml", "production.toml", "package.toml"] {
        assert_right(name, &file(&format!("conf/{name}")));
    }
}
