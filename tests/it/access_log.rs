//! One line for each request, if that is asked for.

use serde_json::Value;

use crate::harness::{Ask, Raincheck, Server, Setup, encoded, eventually};

/// The lines of the access log, once there are `n`.
fn lines(proxy: &Raincheck, n: usize) -> Vec<Value> {
    eventually("the access log", || {
        let log = proxy.log();
        let lines: Vec<Value> = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["target"] == "raincheck::access")
            .collect();
        (lines.len() >= n).then_some(lines)
    })
}

#[test]
fn every_request_has_one_line_without_its_query_or_any_header() {
    let upstream = Server::fixed(201, "12345");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("server.access_log", true)
        .set("route.path", "/app")
        .start();
    let secret = "s3cret";
    let asks = [
        format!("/app/sync?key={secret}"),
        format!("/app/run?async=true&key={secret}"),
        format!("/app/told?webhookEndpoint={}", encoded(&receiver.url("/"))),
        format!("/elsewhere?key={secret}"),
    ];
    let mut ids = Vec::new();
    for target in &asks {
        let reply = proxy.ask(&Ask::get(target).header("x-api-key", secret));
        ids.push(reply.header("x-request-id").map(ToOwned::to_owned));
    }
    receiver.wait_for(1);
    let lines = lines(&proxy, 4);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["path"].as_str(),
                line["route"].as_str(),
                line["status"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some("/app/sync"), Some("app"), Some(201)),
            (Some("/app/run"), Some("app"), Some(202)),
            (Some("/app/told"), Some("app"), Some(201)),
            (Some("/elsewhere"), None, Some(404)),
        ]
    );
    assert_eq!(lines[0]["bytes"], 5);
    assert_eq!(lines[0]["client"], "127.0.0.1");
    assert!(lines[0].get("run_id").is_none());
    assert_eq!(lines[1]["run_id"].as_str(), ids[1].as_deref());
    assert!(lines[2]["run_id"].is_string());
    assert!(!proxy.log().contains(secret));
}

#[test]
fn it_is_off_unless_asked_for_and_a_reload_switches_it_on() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    proxy.get("/before");
    proxy.rewrite("server.access_log", true);
    assert_eq!(proxy.reload().status, 200);
    proxy.get("/after");
    assert_eq!(lines(&proxy, 1)[0]["path"], "/after");
}
