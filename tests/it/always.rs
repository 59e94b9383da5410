//! Routes on which every request is a run.

use crate::harness::{Ask, RunHandle, Server, Setup, encoded};

fn setup(upstream: &Server) -> Setup {
    Setup::new(upstream).set("route.async.always", true)
}

#[test]
fn every_request_is_a_run_whatever_it_says() {
    let upstream = Server::fixed(200, "done");
    let proxy = setup(&upstream).start();
    let asks = [
        Ask::get("/"),
        Ask::new("HEAD", "/"),
        Ask::new("OPTIONS", "/"),
        Ask::new("DELETE", "/x"),
        Ask::post("/?async=false", "x"),
        Ask::get("/?async").header("Origin", "https://a.example"),
        Ask::get("/").header("Prefer", "wait=5"),
    ];
    for ask in asks {
        let reply = proxy.ask(&ask);
        assert_eq!(reply.status, 202, "{ask:?}");
        let run = RunHandle::of(&reply);
        if !ask.is_head() {
            assert_eq!(reply.text(), format!("{{\"run_id\":\"{}\"}}\n", run.id));
        }
        let record = proxy.finished(&run);
        assert_eq!(record["dialect"], "cerebrium");
        assert_eq!(record["async"], true);
    }
}

#[test]
fn what_asks_for_nothing_is_sent_byte_for_byte() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream).start();
    let target = "/p?async=false&a=%20&&_blocking=true&z";
    let run = proxy.run(&Ask::post(target, "body"));
    proxy.finished(&run);
    assert_eq!(
        (upstream.only().target.as_str(), upstream.only().text()),
        (target, "body".into())
    );
    let run = proxy.run(&Ask::get("/p?async=true&a"));
    proxy.finished(&run);
    assert_eq!(upstream.wait_for(2)[1].target, "/p?a");
}

#[test]
fn the_first_dialect_answers_what_asks_in_none() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream)
        .set(
            "route.async.dialects",
            vec!["ubidots", "cerebrium", "prefer"],
        )
        .start();
    let body = proxy.get("/device").json();
    assert!(body["activationId"].is_string(), "{body}");
    let body = proxy.get("/device?async=true").json();
    assert!(body["run_id"].is_string(), "{body}");
    let reply = proxy.ask(&Ask::get("/device").header("Prefer", "respond-async"));
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
}

#[test]
fn a_caller_who_would_rather_wait_gets_its_response_and_it_is_a_run_all_the_same() {
    let upstream = Server::fixed(503, "busy");
    let proxy = setup(&upstream)
        .set("route.async.dialects", vec!["prefer"])
        .start();
    for preference in ["respond-async, wait=5", "wait=5"] {
        let ask = Ask::post("/device", "x").header("Prefer", preference);
        let status = proxy.ask(&ask).status;
        // The second asks for nothing, so it is a run like any other here.
        assert_eq!(status, if preference == "wait=5" { 202 } else { 503 });
    }
    for seen in upstream.wait_for(2) {
        assert!(seen.header("raincheck-run-id").is_some());
    }
    assert_eq!(proxy.metric("raincheck_runs_accepted_total", &[]), 2.0);
}

#[test]
fn preflights_and_upgrades_pass_through() {
    let upstream = Server::new(|seen, answer| {
        if seen.header("upgrade").is_none() {
            return answer.reply(204, &[("X-From", "app")], "");
        }
        answer.raw(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )?;
        answer.until_closed()
    });
    let proxy = setup(&upstream).start();
    let preflight = Ask::new("OPTIONS", "/")
        .header("Origin", "https://a.example")
        .header("Access-Control-Request-Method", "POST");
    let reply = proxy.ask(&preflight);
    assert_eq!((reply.status, reply.header("x-from")), (204, Some("app")));

    let mut wire = proxy.wire();
    wire.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let line = wire.head().0;
    assert_eq!(line.split(' ').nth(1), Some("101"), "{line}");
    assert_eq!(proxy.metric("raincheck_runs_accepted_total", &[]), 0.0);

    let asked = Ask::get("/ws?async=true")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    proxy.ask(&asked).problem(400, "upgrade-not-a-run");
}

#[test]
fn an_offer_of_http2_is_no_upgrade() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream).start();
    for target in ["/", "/?async=true"] {
        let ask = Ask::post(target, "body")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAEAAEAAAAIAAAAA");
        let run = proxy.run(&ask);
        proxy.finished(&run);
    }
    for seen in upstream.seen() {
        assert_eq!(seen.text(), "body");
        for gone in ["upgrade", "http2-settings"] {
            assert_eq!(seen.header(gone), None);
        }
    }
}

#[test]
fn a_webhook_named_without_a_trigger_is_told_of_a_run() {
    let upstream = Server::fixed(200, "done");
    let receiver = Server::fixed(200, "");
    let proxy = setup(&upstream).start();
    let url = encoded(&receiver.url("/hook"));
    let run = proxy.run(&Ask::get(format!("/?webhookEndpoint={url}&a=1")));
    proxy.delivered(&run);
    assert_eq!(upstream.only().target, "/?a=1");
    assert_eq!(receiver.only().text(), "done");
}

#[test]
fn a_senders_repeats_are_recognised_by_its_own_delivery_id() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream)
        .set("route.async.idempotency_header", "X-GitHub-Delivery")
        .start();
    let ask = |id: &str| {
        Ask::post("/github", "{\"zen\":\"Keep it logically awesome.\"}")
            .header("X-GitHub-Event", "ping")
            .header("X-GitHub-Delivery", id)
    };
    let first = proxy.ask(&ask("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    let again = proxy.ask(&ask("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    let other = proxy.ask(&ask("f0d8f1a0-cc78-11e3-8e1a-5d1f2ad2f0d2"));
    assert_ne!(other.body, first.body);
    for reply in [&first, &other] {
        proxy.finished(&RunHandle::of(reply));
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("x-github-event"), Some("ping"));
    assert!(seen[0].header("x-github-delivery").is_some());
}

#[test]
fn our_own_resources_and_other_routes_are_no_runs() {
    let upstream = Server::fixed(200, "sync");
    let proxy = setup(&upstream)
        .add("[[route]]\nname='plain'\npath='/plain'\nupstream='app'\n[route.async]")
        .start();
    assert_eq!(proxy.get("/plain").text(), "sync");
    proxy.get("/_raincheck/runs/x").problem(404, "unknown-run");
}
