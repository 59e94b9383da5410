//! HTTP/2 over TLS.

use std::fs;

use reqwest::Version;
use serde_json::json;

use crate::harness::{Gate, Server, Setup};

pub(crate) struct Tls {
    pub(crate) setup: Setup,
    pub(crate) client: reqwest::Client,
}

pub(crate) fn tls(upstream: &Server) -> Tls {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    let setup = Setup::new(upstream);
    fs::write(setup.folder().join("cert.pem"), made.cert.pem()).expect("write");
    fs::write(
        setup.folder().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .expect("write");
    let listener = json!([{"address": "", "tls": {"cert": "cert.pem", "key": "key.pem"}}]);
    let setup = setup.set("listener", toml::Value::try_from(listener).expect("toml"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("certificate");
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .build()
        .expect("client");
    Tls { setup, client }
}

#[tokio::test]
async fn runs_and_pass_through_over_http2() {
    let upstream = Server::echo();
    let Tls { setup, client } = tls(&upstream);
    let proxy = setup.start_unkept();
    let base = format!("https://localhost:{}", proxy.public().port());

    let sync = client
        .post(format!("{base}/sync?a=1"))
        .body("hello")
        .send()
        .await
        .expect("answer");
    assert_eq!(
        (sync.version(), sync.status().as_u16()),
        (Version::HTTP_2, 200)
    );
    let seen = upstream.wait_for(1)[0].clone();
    assert_eq!(
        (seen.target.as_str(), seen.text().as_str()),
        ("/sync?a=1", "hello")
    );
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(
        seen.header("host"),
        Some(format!("localhost:{}", proxy.public().port()).as_str())
    );

    let accepted = client
        .post(format!("{base}/run?async=true"))
        .body("x".repeat(200_000))
        .send()
        .await
        .expect("answer");
    assert_eq!(
        (accepted.version(), accepted.status().as_u16()),
        (Version::HTTP_2, 202)
    );
    let header = |name: &str| accepted.headers()[name].to_str().expect("text").to_owned();
    let (id, location) = (header("x-request-id"), header("location"));
    assert_eq!(
        accepted.text().await.expect("body"),
        format!("{{\"run_id\":\"{id}\"}}\n")
    );
    let seen = upstream.wait_for(2)[1].clone();
    assert_eq!((seen.target.as_str(), seen.body.len()), ("/run", 200_000));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    let mut record = serde_json::Value::Null;
    while record["state"] != "succeeded" {
        let reply = client
            .get(format!("{base}{location}"))
            .send()
            .await
            .expect("answer");
        record = serde_json::from_str(&reply.text().await.expect("body")).expect("json");
        assert_ne!(record["state"], "failed");
    }
    let response = location.replacen('?', "/response?", 1);
    let replay = client
        .get(format!("{base}{response}"))
        .send()
        .await
        .expect("answer");
    assert_eq!(replay.status(), 200);
    assert_eq!(replay.headers()["cache-control"], "private, no-store");
}

/// A body whose length is not known beforehand.
fn pieces() -> reqwest::Body {
    let pieces = ["hel", "lo"].map(Ok::<_, std::io::Error>);
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}

#[tokio::test]
async fn a_body_without_a_length_ends_once() {
    let upstream = Server::new(|seen, answer| answer.ok(seen.text()));
    let Tls { setup, client } = tls(&upstream);
    let proxy = setup.start_unkept();
    let base = format!("https://localhost:{}", proxy.public().port());
    for _ in 0..2 {
        let ask = client.post(format!("{base}/")).body(pieces());
        let reply = ask.send().await.expect("answer");
        assert_eq!(reply.text().await.expect("body"), "hello");
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn slow_calls_become_runs_over_http2_too() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/slow" {
            wait.wait();
        }
        answer.ok(seen.text())
    });
    let Tls { setup, client } = tls(&upstream);
    let proxy = setup.set("route.async.convert_after", "1s").start_unkept();
    let base = format!("https://localhost:{}", proxy.public().port());
    let ask = |path: &str| client.post(format!("{base}{path}")).body(pieces()).send();
    let fast = ask("/fast").await.expect("answer");
    assert_eq!(
        (fast.version(), fast.status().as_u16()),
        (Version::HTTP_2, 200)
    );
    assert_eq!(fast.headers()["content-length"], "5");
    assert_eq!(fast.text().await.expect("body"), "hello");
    let slow = ask("/slow").await.expect("answer");
    assert_eq!(slow.status().as_u16(), 202);
    let location = slow.headers()["location"].to_str().expect("text");
    let response = location.replacen('?', "/response?", 1);
    gate.open();
    let replay = client
        .get(format!("{base}{response}&wait=60"))
        .send()
        .await
        .expect("answer");
    assert_eq!(replay.status(), 200);
    assert_eq!(replay.text().await.expect("body"), "hello");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        let host = format!("localhost:{}", proxy.public().port());
        assert_eq!(seen.header("host"), Some(host.as_str()));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
}

#[tokio::test]
async fn http1_over_tls_works_too() {
    let upstream = Server::fixed(200, "fine");
    let Tls { setup, .. } = tls(&upstream);
    let proxy = setup.start_unkept();
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .http1_only()
        .no_proxy()
        .build()
        .expect("client");
    let url = format!("https://localhost:{}/", proxy.public().port());
    let reply = client.get(url).send().await.expect("answer");
    assert_eq!(
        (reply.version(), reply.text().await.expect("body")),
        (Version::HTTP_11, "fine".into())
    );
}

#[tokio::test]
async fn errors_are_problems_over_http2_too() {
    let upstream = Server::fixed(200, "");
    let Tls { setup, client } = tls(&upstream);
    let proxy = setup.set("limits.request_body", "1 KiB").start_unkept();
    let base = format!("https://localhost:{}", proxy.public().port());
    let bad = format!("{base}/?async=true&webhookEndpoint=no");
    let reply = client.get(bad).send().await.expect("answer");
    assert_eq!(reply.status().as_u16(), 400);
    assert_eq!(reply.headers()["content-type"], "application/problem+json");
    let reply = client
        .post(format!("{base}/?async=true"))
        .body("x".repeat(2000))
        .send()
        .await
        .expect("answer");
    assert_eq!(reply.status().as_u16(), 413);
    let again = client.get(format!("{base}/")).send().await.expect("answer");
    assert_eq!(again.status(), 200);
}
