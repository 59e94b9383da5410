//! `/async-function/<name>`

use crate::harness::{
    Ask, Reply, RunHandle, Server, Setup, encoded, free_port, standard_signature,
};

fn setup(upstream: &Server) -> Setup {
    speaking(Setup::new(upstream))
}

fn speaking(setup: Setup) -> Setup {
    setup.set(
        "route.async.dialects",
        vec!["cerebrium", "openfaas", "ubidots", "prefer"],
    )
}

/// Asserts that this is an error of the dialect; returns its text.
fn refused(reply: &Reply, status: u16, code: &str) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(reply.header("raincheck-error"), Some(code));
    let text = reply.text();
    assert!(
        text.len() > 10 && text.ends_with('\n') && !text.starts_with('{'),
        "{text}"
    );
    text
}

#[test]
fn the_202_is_exact() {
    let upstream = Server::fixed(200, "done");
    let proxy = setup(&upstream).start();
    let reply = proxy.ask(&Ask::post("/async-function/figlet", "hello"));
    assert_eq!((reply.status, reply.body.len()), (202, 0));
    let names: Vec<_> = reply
        .headers
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    assert_eq!(
        names,
        [
            "x-request-id",
            "location",
            "x-call-id",
            "x-start-time",
            "cache-control",
            "referrer-policy",
            "content-length",
            "date",
            "connection"
        ]
    );
    assert_eq!(reply.header("x-call-id"), reply.header("x-request-id"));
    let run = RunHandle::of(&reply);
    let record = proxy.finished(&run);
    assert_eq!(record["dialect"], "openfaas");
    let accepted = record["accepted_at"].as_str().expect("a time");
    let accepted = humantime::parse_rfc3339(accepted).expect("a time");
    let since = accepted
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a time");
    let start = since.as_nanos().to_string();
    assert_eq!(reply.header("x-start-time"), Some(start.as_str()));
    assert_eq!(record["path"], "/async-function/figlet");
    assert_eq!(record["name"], "/async-function/figlet");
    assert_eq!(proxy.response(&run).text(), "done");
    let seen = upstream.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/figlet")
    );
    assert_eq!(seen.text(), "hello");
}

#[test]
fn path_and_query_go_on_byte_for_byte() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream).start();
    let cases = [
        ("GET", "/async-function/a", "/a"),
        ("PUT", "/async-function/a/", "/a/"),
        ("DELETE", "/async-function/a/b//c%2Fd/?", "/a/b//c%2Fd/?"),
        (
            "PATCH",
            "/async-function/e%63ho.ns?x=%20&async=1",
            "/e%63ho.ns?x=%20&async=1",
        ),
    ];
    for (n, (method, target, sent)) in cases.into_iter().enumerate() {
        let run = proxy.run(&Ask::new(method, target).header("X-Any", "1"));
        proxy.finished(&run);
        let seen = &upstream.wait_for(n + 1)[n];
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, sent));
        assert_eq!(seen.header("x-any"), Some("1"));
    }
    assert_eq!(proxy.get("/a?async=1").status, 200, "others pass through");
}

#[test]
fn the_route_says_where_functions_are() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream)
        .set("route.async.openfaas_path", "/v1/{name}/call")
        .start();
    let run = proxy.run(&Ask::post("/async-function/echo?a=1", ""));
    proxy.finished(&run);
    assert_eq!(upstream.only().target, "/v1/echo/call?a=1");
    refused(&proxy.get("/async-function/echo/x"), 404, "no-route");
}

#[test]
fn errors_are_text() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream).set("limits.request_body", "10 B").start();
    for target in [
        "/async-function",
        "/async-function/",
        "/async-function//x",
        "/async-function?x",
    ] {
        refused(&proxy.get(target), 404, "no-route");
    }
    for query in ["async=true", "_blocking=false"] {
        let reply = proxy.get(format!("/async-function/echo?{query}"));
        let text = refused(&reply, 400, "conflicting-triggers");
        assert!(text.contains("`openfaas`"), "{text}");
    }
    let large = Ask::post("/async-function/echo", "x".repeat(11));
    refused(&proxy.ask(&large), 413, "request-too-large");
    let upgrade = Ask::get("/async-function/echo")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    refused(&proxy.ask(&upgrade), 400, "upgrade-not-a-run");
    proxy
        .ask(&Ask::post("/?async=true", "x".repeat(11)))
        .problem(413, "request-too-large");
    assert!(upstream.seen().is_empty());
}

#[test]
fn it_wins_over_a_preference_which_goes_on_to_the_function() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream).start();
    let reply = proxy.ask(&Ask::get("/async-function/f").header("Prefer", "respond-async"));
    assert_eq!(reply.header("preference-applied"), None);
    assert_eq!(
        proxy.finished(&RunHandle::of(&reply))["dialect"],
        "openfaas"
    );
    assert_eq!(upstream.only().header("prefer"), Some("respond-async"));
}

#[test]
fn a_callback_has_the_functions_headers_and_says_how_it_went() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let upstream = Server::new(|_, answer| {
        let headers = [
            ("Content-Type", "image/x"),
            ("X-App", "1"),
            ("X-App", "2"),
            ("ETag", "\"e\""),
            ("Set-Cookie", "a=b"),
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("Host", "inner"),
            ("X-Function-Status", "999"),
            ("User-Agent", "app"),
        ];
        answer.reply(418, &headers, b"\x00\xffbody")
    });
    let receiver = Server::fixed(200, "");
    let proxy = setup(&upstream)
        .set("webhook.signing_secrets", vec![SECRET])
        .start();
    let url = receiver.url("/call%20back?a=1");
    let ask = Ask::new("PUT", "/async-function/tea.pot/x?q=1")
        .header("X-Callback-Url", &url)
        .header("X-Call-Id", "mine");
    let reply = proxy.ask(&ask);
    assert_eq!(reply.header("x-call-id"), Some("mine"));
    let run = RunHandle::of(&reply);
    assert_ne!(run.id, "mine");
    let record = proxy.delivered(&run);
    assert_eq!(record["delivery"]["state"], "delivered");
    let seen = receiver.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/call%20back?a=1")
    );
    assert_eq!(seen.body, b"\x00\xffbody");
    let lines = |name: &str| -> Vec<&str> {
        let of_name = seen
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(lines("content-type"), ["image/x"]);
    assert_eq!(lines("x-app"), ["1", "2"]);
    assert_eq!(lines("etag"), ["\"e\""]);
    for gone in ["set-cookie", "x-hop", "connection", "transfer-encoding"] {
        assert_eq!(lines(gone), [""; 0], "{gone}");
    }
    assert_eq!(lines("host"), [receiver.address().to_string()]);
    assert_eq!(lines("content-length"), ["6"]);
    assert_eq!(lines("x-call-id"), ["mine"]);
    assert_eq!(lines("x-function-name"), ["tea.pot"]);
    assert_eq!(lines("x-function-status"), ["418"]);
    let took = lines("x-duration-seconds")[0];
    let (seconds, fraction) = took.split_once('.').expect("a fraction");
    assert!(
        fraction.len() == 6 && seconds.parse::<u64>().is_ok(),
        "{took}"
    );
    assert_eq!(lines("x-request-id"), [run.id.as_str()]);
    assert_eq!(lines("raincheck-run-state"), ["failed"]);
    assert!(lines("user-agent")[0].starts_with("raincheck/"));
    assert_eq!(
        lines("webhook-signature"),
        [standard_signature(SECRET, &seen)]
    );
}

#[test]
fn a_function_that_cannot_be_reached_has_status_503() {
    let receiver = Server::fixed(200, "");
    let proxy = speaking(Setup::to(&free_port().to_string()))
        .set("route.async.response_grace_period", "100ms")
        .start();
    let ask = Ask::post("/async-function/gone", "").header("X-Callback-Url", receiver.url("/"));
    let run = proxy.run(&ask);
    proxy.delivered(&run);
    let seen = receiver.only();
    assert_eq!(seen.header("x-function-status"), Some("503"));
    assert_eq!(seen.header("x-function-name"), Some("gone"));
    assert_eq!(seen.header("x-call-id"), Some(run.id.as_str()));
    assert_eq!(seen.header("raincheck-run-reason"), Some("unreachable"));
    assert_eq!(
        seen.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(seen.header("raincheck-error"), None);
}

#[test]
fn a_callback_meets_the_checks_of_a_webhook() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let proxy = setup(&upstream)
        .set("webhook.ports", vec![i64::from(receiver.address().port())])
        .add("[[route]]\nname='off'\nhost='off.example'\npath='/'\nupstream='app'\n[route.async]\ndialects=['openfaas']\n[route.webhook]\ncaller_endpoints='off'")
        .start();
    let url = receiver.url("/");
    let ask = |url: &str| Ask::post("/async-function/f", "").header("X-Callback-Url", url);
    for bad in [
        "",
        "nowhere",
        "ftp://a.example/",
        "http://u:p@a.example/",
        &encoded(&url),
    ] {
        refused(&proxy.ask(&ask(bad)), 400, "invalid-webhook-endpoint");
    }
    let text = refused(
        &proxy.ask(&ask(&url).header("X-Callback-Url", &url)),
        400,
        "invalid-webhook-endpoint",
    );
    assert!(text.contains("X-Callback-Url"), "{text}");
    let beside = Ask::post(
        format!("/async-function/f?webhookEndpoint={}", encoded(&url)),
        "",
    );
    refused(
        &proxy.ask(&beside.clone().header("X-Callback-Url", &url)),
        400,
        "invalid-webhook-endpoint",
    );
    for bad in ["http://[::1]/", "http://10.0.0.1/", "http://127.0.0.1:1/"] {
        refused(&proxy.ask(&ask(bad)), 400, "forbidden-webhook-endpoint");
    }
    let off = ask(&url).header("Host", "off.example");
    refused(&proxy.ask(&off), 400, "forbidden-webhook-endpoint");
    let foreign = ask(&url).header("Origin", "https://evil.example");
    refused(&proxy.ask(&foreign), 403, "cross-site-webhook");
    assert!(upstream.seen().is_empty());

    let run = proxy.run(&beside);
    proxy.delivered(&run);
    assert_eq!(receiver.only().header("x-function-name"), Some("f"));
    assert_eq!(upstream.only().target, "/f");
    let elsewhere = Ask::post("/?async=true", "").header("X-Callback-Url", "nowhere");
    assert_eq!(
        proxy.finished(&proxy.run(&elsewhere))["delivery"],
        serde_json::Value::Null
    );
}

#[test]
fn a_repeat_gets_the_first_call_again() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream).start();
    let ask = Ask::post("/async-function/pay", "1").header("Idempotency-Key", "k");
    let first = proxy.ask(&ask.clone().header("X-Call-Id", "one"));
    let again = proxy.ask(&ask.header("X-Call-Id", "two"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    for name in ["x-call-id", "x-start-time", "x-request-id", "location"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(first.header("x-call-id"), Some("one"));
}

#[test]
fn a_call_outlives_the_program_with_its_callback() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let mut proxy = setup(&upstream).set("route.async.repeat", "always").start();
    let ask = Ask::post("/async-function/late", "")
        .header("X-Callback-Url", receiver.url("/"))
        .header("X-Call-Id", "kept");
    let run = proxy.run(&ask);
    proxy.kill();
    proxy.start();
    proxy.delivered(&run);
    let seen = receiver.wait_for(1);
    assert_eq!(seen[0].header("x-call-id"), Some("kept"));
    assert_eq!(seen[0].header("x-function-name"), Some("late"));
}
