//! Actions are invoked.

use serde_json::json;

use super::{
    GUEST, NAMESPACES, activation_id, application, error, get, invoke, post, setting, with,
};
use crate::harness::{Ask, Gate, RunHandle, Server, Setup, encoded};

#[test]
fn the_202_is_exact_and_the_application_gets_a_post_of_json() {
    let (upstream, proxy) = setting();
    let ask = Ask::post(
        "/api/v1/namespaces/_/actions/sample/hello",
        "{\"name\":\"Ada\"}",
    )
    .header("Content-Type", "text/strange")
    .header("Accept-Encoding", "gzip")
    .header("X-Tenant", "7");
    let reply = proxy.ask(&with(ask, GUEST));
    assert_eq!(reply.status, 202);
    let id = activation_id(&reply);
    assert_eq!(reply.text(), format!("{{\"activationId\":\"{id}\"}}"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let run = RunHandle::of(&reply);
    assert_eq!(run.id.replace('-', ""), id);
    let record = proxy.finished(&run);
    assert_eq!(record["dialect"], "openwhisk");
    assert_eq!(record["name"], "sample/hello");
    assert_eq!(record["route"], "openwhisk/guest");
    assert_eq!(
        proxy.response(&run).text(),
        "{\"given\":{\"name\":\"Ada\"}}"
    );
    let seen = upstream.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/sample/hello")
    );
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-tenant"), Some("7"));
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("accept-encoding"), None);
    assert_eq!(seen.run_id(), run.id);
}

#[test]
fn a_blocking_invocation_gets_the_record_or_the_result() {
    let (_upstream, proxy) = setting();
    let reply = post(&proxy, "guest/actions/hello?blocking=true", "{\"a\":1}");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let id = activation_id(&reply);
    let record = reply.json();
    assert_eq!(record["activationId"], id.as_str());
    assert_eq!(record["response"]["result"], json!({"given": {"a": 1}}));
    assert_eq!(record["response"]["success"], true);
    assert_eq!(record["response"]["size"], "{\"given\":{\"a\":1}}".len());
    assert_eq!(
        get(&proxy, &format!("guest/activations/{id}")).text(),
        reply.text()
    );
    let reply = post(&proxy, "guest/actions/hello?blocking=true&result=true", "");
    assert_eq!((reply.status, reply.text()), (200, "{\"given\":{}}".into()));
    assert_eq!(reply.header("location"), None);
    activation_id(&reply);
    let reply = post(&proxy, "guest/actions/hello?result=true", "");
    assert_eq!(reply.status, 202);
}

#[test]
fn what_the_application_answers_otherwise_is_wrapped() {
    let (_upstream, proxy) = setting();
    for (action, status, expected) in [
        (
            "text",
            200,
            json!({"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "a \"text\"\n"}),
        ),
        (
            "bytes",
            200,
            json!({"statusCode": 200, "headers": {"content-type": "image/png"}, "body": "iVBOR/8="}),
        ),
        ("fail", 502, json!({"error": "bad prompt"})),
        (
            "broken",
            502,
            json!({
                "error": "The application answered 500 Internal Server Error.",
                "statusCode": 500, "headers": {"content-type": "text/html"}, "body": "<h1>no</h1>",
            }),
        ),
    ] {
        let reply = post(&proxy, &format!("guest/actions/{action}?blocking=true"), "");
        assert_eq!(reply.status, status, "{action}");
        let record = reply.json();
        assert_eq!(record["response"]["result"], expected, "{action}");
        let (name, code) = if status == 200 {
            ("success", 0)
        } else {
            ("application error", 1)
        };
        assert_eq!(record["response"]["status"], name);
        assert_eq!(record["statusCode"], code);
        let reply = post(
            &proxy,
            &format!("guest/actions/{action}?blocking=true&result=true"),
            "",
        );
        assert_eq!((reply.status, reply.json()), (status, expected));
    }
}

#[test]
fn an_application_that_does_not_answer_is_a_developers_error() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream)
        .add("[openwhisk.namespaces.guest]\nupstream = 'app'\nresponse_grace_period = '100ms'\n")
        .start();
    let reply = post(&proxy, "guest/actions/slow?blocking=true", "");
    assert_eq!(reply.status, 502);
    let record = reply.json();
    assert_eq!(record["response"]["status"], "action developer error");
    assert_eq!(record["statusCode"], 2);
    assert!(record["response"]["result"]["error"].is_string());
    assert_eq!(
        record["annotations"][2],
        json!({"key": "timeout", "value": true})
    );
    gate.open();
}

#[test]
fn a_wait_that_is_over_ends_in_a_202_and_the_run_goes_on() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream)
        .add("[openwhisk.namespaces.guest]\nupstream = 'app'\nblocking_wait = '1s'\n")
        .start();
    for query in ["blocking=true&timeout=1", "timeout=60000&blocking=true"] {
        let reply = post(&proxy, &format!("_/actions/slow?{query}"), "");
        assert_eq!(reply.status, 202, "{query}");
        let id = activation_id(&reply);
        assert_eq!(reply.text(), format!("{{\"activationId\":\"{id}\"}}"));
        assert!(reply.header("location").is_some());
    }
    gate.open();
    let reply = post(&proxy, "_/actions/slow?blocking=true", "");
    assert_eq!(
        (reply.status, reply.json()["response"]["result"].clone()),
        (200, json!({"slow": true}))
    );
}

#[test]
fn who_waits_is_told_as_soon_as_the_run_has_ended() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream).add(NAMESPACES).start();
    let ask = with(
        Ask::post("/api/v1/namespaces/_/actions/slow?blocking=true", ""),
        GUEST,
    );
    let mut wires: Vec<_> = (0..3)
        .map(|_| {
            let mut wire = proxy.wire();
            wire.send(ask.bytes("a"));
            wire
        })
        .collect();
    upstream.wait_for(3);
    assert!(!wires[0].has_answer());
    gate.open();
    for wire in &mut wires {
        assert_eq!(wire.reply().status, 200);
    }
}

#[test]
fn a_body_is_a_json_object_or_nothing() {
    let (upstream, proxy) = setting();
    for body in [
        "[]", "1", "\"x\"", "null", "{", "{}x", "{\"a\":}", "a=b", " ",
    ] {
        let reply = post(&proxy, "guest/actions/hello", body);
        error(&reply, 400);
        assert_eq!(
            reply.header("raincheck-error"),
            Some("bad-request"),
            "{body}"
        );
    }
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(1_000_000));
    error(&post(&proxy, "guest/actions/hello", &long[..999_999]), 400);
    let reply = post(
        &proxy,
        "guest/actions/hello?blocking=true&result=true",
        &long,
    );
    assert_eq!(reply.text(), format!("{{\"given\":{long}}}"));
    for body in ["", " {\n}\t"] {
        let reply = post(
            &proxy,
            "guest/actions/hello?blocking=true&result=true",
            body,
        );
        let given = if body.is_empty() { "{}" } else { body };
        assert_eq!(reply.text(), format!("{{\"given\":{given}}}"));
    }
    assert_eq!(upstream.seen().len(), 3);
    let spooled = std::fs::read_dir(proxy.store_folder().join("spool")).expect("spool");
    let files =
        spooled.flat_map(|hour| std::fs::read_dir(hour.expect("hour").path()).expect("hour"));
    assert!(files.count() <= 1, "a refused body is not kept");
}

#[test]
fn bodies_come_chunked_and_on_request_too_and_the_connection_stays_open() {
    let (_upstream, proxy) = setting();
    let mut wire = proxy.wire();
    wire.send(format!(
        "POST /api/v1/namespaces/_/actions/hello?blocking=true&result=true HTTP/1.1\r\nHost: a\r\nAuthorization: {GUEST}\r\n\
         Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    ));
    let (line, _) = wire.head();
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    wire.send("3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n");
    assert_eq!(wire.reply().text(), "{\"given\":{\"a\":1}}");
    let ask = with(Ask::post("/api/v1/namespaces/_/actions/hello?", ""), GUEST);
    let reply = proxy.ask_on(&mut wire, &ask);
    assert_eq!(reply.status, 202, "a bare question mark is no query");
}

#[test]
fn what_is_too_much_is_refused_in_the_dialects_form() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream)
        .add(NAMESPACES)
        .set("limits.request_body", "1 KiB")
        .set("limits.unfinished_runs", 1)
        .start();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
    let said = error(&post(&proxy, "guest/actions/hello", &large), 413);
    assert!(said.contains("1024"), "{said}");
    invoke(&proxy, "slow");
    let reply = post(&proxy, "guest/actions/hello", "");
    error(&reply, 429);
    assert!(reply.header("retry-after").is_some());
    let code = [("route", "openwhisk/guest"), ("code", "too-many-runs")];
    assert_eq!(proxy.metric("raincheck_runs_rejected_total", &code), 1.0);
    gate.open();
}

#[test]
fn a_full_store_takes_no_invocation() {
    let (_upstream, proxy) = {
        let gate = Gate::shut();
        gate.open();
        let upstream = application(&gate);
        let proxy = Setup::new(&upstream)
            .add(NAMESPACES)
            .set("store.max_bytes", 1)
            .start();
        (upstream, proxy)
    };
    let reply = crate::harness::eventually("the store to know its size", || {
        let reply = post(&proxy, "guest/actions/hello", "");
        (reply.status != 202).then_some(reply)
    });
    error(&reply, 503);
    assert!(reply.header("retry-after").is_some());
}

#[test]
fn parameters_that_are_wrong_are_named() {
    let (upstream, proxy) = setting();
    for (query, name) in [
        ("blocking=yes", "blocking"),
        ("result=1", "result"),
        ("timeout=0", "0"),
        ("timeout=60001", "60001"),
        ("blocking=true&blocking=false", "blocking"),
    ] {
        let said = error(
            &post(&proxy, &format!("guest/actions/hello?{query}"), "{}"),
            400,
        );
        assert!(said.contains(name), "{said}");
    }
    error(&post(&proxy, "guest/actions/a%00b", "{}"), 404);
    assert!(upstream.seen().is_empty());
}

#[test]
fn an_upgrade_is_no_invocation() {
    let (upstream, proxy) = setting();
    let ask = Ask::post("/api/v1/namespaces/_/actions/hello", "{}")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let reply = proxy.ask(&with(ask, GUEST));
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_key_makes_a_repeat_the_same_activation() {
    let (upstream, proxy) = setting();
    let ask = |body: &str| {
        let ask = Ask::post("/api/v1/namespaces/guest/actions/hello", body);
        with(ask.header("Idempotency-Key", "k1"), GUEST)
    };
    let first = proxy.ask(&ask("{}"));
    let again = proxy.ask(&ask("{}"));
    assert_eq!(again.text(), first.text());
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    error(&proxy.ask(&ask("{\"b\":1}")), 422);
    proxy.finished(&RunHandle::of(&first));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_webhook_is_told_of_the_end() {
    let (_upstream, proxy) = setting();
    let receiver = Server::fixed(200, "");
    let hook = encoded(&receiver.url("/h"));
    let target = format!("guest/actions/hello?webhookEndpoint={hook}");
    let run = RunHandle::of(&post(&proxy, &target, "{\"a\":1}"));
    proxy.delivered(&run);
    assert_eq!(receiver.only().text(), "{\"given\":{\"a\":1}}");
    let said = error(
        &post(&proxy, "guest/actions/hello?webhookEndpoint=x", ""),
        400,
    );
    assert!(said.contains("webhookEndpoint"), "{said}");
}

#[test]
fn long_responses_come_whole_in_records() {
    let long = std::sync::Arc::new(vec![0xe9_u8; 700_001]);
    let bytes = std::sync::Arc::clone(&long);
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/bytes" {
            return answer.reply(200, &[], bytes.as_slice());
        }
        answer.reply(
            200,
            &[],
            format!("{{\"long\":\"{}\"}}", "\u{e9}\\n".repeat(200_000)),
        )
    });
    let proxy = Setup::new(&upstream).add(NAMESPACES).start();
    let record = post(&proxy, "guest/actions/json?blocking=true", "").json();
    let result = &record["response"]["result"];
    assert_eq!(
        result["long"].as_str().expect("text").chars().count(),
        400_000
    );
    assert_eq!(record["response"]["size"], 11 + 4 * 200_000);
    let record = post(&proxy, "guest/actions/bytes?blocking=true", "").json();
    let body = record["response"]["result"]["body"].as_str().expect("body");
    assert_eq!(body.len(), 700_001_usize.div_ceil(3) * 4);
    let list = get(&proxy, "guest/activations?docs=true").json();
    assert_eq!(list[0]["response"], record["response"]);
}
