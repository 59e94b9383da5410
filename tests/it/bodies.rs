//! What a delivery's body may be beside the response itself: the envelope, the thin one, and a loop of them.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::harness::{Ask, Raincheck, RunHandle, Server, Setup, encoded, eventually};

fn run_to(proxy: &Raincheck, receiver: &Server, path: &str) -> (RunHandle, Value) {
    let url = encoded(&receiver.url("/hook"));
    let run = proxy.run(&Ask::post(
        format!("{path}?async=true&webhookEndpoint={url}"),
        "x",
    ));
    let record = proxy.delivered(&run);
    (run, record)
}

#[test]
fn an_envelope_tells_the_record_and_the_whole_response() {
    let upstream = Server::new(|seen, answer| {
        let body = match seen.target.as_str() {
            "/long" => "a \"line\"\n".repeat(40_000).into_bytes(),
            _ => b"\x00\xff".to_vec(),
        };
        let headers = [
            ("Content-Type", "text/x"),
            ("X-A", "1"),
            ("X-A", "2"),
            ("Set-Cookie", "a=b"),
        ];
        answer.reply(503, &headers, body)
    });
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("webhook.body", "envelope")
        .start();
    let (_, record) = run_to(&proxy, &receiver, "/long");
    let seen = receiver.only();
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(
        seen.header("content-length"),
        Some(seen.body.len().to_string().as_str())
    );
    let event: Value = serde_json::from_slice(&seen.body).expect("json");
    assert_eq!(event["type"], "run.failed");
    assert_eq!(event["timestamp"], record["finished_at"]);
    let data = &event["data"];
    for key in [
        "run_id",
        "state",
        "reason",
        "route",
        "path",
        "accepted_at",
        "attempts",
    ] {
        assert_eq!(data[key], record[key], "{key}");
    }
    assert_eq!(data["delivery"]["attempts"], 0);
    let response = &data["response"];
    assert_eq!(response["status"], 503);
    assert_eq!(response["headers"]["x-a"], "1, 2");
    assert_eq!(response["headers"]["set-cookie"], Value::Null);
    assert_eq!(response["body"], "a \"line\"\n".repeat(40_000));
    run_to(&proxy, &receiver, "/bytes");
    let event: Value = serde_json::from_slice(&receiver.wait_for(2)[1].body).expect("json");
    let response = &event["data"]["response"];
    assert_eq!(response["body_base64"], BASE64_STANDARD.encode(b"\x00\xff"));
}

#[test]
fn a_thin_delivery_links_to_the_response() {
    let upstream = Server::fixed(200, "the response");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("webhook.body", "auto")
        .set("webhook.thin_above", 3)
        .start();
    let (run, _) = run_to(&proxy, &receiver, "/");
    let event: Value = serde_json::from_slice(&receiver.only().body).expect("json");
    assert_eq!(event["type"], "run.succeeded");
    assert_eq!(event["data"]["response"]["bytes"], 12);
    let url = event["data"]["response_url"].as_str().expect("a link");
    assert_eq!(url, run.response());
    assert_eq!(proxy.get(url).text(), "the response");
}

#[test]
fn what_applied_at_acceptance_applies_to_the_end() {
    let upstream = Server::fixed(200, "text");
    let receiver = Server::new(|seen, answer| {
        let status = if seen.nth == 0 { 500 } else { 200 };
        answer.reply(status, &[], "")
    });
    let setup = Setup::new(&upstream)
        .set("webhook.body", "envelope")
        .set("webhook.schedule", vec!["0s", "1s"]);
    let mut proxy = setup.start();
    let url = encoded(&receiver.url("/"));
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    receiver.wait_for(1);
    proxy.kill();
    proxy.set("webhook.body", "raw");
    proxy.start();
    proxy.delivered(&run);
    let event: Value = serde_json::from_slice(&receiver.wait_for(2)[1].body).expect("json");
    assert_eq!(event["data"]["response"]["body"], "text");
}

#[test]
fn a_webhook_to_our_own_name_ends_at_max_depth() {
    let upstream = Server::fixed(200, "again");
    let proxy = Setup::new(&upstream).start();
    let own = format!("http://{}/next?async=true", proxy.public());
    // Each run's webhook asks this proxy for the next run, six times if it were let.
    let chain = (1..6).fold(own.clone(), |next, _| {
        format!("{own}&webhookEndpoint={}", encoded(&next))
    });
    let run = proxy.run(&Ask::get(format!(
        "/first?async=true&webhookEndpoint={}",
        encoded(&chain)
    )));
    // max_depth is 3: three more runs come of it, and the fourth delivery is refused at each of its three attempts.
    eventually("the last delivery's end", || {
        let dead = proxy.metric("raincheck_store_deliveries", &[("state", "dead")]);
        (dead == 1.0).then_some(())
    });
    assert_eq!(proxy.record(&run)["delivery"]["state"], "delivered");
    let rejected = [("route", "app"), ("code", "loop-detected")];
    assert_eq!(
        proxy.metric("raincheck_runs_rejected_total", &rejected),
        3.0
    );
    assert_eq!(upstream.seen().len(), 4);
    let delivered = proxy.metric("raincheck_store_deliveries", &[("state", "delivered")]);
    assert_eq!(delivered, 3.0);
}

#[test]
fn public_keys_are_at_their_place() {
    let upstream = Server::fixed(200, "");
    let key = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let proxy = Setup::new(&upstream)
        .set("webhook.ed25519_keys", vec![key])
        .start();
    let reply = proxy.get("/_raincheck/webhook-keys");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("max-age=300"));
    let expected = serde_json::json!({ "keys": [{
        "type": "ed25519",
        "public_key": "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
    }] });
    assert_eq!(reply.json(), expected);
    assert_eq!(
        proxy.ask(&Ask::post("/_raincheck/webhook-keys", "")).status,
        405
    );
}
