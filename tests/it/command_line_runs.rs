//! `raincheck runs` against admin listeners that are not as they should be, and the commands that print texts.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::harness::{OnTerminal, Server, command, free_port, tell};

const ID: &str = "0199f00c-5e2a-7c3b-8d4e-5f60718293a4";

/// An admin listener with one run, which does as it is told.
fn admin(record: Value) -> Server {
    Server::new(move |seen, answer| {
        let json = [("Content-Type", "application/json")];
        let path = seen.target.split('?').next().unwrap_or_default();
        if path == "/api/v1/runs" {
            let page = json!({"runs": [record], "next_cursor": null});
            return answer.reply(200, &json, page.to_string());
        }
        answer.reply(200, &json, record.to_string())
    })
}

fn at(server: &Server, arguments: &[&str]) -> std::process::Command {
    let mut command = command(arguments);
    command.env("RAINCHECK_ADDRESS", server.url(""));
    command
}

#[test]
fn nobody_there_is_69_with_the_ways_to_name_another_address() {
    let address = format!("http://{}", free_port());
    let told = tell(command(["runs", "list", "--address", &address]));
    assert_eq!(told.code, 69);
    for hint in [
        address.as_str(),
        "--address",
        "RAINCHECK_ADDRESS",
        "raincheck.toml",
    ] {
        assert!(told.err.contains(hint), "{}", told.err);
    }
}

#[test]
fn what_is_no_admin_listener_is_69() {
    for server in [
        Server::fixed(404, "nothing"),
        Server::fixed(200, "<html>"),
        Server::fixed(302, ""),
        Server::new(|_, answer| answer.close()),
    ] {
        let told = tell(at(&server, &["runs", "list"]));
        assert_eq!((told.code, told.out.as_str()), (69, ""));
        assert!(told.err.contains("--address"), "{}", told.err);
    }
}

#[test]
fn a_missing_or_wrong_token_is_64_and_the_right_one_is_sent() {
    let server = Server::new(|seen, answer| match seen.header("authorization") {
        Some("Bearer open sesame") => answer.ok(r#"{"runs":[],"next_cursor":null}"#),
        _ => answer.reply(401, &[("WWW-Authenticate", "Bearer")], ""),
    });
    let told = tell(at(&server, &["runs", "list"]));
    assert_eq!(told.code, 64);
    assert!(
        told.err.contains("wants a token") && told.err.contains("RAINCHECK_TOKEN"),
        "{}",
        told.err
    );
    let told = tell(at(&server, &["runs", "list", "--token", "wrong"]));
    assert_eq!(told.code, 64);
    assert!(
        told.err.contains("refuses this token") && !told.err.contains("wrong"),
        "{}",
        told.err
    );
    let told = tell(at(&server, &["runs", "--token", "open sesame", "list"]));
    assert_eq!((told.code, told.err.as_str()), (0, "no such runs\n"));
    let told = tell(at(&server, &["runs", "list", "--token", "a\nb"]));
    assert_eq!(told.code, 64);
}

#[test]
fn a_file_of_ones_own_names_address_and_token() {
    let server = Server::new(|seen, answer| match seen.header("authorization") {
        Some("Bearer t") => answer.ok(r#"{"runs":[],"next_cursor":null}"#),
        _ => answer.reply(401, &[], ""),
    });
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("raincheck.toml");
    let list = || {
        let mut command = command(["runs", "list"]);
        command.env("XDG_CONFIG_HOME", folder.path());
        tell(command)
    };
    fs::write(
        &file,
        format!("address = '{}'\ntoken = 't'\n", server.url("")),
    )
    .expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("close");
    let told = list();
    assert_eq!((told.code, told.err.as_str()), (0, "no such runs\n"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("open");
    let told = list();
    assert_eq!(told.code, 0);
    assert!(
        told.err.starts_with("note: others can read the token"),
        "{}",
        told.err
    );
    fs::write(&file, "tokn = 't'\n").expect("write");
    let told = list();
    assert_eq!(told.code, 64);
    assert!(
        told.err.contains("tokn") && told.err.contains("address and token"),
        "{}",
        told.err
    );
}

#[test]
fn a_hostile_record_does_not_steer_the_terminal() {
    let evil = "\u{1b}[2J\u{202e}\u{9b}31m\r\n";
    let server = admin(json!({
        "run_id": evil, "state": evil, "success": true, "reason": evil, "async": true, "dialect": evil, "route": evil,
        "name": evil, "method": evil, "path": evil, "grace_period_s": u64::MAX, "duration_ms": u64::MAX,
        "accepted_at": "9999-12-31T23:59:59.999Z", "attempts_log": [{"outcome": evil, "duration_ms": u64::MAX}],
        "response": {"status": 200, "content_type": evil, "bytes": u64::MAX},
        "delivery": {"state": evil, "host": evil, "last_error": evil, "attempts_log": [{"detail": evil, "error": evil}]},
    }));
    for words in [
        "list",
        "list -q",
        "list --json",
        "get ID",
        "get ID --json",
        "wait ID",
        "cancel ID",
        "redeliver ID",
        "get --last",
    ] {
        let words = words.replace("ID", ID);
        let arguments: Vec<_> = ["runs"].into_iter().chain(words.split(' ')).collect();
        let mut command = at(&server, &arguments);
        command.env("NO_COLOR", "1");
        let (_, shown) = OnTerminal::start(command, 80).end();
        let steering = |c: char| c != '\r' && c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(steering), "{words}: {shown:?}");
        assert!(!shown.contains("panicked"), "{words}: {shown}");
    }
}

#[test]
fn tables_fit_the_terminal_and_colours_are_only_there() {
    let record = json!({"run_id": ID, "state": "failed", "success": false, "method": "GET", "name": "/x".repeat(90)});
    let server = admin(record);
    let (code, shown) = OnTerminal::start(at(&server, &["runs", "list"]), 80).end();
    assert_eq!(code, 0);
    assert!(shown.contains("\x1b[31mfailed\x1b[0m"), "{shown:?}");
    let mut plain = at(&server, &["runs", "list"]);
    plain.env("NO_COLOR", "1");
    let (_, shown) = OnTerminal::start(plain, 80).end();
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80) && shown.contains('…'),
        "{shown}"
    );
    let told = tell(at(&server, &["runs", "list"]));
    assert!(
        !told.out.contains('\x1b') && told.out.contains(&"/x".repeat(90)),
        "{}",
        told.out
    );
}

#[test]
fn a_closed_pipe_is_no_complaint() {
    let server = admin(
        json!({"run_id": ID, "state": "failed", "success": false, "method": "GET", "name": "x".repeat(200_000)}),
    );
    let mut list = at(&server, &["runs", "list"]);
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    list.stdout(writer);
    let told = tell(list);
    assert_eq!((told.code, told.err.as_str()), (1, ""));
}

#[test]
fn usage_is_2() {
    for words in [
        "runs",
        "runs get",
        "runs get nonsense",
        "runs get ID --last",
        "runs list --state done",
        "runs list -q --json",
        "runs list --limit many",
        "runs wait ID --timeout soon",
        "runs result ID --json -i",
        "runs result ID --json -o x",
        "completions",
        "completions tcsh",
        "man nonsense",
    ] {
        let words = words.replace("ID", ID);
        let told = tell(command(words.split(' ')));
        assert_eq!(told.code, 2, "{words}: {}", told.err);
        assert!(!told.err.is_empty(), "{words}");
    }
}

#[test]
fn completions_and_the_manual_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let told = tell(command(["completions", shell]));
        assert_eq!(told.code, 0);
        assert!(
            told.out.contains("redeliver") && told.out.contains("succeeded"),
            "{shell}"
        );
    }
    let told = tell(command(["man"]));
    assert_eq!(told.code, 0);
    assert!(
        told.out.contains(".TH RAINCHECK 1") && told.out.contains("invoke"),
        "{}",
        told.out
    );
    let told = tell(command(["man", "runs", "list"]));
    assert!(
        told.out.contains("RAINCHECK-RUNS-LIST") && told.out.contains("since"),
        "{}",
        told.out
    );
}
