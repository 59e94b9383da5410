//! `raincheck runs` against a real Raincheck: looking at runs, waiting for them, and acting on them.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{
    Ask, Gate, OnTerminal, Raincheck, RunHandle, Server, Setup, command, tell, told,
};

fn runs(raincheck: &Raincheck, words: &str) -> Command {
    let mut command = command(["runs"].into_iter().chain(words.split(' ')));
    command.env("RAINCHECK_ADDRESS", raincheck.admin().to_string());
    command
}

fn finished(raincheck: &Raincheck, path: &str) -> RunHandle {
    let run = raincheck.run(&Ask::post(path, "{}").header("Prefer", "respond-async"));
    raincheck.finished(&run);
    run
}

/// Answers 500 to `/bad`, 200 to others; to `/slow` when the gate is open.
fn application(gate: &Gate) -> Server {
    let gate = gate.clone();
    Server::new(move |seen, answer| {
        if seen.target == "/slow" {
            gate.wait();
        }
        let status = if seen.target == "/bad" { 500 } else { 200 };
        answer.reply(
            status,
            &[("Content-Type", "text/plain")],
            format!("of {}", seen.target),
        )
    })
}

#[test]
fn a_list_takes_the_filters_of_the_api() {
    let app = application(&Gate::shut());
    let raincheck = Setup::new(&app).start();
    let good = finished(&raincheck, "/good");
    let bad = finished(&raincheck, "/bad");
    for (words, expected) in [
        ("list -q", format!("{}\n{}\n", bad.id, good.id)),
        ("list -q --state failed,cancelled", format!("{}\n", bad.id)),
        ("list -q --success", format!("{}\n", good.id)),
        (
            "list -q --success=false --reason upstream_status",
            format!("{}\n", bad.id),
        ),
        (
            "list -q --name /good --route app --dialect prefer --since -15m",
            format!("{}\n", good.id),
        ),
        ("list -q --until -15m", String::new()),
        ("list -q --state queued", String::new()),
    ] {
        let told = tell(runs(&raincheck, words));
        assert_eq!(
            (told.code, told.out, told.err.as_str()),
            (0, expected, ""),
            "{words}"
        );
    }
    let first = tell(runs(&raincheck, "list -q --limit 1"));
    assert_eq!(first.out, format!("{}\n", bad.id));
    let on = first
        .err
        .strip_prefix("there are more: ")
        .expect("how to go on")
        .trim_end();
    assert_eq!(
        tell(runs(&raincheck, &format!("list -q {on}"))).out,
        format!("{}\n", good.id)
    );
    let table = tell(runs(&raincheck, "list"));
    for part in ["RUN", &good.id, "failed", "upstream_status", "POST /bad"] {
        assert!(table.out.contains(part), "{}", table.out);
    }
    let json = tell(runs(&raincheck, "list --json --state failed"));
    assert_eq!(
        json.out.trim_end(),
        raincheck
            .admin_get("/api/v1/runs?state=failed")
            .text()
            .trim_end()
    );
}

#[test]
fn values_that_the_api_does_not_take_are_2_in_its_words() {
    let raincheck = Setup::new(&Server::fixed(200, "")).start();
    for words in [
        "list --since yesterday",
        "list --limit 201",
        "list --dialect french",
    ] {
        let told = tell(runs(&raincheck, words));
        assert_eq!(told.code, 2, "{words}: {}", told.err);
        assert!(told.err.len() > 20, "{words}: {}", told.err);
    }
}

#[test]
fn a_result_is_the_body_with_a_headline_for_the_last() {
    let app = application(&Gate::shut());
    let raincheck = Setup::new(&app).start();
    let none = tell(runs(&raincheck, "result --last"));
    assert_eq!(
        (none.code, none.err.as_str()),
        (1, "there are no runs yet\n")
    );
    let good = finished(&raincheck, "/good");
    let accepted = raincheck.record(&good)["accepted_at"]
        .as_str()
        .expect("time")
        .to_owned();
    let last = tell(runs(&raincheck, "result --last"));
    let headline = format!("=== {} success {accepted} /good\n", good.id);
    assert_eq!((last.code, last.out), (0, format!("{headline}of /good")));
    for words in [
        format!("result {}", good.id),
        "result --last -q".to_owned(),
        format!("result {}", good.id.replace('-', "")),
    ] {
        assert_eq!(tell(runs(&raincheck, &words)).out, "of /good");
    }
    let bad = finished(&raincheck, "/bad");
    let failed = tell(runs(&raincheck, "result --last"));
    assert_eq!(failed.code, 1);
    assert!(
        failed.out.starts_with(&format!("=== {} failure ", bad.id))
            && failed.out.ends_with("of /bad"),
        "{}",
        failed.out
    );
    assert!(failed.err.contains("upstream_status 500"), "{}", failed.err);
    let json: Value =
        serde_json::from_str(&tell(runs(&raincheck, "result --last --json")).out).expect("json");
    assert_eq!(
        (&json["run"]["run_id"], &json["response"]["body"]),
        (&bad.id.as_str().into(), &"of /bad".into())
    );
    let head = tell(runs(&raincheck, &format!("result -i {}", bad.id)));
    assert!(
        head.out.starts_with("HTTP/1.1 500 Internal Server Error\n"),
        "{}",
        head.out
    );
}

#[test]
fn a_run_is_waited_for_and_its_result_is_not_there_before() {
    let gate = Gate::shut();
    let app = application(&gate);
    let raincheck = Setup::new(&app).start();
    let run = raincheck.run(&Ask::post("/slow", "").header("Prefer", "respond-async"));
    app.wait_for(1);
    let early = tell(runs(&raincheck, &format!("result {}", run.id)));
    assert_eq!((early.code, early.out.as_str()), (1, ""));
    assert!(
        early.err.contains("not there yet") && early.err.contains("runs wait"),
        "{}",
        early.err
    );
    let late = tell(runs(&raincheck, "wait --last --timeout 50ms"));
    assert_eq!(late.code, 1);
    assert!(late.err.contains("--timeout"), "{}", late.err);
    let interrupted = OnTerminal::start(runs(&raincheck, "wait --last"), 80);
    interrupted.wait_for("running");
    interrupted.interrupt();
    let (code, shown) = interrupted.end();
    assert_eq!(code, 130);
    assert!(shown.contains("goes on"), "{shown}");
    let mut wait = runs(&raincheck, "wait --last");
    let wait = wait
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    gate.open();
    let told = told(wait.wait_with_output().expect("end"));
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert!(
        told.out
            .starts_with(&format!("{} succeeded after ", run.id)),
        "{}",
        told.out
    );
    finished(&raincheck, "/bad");
    let failed = tell(runs(&raincheck, "wait --last"));
    assert_eq!((failed.code, failed.err.as_str()), (1, ""));
    assert!(
        failed.out.contains("failed (upstream_status 500)"),
        "{}",
        failed.out
    );
    let quiet = tell(runs(&raincheck, "wait --last -q"));
    assert_eq!(
        (quiet.code, quiet.out.as_str(), quiet.err.as_str()),
        (1, "", "")
    );
}

#[test]
fn a_run_is_cancelled_once_and_a_finished_one_never() {
    let gate = Gate::shut();
    let app = application(&gate);
    let raincheck = Setup::new(&app).start();
    let run = raincheck.run(&Ask::post("/slow", "").header("Prefer", "respond-async"));
    app.wait_for(1);
    for _ in 0..2 {
        let told = tell(runs(&raincheck, &format!("cancel {}", run.id)));
        assert_eq!(
            (told.code, told.out),
            (0, format!("{} cancelled\n", run.id))
        );
    }
    gate.open();
    assert_eq!(tell(runs(&raincheck, "wait --last -q")).code, 1);
    let done = finished(&raincheck, "/good");
    let told = tell(runs(&raincheck, &format!("cancel {}", done.id)));
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert!(told.err.contains("succeeded already"), "{}", told.err);
}

#[test]
fn a_webhook_is_told_again_and_get_shows_each_attempt() {
    let app = application(&Gate::shut());
    let receiver = Server::new(|seen, answer| {
        let status = if seen.nth < 3 { 503 } else { 204 };
        answer.reply(status, &[], "")
    });
    let raincheck = Setup::new(&app).start();
    let told = tell(command([
        "invoke",
        &format!("http://{}/good", raincheck.public()),
        "--webhook",
        &receiver.url("/secret-path"),
        "--no-wait",
    ]));
    let id = told.out.trim_end();
    receiver.wait_for(3);
    let dead = || {
        let json = tell(runs(&raincheck, "get --last --json")).out;
        let record: Value = serde_json::from_str(&json).expect("json");
        (record["delivery"]["state"] == "dead").then_some(record)
    };
    let record = crate::harness::eventually("a dead delivery", dead);
    assert_eq!(
        record["delivery"]["attempts_log"].as_array().map(Vec::len),
        Some(3)
    );
    let shown = tell(runs(&raincheck, &format!("get {id}")));
    assert_eq!(shown.code, 0);
    for part in [
        id,
        "state     succeeded",
        "webhook   dead to 127.0.0.1",
        "webhook attempts",
        "\n  3  ",
        "503",
    ] {
        assert!(
            shown.out.contains(part),
            "{part:?} is not in:\n{}",
            shown.out
        );
    }
    assert!(!shown.out.contains("secret-path"), "{}", shown.out);
    let told = tell(runs(&raincheck, &format!("redeliver {id}")));
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(
        told.out.starts_with(&format!("{id} pending to 127.0.0.1")),
        "{}",
        told.out
    );
    assert_eq!(receiver.wait_for(4)[3].run_id(), id);
    finished(&raincheck, "/good");
    let told = tell(runs(&raincheck, "redeliver --last"));
    assert_eq!(
        (told.code, told.err.as_str()),
        (1, "The run has no webhook.\n")
    );
}

#[test]
fn a_run_that_is_none_is_1() {
    let raincheck = Setup::new(&Server::fixed(200, "")).start();
    for action in ["get", "result", "wait", "cancel", "redeliver"] {
        let told = tell(runs(
            &raincheck,
            &format!("{action} 0199f00c-5e2a-7c3b-8d4e-5f60718293a4"),
        ));
        assert_eq!(
            (told.code, told.out.as_str(), told.err.as_str()),
            (1, "", "No run has this id.\n"),
            "{action}"
        );
    }
}

#[test]
fn the_token_opens_the_admin_listener() {
    let raincheck = Setup::new(&Server::fixed(200, ""))
        .set("admin.token", "open sesame, open wide")
        .start_unkept();
    assert_eq!(tell(runs(&raincheck, "list")).code, 64);
    let mut list = runs(&raincheck, "list");
    list.env("RAINCHECK_TOKEN", "open sesame, open wide");
    assert_eq!(tell(list).code, 0);
}
