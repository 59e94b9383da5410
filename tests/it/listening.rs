//! `raincheck listen`: what it prints, what it answers, and when it ends.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::harness::{Ask, PROGRAM, Server, Setup, Wire, encoded, eventually};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const KEY: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PUBLIC: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

/// The program, listening on a port of its own.
struct Listening {
    child: Child,
    address: SocketAddr,
}

impl Listening {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["listen", "--address", "127.0.0.1:0"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let mut line = String::new();
        let stderr = child.stderr.take().expect("stderr");
        BufReader::new(stderr).read_line(&mut line).expect("a line");
        let (_, rest) = line.split_once("http://").expect("an address");
        let end = rest.find([';', '\n']).expect("its end");
        let address = rest[..end].parse().expect("an address");
        Self { child, address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits for its end; returns the exit code and what it printed.
    fn ended(mut self) -> (i32, String) {
        let status = eventually("its end", || self.child.try_wait().expect("wait"));
        let mut printed = String::new();
        let mut stdout = self.child.stdout.take().expect("stdout");
        stdout.read_to_string(&mut printed).expect("UTF-8");
        (status.code().expect("a code"), printed)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_delivery_is_printed_with_its_run_and_verdict_and_answered() {
    let upstream = Server::new(|_, answer| {
        answer.reply(
            201,
            &[("Content-Type", "application/json")],
            "{\"rows\":[1,2]}",
        )
    });
    let proxy = Setup::new(&upstream)
        .set("webhook.signing_secrets", vec![SECRET])
        .set("webhook.ed25519_keys", vec![KEY])
        .start();
    let listening = [
        (
            vec!["--secret", OTHER, "--secret", SECRET, "--count", "1"],
            vec![],
            "verified (v1)",
        ),
        (
            vec!["--public-key", PUBLIC, "--count", "1"],
            vec![],
            "verified (v1a)",
        ),
        (
            vec!["--count", "1"],
            vec![("RAINCHECK_LISTEN_SECRET", SECRET)],
            "verified (v1)",
        ),
        (
            vec!["--webhook-secret", "hush", "--count", "1"],
            vec![],
            "verified (cerebrium)",
        ),
    ];
    for (arguments, environment, verdict) in listening {
        let listening = Listening::start(&arguments, &environment);
        let url = encoded(&listening.url("/hook?a=1"));
        let ask = Ask::post(format!("/p?async=true&webhookEndpoint={url}"), "x");
        let run = proxy.run(&ask.header("X-Webhook-Secret", "hush"));
        assert_eq!(proxy.delivered(&run)["delivery"]["last_status"], 200);
        let (code, printed) = listening.ended();
        assert_eq!(code, 0, "{printed}");
        let lines: Vec<_> = printed.lines().collect();
        assert!(
            lines[0].contains(" POST /hook?a=1 from 127.0.0.1:"),
            "{printed}"
        );
        let about = format!("  run {} succeeded, upstream status 201, attempt 1", run.id);
        assert_eq!(lines[1], about);
        assert_eq!(lines[2], format!("  signature: {verdict}"));
        assert_eq!(lines[3], "  application/json, 14 bytes");
        let body = ["{", "  \"rows\": [", "    1,", "    2", "  ]", "}"];
        assert_eq!(lines[4..], body.map(|line| format!("  | {line}")));
    }
}

#[test]
fn what_does_not_verify_is_refused_and_shown() {
    let upstream = Server::fixed(200, "text");
    let proxy = Setup::new(&upstream)
        .set("webhook.signing_secrets", vec![SECRET])
        .start();
    let listening = Listening::start(&["--secret", OTHER, "--count", "3", "--json"], &[]);
    let url = encoded(&listening.url("/"));
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    assert_eq!(proxy.delivered(&run)["delivery"]["last_status"], 401);
    let (code, printed) = listening.ended();
    assert_eq!(code, 1);
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect();
    assert_eq!(lines.len(), 3);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["run_id"], run.id);
        assert_eq!(line["attempt"], n + 1);
        assert_eq!(line["signature"]["verdict"], "wrong");
        assert_eq!(line["body"], "text");
        assert!(line["headers"]["webhook-signature"].is_string());
    }
}

#[test]
fn it_answers_the_status_that_it_is_told_to_and_takes_anything() {
    let listening = Listening::start(&["--status", "503", "--count", "2"], &[]);
    let mut wire = Wire::to(listening.address);
    wire.send(Ask::new("PUT", "/a").bytes("x"));
    assert_eq!(wire.reply().status, 503);
    wire.send(
        "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\x1b[2\r\n0\r\n\r\n",
    );
    assert_eq!(wire.reply().status, 503);
    let (code, printed) = listening.ended();
    assert_eq!(code, 0);
    assert!(
        printed.contains("PUT /a from") && printed.contains("  no body"),
        "{printed}"
    );
    assert!(
        printed.contains("  signature: none") && printed.contains("  | \\u{1b}[2"),
        "{printed}"
    );
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
}

#[test]
fn wrong_arguments_are_told_and_show_no_secret() {
    let said = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).arg("listen").args(arguments).output();
        let output = output.expect("run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().expect("a code"), said)
    };
    for (arguments, expected) in [
        (["--secret", "whsec_hush"], "openssl rand"),
        (["--public-key", "whsk_x"], "whpk_"),
        (["--status", "99"], "200 to 999"),
        (["--count", "0"], "--count"),
        (["--address", "nowhere"], "--address"),
    ] {
        let (code, said) = said(&arguments);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected) && !said.contains("hush"), "{said}");
    }
    let taken = Server::fixed(200, "");
    let (code, said) = said(&["--address", &taken.address().to_string()]);
    assert_eq!(code, 69, "{said}");
}
