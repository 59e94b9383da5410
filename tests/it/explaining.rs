//! `raincheck explain`: the program's own checks, in words.

use std::{fs, process::Command};

use crate::harness::PROGRAM;

const CONFIG: &str = r#"
[webhook]
allow_hosts = ["hooks.internal"]
[upstream.app]
peers = ["127.0.0.1:1"]
[[route]]
upstream = "app"
[route.async]
dialects = ["cerebrium", "prefer", "openfaas"]
[[route]]
name = "slow"
path = "/slow"
upstream = "app"
[route.async]
convert_after = "30s"
[[route]]
name = "plain"
path = "/plain"
host = "one.example"
upstream = "app"
[openwhisk.namespaces.guest]
upstream = "app"
"#;

/// The exit code and what is said.
fn explain(arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("raincheck.toml");
    fs::write(&file, CONFIG).expect("written");
    let output = Command::new(PROGRAM)
        .arg("explain")
        .arg("--config")
        .arg(&file)
        .args(arguments)
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().expect("a code"),
        String::from_utf8(said).expect("text"),
    )
}

#[test]
fn each_request_is_explained_as_the_proxy_would_treat_it() {
    let hook = "/r?async=true&x=1&webhookEndpoint=https%3A%2F%2Fhooks.example%2Fsecret%3Fkey";
    for (arguments, lines) in [
        (&["/r?x"][..], &["passed through", "app (any host, /)"][..]),
        (
            &["http://one.example/plain"],
            &["passed through", "no [route.async]"],
        ),
        (&["/plain"], &["app (any host, /)"]),
        (
            &["/slow/x"],
            &["passed on", "within 30s", "202 in the dialect cerebrium"],
        ),
        (
            &["-H", "Prefer: respond-async, wait=5", "/r"],
            &["within 5s", "202 in the dialect prefer"],
        ),
        (
            &["-d", "body", hook],
            &[
                "asked for as cerebrium",
                "POST /r?x=1, with Host, Content-Length",
                "no (POST",
                "hooks.example:443",
                "after 0s, 5s, 5m 5s",
            ],
        ),
        (
            &[
                "-X",
                "PUT",
                "-H",
                "X-Api-Key: k",
                "-H",
                "Idempotency-Key: i",
                "/r?async=true",
            ],
            &[
                "yes (PUT",
                "same owner headers",
                "same key",
                "webhook         none",
            ],
        ),
        (
            &["/r?webhookEndpoint=http://hooks.internal/"],
            &["gets the response as it comes", "hooks.internal:80"],
        ),
        (
            &["/async-function/f/x"],
            &["asked for as openfaas", "GET /f/x"],
        ),
        (&["/r?async=true&async=0"], &["400 repeated-parameter"]),
        (
            &["/r?async=true&webhookEndpoint=http://0x7f.1/"],
            &[
                "400 forbidden-webhook-endpoint",
                "127.0.0.1 is a loopback address",
            ],
        ),
        (
            &["-H", "Origin: https://evil.example", hook],
            &["403 cross-site-webhook"],
        ),
        (
            &["--length", "99999999999", "/r?async=true"],
            &["413 request-too-large"],
        ),
        (
            &[
                "-H",
                "Upgrade: websocket",
                "-H",
                "Connection: upgrade",
                "/r?async=true",
            ],
            &["400 upgrade-not-a-run"],
        ),
        (&["/a/%2e%2e/b"], &["400 ambiguous-path"]),
        (&["/_raincheck/runs/x"], &["answered here"]),
        (&["/api/v1/namespaces"], &["OpenWhisk"]),
    ] {
        let (exit, said) = explain(arguments);
        assert_eq!(exit, 0, "{arguments:?}: {said}");
        for line in lines {
            assert!(said.contains(line), "{arguments:?}: no {line:?} in\n{said}");
        }
        assert!(
            !said.contains("secret"),
            "a receiver's path is shown:\n{said}"
        );
    }
}

#[test]
fn what_is_no_request_is_refused_with_what_to_write() {
    for (arguments, said) in [
        (&["-H", "bad", "/"][..], "Name: value"),
        (&["-H", "A\nB: c", "/"], "line break"),
        (&["ftp://a/"], "/report?async=true"),
        (&["/a b"], "percent-encode"),
        (&["a.example/x"], "/report?async=true"),
    ] {
        let (exit, text) = explain(arguments);
        assert_eq!(exit, 2, "{arguments:?}: {text}");
        assert!(text.contains(said), "{text}");
    }
}
