//! Deliveries verified by what receivers really use: the libraries of npm and PyPI, as `.ci/clients` installs them.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::harness::{Ask, Seen, Server, Setup, encoded};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const KEY: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// JSON as it is, and bytes that are no UTF-8 at `/binary`.
fn application() -> Server {
    Server::new(|seen, answer| {
        let json = "{\"caf\u{e9}\":\"\u{1f388}\\n\"}";
        let body: &[u8] = match seen.target.as_str() {
            "/binary" => b"\x00\xff\xfe",
            _ => json.as_bytes(),
        };
        answer.reply(200, &[("Content-Type", "application/json")], body)
    })
}

/// Two real deliveries of runs at these paths, as the scripts read them.
fn deliveries(body: &str, paths: &[(&str, bool)]) -> Vec<Value> {
    let upstream = application();
    let receiver = Server::fixed(204, "");
    let proxy = Setup::new(&upstream)
        .set("webhook.signing_secrets", vec![OLD_SECRET, SECRET])
        .set("webhook.ed25519_keys", vec![KEY])
        .set("webhook.body", body)
        .start();
    let keys = proxy.get("/_raincheck/webhook-keys").json();
    let mut deliveries = Vec::new();
    for (nth, (path, verifies)) in paths.iter().enumerate() {
        let url = encoded(&receiver.url("/"));
        let run = proxy.run(&Ask::post(
            format!("{path}?async=true&webhookEndpoint={url}"),
            "x",
        ));
        proxy.delivered(&run);
        let seen = receiver.wait_for(nth + 1).remove(nth);
        deliveries.push(delivery(&seen, &keys, *verifies));
    }
    deliveries
}

fn delivery(seen: &Seen, keys: &Value, verifies: bool) -> Value {
    let headers = seen.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.as_str().into()));
    json!({
        "headers": headers.collect::<serde_json::Map<_, Value>>(),
        "body_base64": BASE64_STANDARD.encode(&seen.body),
        "secret": SECRET,
        "public_key": keys["keys"][0]["public_key"],
        "verifies": verifies,
    })
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

/// Runs a script on some deliveries, if its libraries are there.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn verified_by(program: &str, script: &str, installed: &str, deliveries: &[Value]) {
    if !clients().join(installed).exists() {
        eprintln!("skipped: `.ci/clients` has not installed what {script} needs");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut child = Command::new(program)
        .arg(folder.join(script))
        .env("CLIENTS", clients())
        .env("PYTHONPATH", clients().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let mut stdin = child.stdin.take().expect("stdin");
    let text = serde_json::to_vec(deliveries).expect("json");
    stdin.write_all(&text).expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script} said:\n{said}");
    assert_eq!(said.matches("ed25519: verified").count(), deliveries.len());
}

fn verified_by_all(deliveries: &[Value]) {
    verified_by("node", "verify.mjs", "node.done", deliveries);
    verified_by("python3", "verify.py", "python.done", deliveries);
}

#[test]
fn the_official_libraries_verify_json_and_refuse_raw_bytes_that_are_no_text() {
    verified_by_all(&deliveries("raw", &[("/json", true), ("/binary", false)]));
}

#[test]
fn they_verify_any_response_in_an_envelope_or_behind_a_link() {
    for body in ["envelope", "thin"] {
        verified_by_all(&deliveries(body, &[("/json", true), ("/binary", true)]));
    }
}
