//! Commands, their exit codes, and what they say of a wrong configuration.

use std::{
    fs,
    process::{Command, Output},
};

use crate::harness::{PROGRAM, Server, Setup, free_port};

fn raincheck(arguments: &[&str], folder: &std::path::Path) -> (i32, String, String) {
    let output: Output = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        output.status.code().expect("a code"),
        text(output.stdout),
        text(output.stderr),
    )
}

fn check(config: &str) -> (i32, String) {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("raincheck.toml"), config).expect("write");
    let (code, out, err) = raincheck(&["check"], folder.path());
    (code, out + &err)
}

const GOOD: &str = "[upstream.app]\npeers=['127.0.0.1:8000']\n[[route]]\npath='/'\nupstream='app'\n[route.async]\n";

#[test]
fn a_good_file_passes() {
    let (code, said) = check(GOOD);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn every_problem_is_told_at_once_with_line_and_column() {
    let (code, said) = check(
        "[server]\nthreds = 4\n[limits]\nrequest_body = \"10 MiBs\"\n[webhook]\ncaller_endpoints = \"some\"\n\
         [upstream.app]\npeers = []\n[[route]]\npath = \"nope\"\nupstream = \"gone\"\n[route.async]\nresponse_grace_period = \"13h\"\n",
    );
    assert_eq!(code, 64, "{said}");
    for expected in [
        ":2:",
        "threds",
        "threads",
        ":4:",
        "request_body",
        ":6:",
        "caller_endpoints",
        "listed",
        ":8:",
        "peers",
        ":10:",
        "path",
        ":11:",
        "gone",
        ":13:",
        "response_grace_period",
        "12",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
    assert!(said.contains("raincheck.toml:2:1"), "{said}");
}

#[test]
fn an_empty_a_missing_and_a_malformed_file_are_64() {
    let (code, said) = check("");
    assert_eq!(code, 64, "{said}");
    assert!(!said.is_empty());
    let (code, said) = check("[server\n");
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("raincheck.toml:1:"), "{said}");
    let folder = tempfile::tempdir().expect("folder");
    let (code, _, err) = raincheck(&["check"], folder.path());
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("raincheck.toml"), "{err}");
    let (code, _, err) = raincheck(&["serve", "--config", "/no/such/file"], folder.path());
    assert_eq!(code, 64, "{err}");
    fs::write(folder.path().join("raincheck.toml"), b"\xff\xfe").expect("write");
    let (code, _, err) = raincheck(&["check"], folder.path());
    assert_eq!(code, 64, "{err}");
}

#[test]
fn an_open_admin_listener_needs_a_token() {
    let (code, said) = check(&format!("[admin]\naddress='0.0.0.0:9180'\n{GOOD}"));
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("token"), "{said}");
}

#[test]
fn secrets_are_not_shown() {
    let (_, said) = check(&format!("[admin]\ntoken='open sesame'\naddres='x'\n{GOOD}"));
    assert!(!said.contains("open sesame"), "{said}");
}

#[test]
fn usage_is_2() {
    let folder = tempfile::tempdir().expect("folder");
    assert_eq!(raincheck(&["nonsense"], folder.path()).0, 2);
    assert_eq!(raincheck(&["serve", "--nonsense"], folder.path()).0, 2);
    let both = ["serve", "--config", "x", "--upstream", "http://127.0.0.1:1"];
    assert_eq!(raincheck(&both, folder.path()).0, 2);
}

#[test]
fn version_says_the_version() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, out, _) = raincheck(&["version"], folder.path());
    assert_eq!(code, 0);
    assert!(out.contains(env!("CARGO_PKG_VERSION")), "{out}");
}

#[test]
fn an_address_in_use_is_69() {
    let upstream = Server::fixed(200, "");
    let setup = Setup::new(&upstream);
    let config = format!(
        "[[listener]]\naddress='{}'\n[admin]\naddress='{}'\n{GOOD}",
        upstream.address(),
        free_port()
    );
    fs::write(setup.folder().join("raincheck.toml"), config).expect("write");
    let (code, _, err) = raincheck(&["serve"], setup.folder());
    assert_eq!(code, 69, "{err}");
    assert!(err.contains(&upstream.address().to_string()), "{err}");
}

#[test]
fn the_demo_runs_to_its_end() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, out, err) = raincheck(&["demo"], folder.path());
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("202"), "{out}");
}
