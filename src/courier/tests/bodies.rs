//! The body of a delivery in each of its forms, and the signatures over exactly those bytes.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    bench::{Bench, SIGNING_SECRET, field, settings, split},
    wire::recording,
};
use crate::{
    config::WebhookClient,
    model::{
        access,
        exchange::Body,
        policy::{Policy, WebhookBody},
        run::RunState,
        secret::Secret,
        signature::{Checks, SigningKey, Verdict},
        time::Clock,
    },
    store::{DeliveryClaim, Store},
};

const KEY: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A bench whose deliveries are signed by a key too.
fn bench() -> (Bench, SigningKey) {
    let key = SigningKey::read(KEY).unwrap();
    let settings = WebhookClient {
        ed25519_keys: vec![key.clone()],
        ..settings()
    };
    (Bench::new(settings), key)
}

fn as_body(claim: &mut DeliveryClaim, body: WebhookBody) {
    let mut policy = Policy::clone(&claim.run.policy);
    policy.webhook.body = body;
    claim.run.policy = policy.into();
}

/// Delivers, and verifies both signatures; returns the head and the body.
async fn delivered(bench: &mut Bench, key: &SigningKey, claim: DeliveryClaim) -> (String, Vec<u8>) {
    let mut claim = claim;
    let (endpoint, mut requests) = recording(bench).await;
    claim.endpoint = endpoint;
    bench.shelf.put(&claim);
    bench.settled().await;
    let request = requests.recv().await.unwrap();
    let (head, body) = split(&request).unwrap();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = names.map(|name| {
        let value = field(head, name).unwrap().parse().unwrap();
        (http::HeaderName::from_static(name), value)
    });
    let headers = http::HeaderMap::from_iter(headers);
    let by_secret = Checks {
        secrets: vec![Secret::new(SIGNING_SECRET)],
        ..Checks::default()
    };
    let by_key = Checks {
        public_keys: vec![key.public()],
        ..Checks::default()
    };
    let now = bench.shelf.clock.now();
    assert_eq!(
        by_secret.verify(&headers, body, now),
        Verdict::Verified("v1")
    );
    assert_eq!(by_key.verify(&headers, body, now), Verdict::Verified("v1a"));
    let length = field(head, "content-length").unwrap();
    assert_eq!(length, body.len().to_string());
    assert_eq!(field(head, "transfer-encoding"), None);
    (head.to_owned(), body.to_vec())
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test]
async fn an_envelope_is_the_record_with_the_whole_response_in_it() {
    let (mut bench, key) = bench();
    let mut claim = bench.delivery("http://127.0.0.1/");
    as_body(&mut claim, WebhookBody::Envelope);
    claim.run.state = RunState::Failed;
    claim.response.head = Bytes::from_static(
        b"HTTP/1.1 502 Bad\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\nX-A: 1\r\nX-A: \"2\"\r\n\r\n",
    );
    claim.response.body = Body::Inline(Bytes::from_static("say \"caf\u{e9}\"\n\u{1}".as_bytes()));
    let mut record = serde_json::to_value(claim.run.record()).unwrap();
    record["response"] = json!({
        "status": 502,
        "headers": { "content-type": "text/plain", "x-a": "1, \"2\"" },
        "body": "say \"caf\u{e9}\"\n\u{1}",
    });
    let (head, body) = delivered(&mut bench, &key, claim).await;
    assert_eq!(field(&head, "content-type"), Some("application/json"));
    let expected =
        json!({ "type": "run.failed", "timestamp": record["finished_at"], "data": record });
    assert_eq!(json(&body), expected);
}

#[tokio::test]
async fn bytes_that_are_no_text_or_are_compressed_are_base64_in_an_envelope() {
    let (mut bench, key) = bench();
    for (head, bytes) in [
        ("", &b"\x00\xff\xfe"[..]),
        ("Content-Encoding: gzip\r\n", b"plain"),
    ] {
        let mut claim = bench.delivery("http://127.0.0.1/");
        as_body(&mut claim, WebhookBody::Envelope);
        claim.response.head = format!("HTTP/1.1 200 OK\r\n{head}\r\n").into();
        claim.response.body = Body::Inline(Bytes::from_static(bytes));
        let (sent, body) = delivered(&mut bench, &key, claim).await;
        assert_eq!(field(&sent, "content-encoding"), None);
        let response = &json(&body)["data"]["response"];
        assert_eq!(response["body"], Value::Null);
        assert_eq!(response["body_base64"], BASE64_STANDARD.encode(bytes));
    }
}

#[tokio::test]
async fn long_bodies_are_wrapped_whole() {
    let (mut bench, key) = bench();
    let text = "a line of text, \"quoted\" and with a \u{20ac}\n".repeat(12_000);
    let mut broken = text.clone().into_bytes();
    broken.push(0xff);
    for bytes in [text.as_bytes(), &broken] {
        for body in [WebhookBody::Envelope, WebhookBody::Raw] {
            let mut claim = bench.delivery("http://127.0.0.1/");
            as_body(&mut claim, body);
            claim.response.body = bench.spooled(bytes).await;
            assert!(matches!(claim.response.body, Body::Spooled { .. }));
            let (_, sent) = delivered(&mut bench, &key, claim).await;
            if body == WebhookBody::Raw {
                assert!(sent == bytes, "the body has changed");
                continue;
            }
            let sent = json(&sent);
            let response = &sent["data"]["response"];
            let back = match response["body"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => BASE64_STANDARD
                    .decode(response["body_base64"].as_str().unwrap())
                    .unwrap(),
            };
            assert!(back == bytes, "the body has changed");
        }
    }
}

#[tokio::test]
async fn a_thin_delivery_links_to_the_response_with_the_runs_token() {
    let (mut bench, key) = bench();
    let mut claim = bench.delivery("http://127.0.0.1/");
    as_body(&mut claim, WebhookBody::Thin);
    let id = claim.run.id;
    let token = access::token(&bench.shelf.identity().key, id);
    let mut record = serde_json::to_value(claim.run.record()).unwrap();
    record["response_url"] =
        format!("https://api.example/_raincheck/runs/{id}/response?token={token}").into();
    let (_, body) = delivered(&mut bench, &key, claim).await;
    let expected =
        json!({ "type": "run.succeeded", "timestamp": record["finished_at"], "data": record });
    assert_eq!(json(&body), expected);
}

#[tokio::test]
async fn auto_is_thin_only_above_its_size() {
    let (mut bench, key) = bench();
    for (thin_above, raw) in [(5, true), (4, false)] {
        let mut claim = bench.delivery("http://127.0.0.1/");
        as_body(&mut claim, WebhookBody::Auto { thin_above });
        let (_, body) = delivered(&mut bench, &key, claim).await;
        assert_eq!(body == b"hello", raw);
    }
}
