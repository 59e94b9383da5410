//! `raincheck invoke`: the answer as if it had been a synchronous call, whatever happens in between.

use std::{fs, process::Stdio};

use serde_json::{Value, json};

use crate::harness::{
    Gate, OnTerminal, Raincheck, RunHandle, Server, Setup, command, free_port, tell, told,
};

fn url(raincheck: &Raincheck, path: &str) -> String {
    format!("http://{}{path}", raincheck.public())
}

/// An application that answers when the gate is open.
fn gated(gate: &Gate) -> Server {
    let gate = gate.clone();
    Server::new(move |_, answer| {
        gate.wait();
        answer.reply(
            200,
            &[("Content-Type", "text/plain"), ("X-Mine", "yes")],
            "done",
        )
    })
}

#[test]
fn the_response_is_printed_as_if_the_call_had_been_synchronous() {
    let app = Server::echo();
    let raincheck = Setup::new(&app).start();
    let url = url(&raincheck, "/report?a=%20b&c");
    let told = tell(command([
        "invoke",
        &url,
        "-d",
        "{\"n\":1}",
        "-H",
        "X-Mine: yes",
    ]));
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    let seen: Value = serde_json::from_str(&told.out).expect("the body alone");
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["target"], "/report?a=%20b&c");
    assert_eq!(seen["body"], "{\"n\":1}");
    let request = app.only();
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-mine"), Some("yes"));
    assert_eq!(request.header("prefer"), None);
    assert!(!request.run_id().is_empty());
}

#[test]
fn it_waits_as_long_as_the_run_takes() {
    let gate = Gate::shut();
    let app = gated(&gate);
    let raincheck = Setup::new(&app).start();
    let mut command = command(["invoke", &url(&raincheck, "/"), "-i"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    app.wait_for(1);
    gate.open();
    let told = told(child.wait_with_output().expect("end"));
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert!(told.out.starts_with("HTTP/1.1 200 OK\n"), "{}", told.out);
    assert!(told.out.contains("\nx-mine: yes\n"), "{}", told.out);
    assert!(told.out.ends_with("\n\ndone"), "{}", told.out);
}

#[test]
fn a_failed_run_is_1_and_its_body_is_printed_all_the_same() {
    let app = Server::fixed(500, "no luck");
    let raincheck = Setup::new(&app).start();
    let url = url(&raincheck, "/");
    let told = tell(command(["invoke", &url]));
    assert_eq!((told.code, told.out.as_str()), (1, "no luck"));
    assert!(
        told.err.contains("failed (upstream_status 500)"),
        "{}",
        told.err
    );
    let told = tell(command(["invoke", &url, "-q"]));
    assert_eq!((told.code, told.err.as_str()), (1, ""));
}

#[test]
fn without_waiting_the_id_is_printed() {
    let gate = Gate::shut();
    let app = gated(&gate);
    let raincheck = Setup::new(&app).start();
    let url = url(&raincheck, "/");
    let told = tell(command(["invoke", &url, "--no-wait"]));
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    let id = told.out.trim_end();
    assert_eq!(app.wait_for(1)[0].run_id(), id);
    let told = tell(command(["invoke", &url, "--no-wait", "--json"]));
    let both: Value = serde_json::from_str(&told.out).expect("json");
    let text = |key: &str| both[key].as_str().expect("text").to_owned();
    gate.open();
    let location = text("location").replacen(&format!("http://{}", raincheck.public()), "", 1);
    let run = RunHandle {
        id: text("run_id"),
        location,
    };
    assert_eq!(raincheck.finished(&run)["run_id"], run.id);
}

#[test]
fn as_json_the_record_and_the_response_are_one_document() {
    let app = Server::new(|seen, answer| match seen.target.as_str() {
        "/binary" => answer.ok(b"\xff\0"),
        _ => answer.reply(404, &[("A", "1"), ("A", "2")], "not here"),
    });
    let raincheck = Setup::new(&app).start();
    let told = tell(command(["invoke", &url(&raincheck, "/"), "--json"]));
    let both: Value = serde_json::from_str(&told.out).expect("json");
    assert_eq!(told.code, 1);
    assert_eq!(both["run"]["reason"], "upstream_status");
    assert_eq!(both["response"]["status"], 404);
    assert_eq!(both["response"]["headers"]["a"], "1, 2");
    assert_eq!(both["response"]["body"], "not here");
    let told = tell(command(["invoke", &url(&raincheck, "/binary"), "--json"]));
    let both: Value = serde_json::from_str(&told.out).expect("json");
    assert_eq!(both["response"]["body_base64"], "/wA=");
    assert!(both["response"].get("body").is_none());
}

#[test]
fn bodies_go_to_pipes_and_files_byte_for_byte() {
    let app = Server::new(|_, answer| answer.ok(b"\x89PNG\r\n\0\x1b[2J"));
    let raincheck = Setup::new(&app).start();
    let url = url(&raincheck, "/");
    let output = command(["invoke", &url]).output().expect("run");
    assert_eq!(output.stdout, b"\x89PNG\r\n\0\x1b[2J");
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("out");
    let told = tell(command([
        "invoke",
        &url,
        "-o",
        file.to_str().expect("utf-8"),
    ]));
    assert_eq!((told.code, told.out.as_str()), (0, ""));
    assert_eq!(fs::read(file).expect("read"), b"\x89PNG\r\n\0\x1b[2J");
    let told = tell(command(["invoke", &url, "-o", "/no/such/folder/out"]));
    assert_eq!(told.code, 1);
    assert!(
        told.err.contains("/no/such/folder/out") && told.err.contains("/response"),
        "{}",
        told.err
    );
}

#[test]
fn a_terminal_is_not_steered_by_a_body() {
    let app = Server::new(|seen, answer| match seen.target.as_str() {
        "/binary" => answer.ok(b"\x89PNG\r\n\0"),
        _ => answer.ok("red: \x1b[31m\n\u{9b}2J"),
    });
    let raincheck = Setup::new(&app).start();
    let (code, shown) =
        OnTerminal::start(command(["invoke", &url(&raincheck, "/"), "-q"]), 80).end();
    assert_eq!(
        (code, shown.as_str()),
        (0, "red: \\u{1b}[31m\r\n\\u{9b}2J\r\n")
    );
    let (code, shown) =
        OnTerminal::start(command(["invoke", &url(&raincheck, "/binary"), "-q"]), 80).end();
    assert_eq!(code, 1);
    assert!(
        shown.contains("--output FILE") && !shown.contains('\0'),
        "{shown}"
    );
}

#[test]
fn ctrl_c_says_that_the_run_goes_on_and_how_to_look_at_it() {
    let gate = Gate::shut();
    let app = gated(&gate);
    let raincheck = Setup::new(&app).start();
    let terminal = OnTerminal::start(command(["invoke", &url(&raincheck, "/")]), 80);
    app.wait_for(1);
    terminal.wait_for("running");
    terminal.interrupt();
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    let curl = shown
        .split("curl 'http://")
        .nth(1)
        .expect("a command to look at it");
    let location = &curl[curl.find('/').expect("path")..curl.find('\'').expect("end")];
    gate.open();
    let id = app.only().run_id().to_owned();
    assert!(shown.contains(&format!("run {id} goes on")), "{shown}");
    let record = raincheck.finished(&RunHandle {
        id,
        location: location.to_owned(),
    });
    assert_eq!(record["state"], "succeeded");
}

#[test]
fn waiting_ends_in_time_and_the_run_does_not() {
    let gate = Gate::shut();
    let app = gated(&gate);
    let raincheck = Setup::new(&app).start();
    let told = tell(command([
        "invoke",
        &url(&raincheck, "/"),
        "--timeout",
        "1s",
    ]));
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert!(told.err.contains("within 1s (--timeout)"), "{}", told.err);
    gate.open();
}

#[test]
fn a_webhook_is_told_and_the_query_left_alone() {
    let (app, receiver) = (Server::fixed(200, "done"), Server::fixed(204, ""));
    let raincheck = Setup::new(&app).start();
    let hook = receiver.url("/hook?a=b&c=+");
    let told = tell(command([
        "invoke",
        &url(&raincheck, "/x?y=%2f&z"),
        "--webhook",
        &hook,
    ]));
    assert_eq!((told.code, told.out.as_str()), (0, "done"));
    assert_eq!(app.only().target, "/x?y=%2f&z");
    let delivery = receiver.only();
    assert_eq!(
        (delivery.target.as_str(), delivery.text()),
        ("/hook?a=b&c=+", "done".to_owned())
    );
}

#[test]
fn a_route_without_runs_answers_itself_and_that_is_said() {
    let app = Server::new(|seen, answer| match seen.target.as_str() {
        "/plain/bad" => answer.reply(404, &[], "nothing"),
        "/plain/202" => answer.reply(202, &[("Location", "/jobs/7")], "later"),
        _ => answer.ok("at once"),
    });
    let plain = "[[route]]\nname = 'plain'\npath = '/plain'\nupstream = 'app'\n";
    let raincheck = Setup::new(&app).add(plain).start();
    let told = tell(command(["invoke", &url(&raincheck, "/plain")]));
    assert_eq!((told.code, told.out.as_str()), (0, "at once"));
    assert!(told.err.contains("no run was started"), "{}", told.err);
    let told = tell(command(["invoke", &url(&raincheck, "/plain/bad")]));
    assert_eq!((told.code, told.out.as_str()), (1, "nothing"));
    assert!(told.err.contains("404"), "{}", told.err);
    let told = tell(command(["invoke", &url(&raincheck, "/plain/202")]));
    assert_eq!((told.code, told.out.as_str()), (0, "later"));
    assert!(told.err.contains("names no run"), "{}", told.err);
}

#[test]
fn a_synchronous_call_with_a_webhook_is_no_call_without_a_run() {
    let (app, receiver) = (Server::fixed(200, "at once"), Server::fixed(204, ""));
    let dialects = vec![toml::Value::from("cerebrium")];
    let raincheck = Setup::new(&app)
        .set("route.async.dialects", dialects)
        .start();
    let url = url(&raincheck, "/");
    let told = tell(command(["invoke", &url, "--webhook", &receiver.url("/")]));
    assert_eq!((told.code, told.out.as_str()), (0, "at once"));
    assert!(told.err.contains("synchronous"), "{}", told.err);
    assert_eq!(receiver.only().text(), "at once");
}

#[test]
fn a_time_of_ones_own_to_wait_can_be_enough() {
    let app = Server::fixed(200, "at once");
    let raincheck = Setup::new(&app).start();
    let told = tell(command([
        "invoke",
        &url(&raincheck, "/"),
        "-H",
        "Prefer: wait=30",
    ]));
    assert_eq!(
        (told.code, told.out.as_str(), told.err.as_str()),
        (0, "at once", "")
    );
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_server() {
    let app = Server::fixed(200, "");
    let raincheck = Setup::new(&app).start();
    let told = tell(command([
        "invoke",
        &url(&raincheck, "/"),
        "--webhook",
        "ftp://x",
    ]));
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert!(
        told.err.contains("400") && told.err.contains("http"),
        "{}",
        told.err
    );
    assert_eq!(app.seen().len(), 0);
}

#[test]
fn what_a_hostile_server_says_is_spelled_out() {
    let server = Server::new(|_, answer| {
        let problem = json!({"detail": "\u{1b}]0;owned\u{7}"}).to_string();
        answer.reply(
            400,
            &[("Content-Type", "application/problem+json")],
            problem,
        )
    });
    let told = tell(command(["invoke", &server.url("/")]));
    assert_eq!(
        (told.code, told.err.as_str()),
        (1, "400: \\u{1b}]0;owned\\u{7}\n")
    );
}

#[test]
fn while_it_waits_a_server_may_be_away() {
    const ID: &str = "0199f00c-5e2a-7c3b-8d4e-5f60718293a4";
    let server = Server::new(|seen, answer| {
        let record = format!("/runs/{ID}?token=t");
        match (seen.nth, seen.target.as_str()) {
            (0, "/") => answer.reply(202, &[("X-Request-Id", ID), ("Location", &record)], ""),
            (1, _) => answer.reply(503, &[("Retry-After", "0")], "starting"),
            (2, _) => answer.close(),
            (3, _) => {
                answer.raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"run")?;
                answer.close()
            }
            (4, target) if target == record => answer.reply(
                202,
                &[],
                json!({"run_id": ID, "state": "running", "success": null}).to_string(),
            ),
            (_, target) if target == record => answer.reply(
                200,
                &[],
                json!({"run_id": ID, "state": "succeeded", "success": true}).to_string(),
            ),
            _ => answer.reply(201, &[("Raincheck-Run-State", "succeeded")], "made"),
        }
    });
    let told = tell(command(["invoke", &server.url("/")]));
    assert_eq!(
        (told.code, told.out.as_str(), told.err.as_str()),
        (0, "made", "")
    );
    let seen = server.seen();
    assert_eq!(seen[5].header("prefer"), Some("wait=20"));
    assert_eq!(seen[6].target, format!("/runs/{ID}/response?token=t"));
    assert_eq!(seen[6].header("raincheck-replay"), Some("full"));
}

#[test]
fn a_run_that_is_gone_ends_the_waiting() {
    const ID: &str = "0199f00c-5e2a-7c3b-8d4e-5f60718293a4";
    let server = Server::new(|seen, answer| {
        let record = format!("/runs/{ID}");
        if seen.target == "/" {
            return answer.reply(202, &[("X-Request-Id", ID), ("Location", &record)], "");
        }
        let problem = json!({"detail": "The run ended so long ago."}).to_string();
        answer.reply(
            410,
            &[("Content-Type", "application/problem+json")],
            problem,
        )
    });
    let told = tell(command(["invoke", &server.url("/")]));
    assert_eq!(told.code, 1);
    assert!(
        told.err.contains("so long ago") && told.err.contains(ID),
        "{}",
        told.err
    );
}

#[test]
fn nobody_there_is_69_and_nonsense_is_2() {
    let told = tell(command([
        "invoke",
        &format!("http://{}/x?secret=1", free_port()),
    ]));
    assert_eq!(told.code, 69);
    assert!(
        told.err.contains("127.0.0.1") && !told.err.contains("secret"),
        "{}",
        told.err
    );
    for arguments in [
        &["invoke"][..],
        &["invoke", "/x"],
        &["invoke", "http://x", "-H", "x"],
        &["invoke", "http://x", "-d", "@/no/such/file"],
    ] {
        assert_eq!(tell(command(arguments)).code, 2, "{arguments:?}");
    }
}

#[test]
fn a_body_can_come_from_stdin() {
    let app = Server::echo();
    let raincheck = Setup::new(&app).start();
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("body"), b"\xff\r\n").expect("write");
    let mut invoke = command(["invoke", &url(&raincheck, "/"), "-X", "PUT", "-d", "@-"]);
    invoke.stdin(fs::File::open(folder.path().join("body")).expect("open"));
    assert_eq!(tell(invoke).code, 0);
    let seen = app.only();
    assert_eq!(
        (seen.method.as_str(), seen.body.as_slice()),
        ("PUT", &b"\xff\r\n"[..])
    );
}
