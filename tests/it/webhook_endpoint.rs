//! What is taken for a `webhookEndpoint`, and what is not.

use crate::harness::{Ask, Raincheck, Server, Setup, encoded};

fn proxy() -> (Server, Raincheck) {
    let upstream = Server::fixed(200, "ok");
    // No address is opened here: the guard is under test.
    let proxy = Setup::new(&upstream)
        .set("webhook.allow_networks", Vec::<String>::new())
        .start();
    (upstream, proxy)
}

fn endpoint(raw: &str) -> Ask {
    Ask::post(format!("/?async=true&webhookEndpoint={raw}"), "x")
}

#[test]
fn urls_that_are_no_webhook_endpoint() {
    let (upstream, proxy) = proxy();
    for raw in [
        "",
        "%20",
        "example.com",
        "%2Fpath",
        "//example.com/",
        "ftp%3A%2F%2Fexample.com%2F",
        "file%3A%2F%2F%2Fetc%2Fpasswd",
        "javascript%3Aalert(1)",
        "http%3A%2F%2F",
        "http%3A%2F%2F%2Fpath",
        "https%3A%2F%2Fuser%40example.com%2F",
        "https%3A%2F%2Fuser%3Apw%40example.com%2F",
        "http%3A%2F%2Fexa%20mple.com%2F",
        "http%3A%2F%2Fexample.com%3A99999%2F",
        "http%3A%2F%2F%5B%3A%3A%2F",
        // double-encoded: decoded once it is no URL
        "https%253A%252F%252Fexample.com%252Fhook",
        // not UTF-8
        "http%3A%2F%2F%ff%fe.example%2F",
        "http%3A%2F%2Fexample.com%2F%0d%0aX%3A%20y",
    ] {
        let reply = proxy.ask(&endpoint(raw));
        let detail = reply.problem(400, "invalid-webhook-endpoint");
        assert!(detail.len() < 400, "{raw}: {detail}");
    }
    let long = format!("http%3A%2F%2Fexample.com%2F{}", "x".repeat(10_000));
    proxy
        .ask(&endpoint(&long))
        .problem(400, "invalid-webhook-endpoint");
    assert!(upstream.seen().is_empty());
}

#[test]
fn absent_value_and_repetition() {
    let (_upstream, proxy) = proxy();
    proxy
        .get("/?async=true&webhookEndpoint")
        .problem(400, "invalid-webhook-endpoint");
    proxy
        .get("/?webhookEndpoint")
        .problem(400, "invalid-webhook-endpoint");
    let twice = "http%3A%2F%2Fexample.com&webhookEndpoint=http%3A%2F%2Fexample.com";
    proxy
        .ask(&endpoint(twice))
        .problem(400, "invalid-webhook-endpoint");
}

#[test]
fn length_is_counted_decoded_at_2048() {
    let (_upstream, proxy) = proxy();
    let base = "http://127.0.0.1:1/";
    let fits = format!("{base}{}", "x".repeat(2048 - base.len()));
    proxy
        .ask(&endpoint(&encoded(&fits)))
        .problem(400, "forbidden-webhook-endpoint");
    let over = format!("{fits}x");
    proxy
        .ask(&endpoint(&encoded(&over)))
        .problem(400, "invalid-webhook-endpoint");
}

#[test]
fn ip_literals_and_localhost_in_every_spelling_are_judged_before_the_202() {
    let (upstream, proxy) = proxy();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[2001:0:7f00:1::]",
    ] {
        let reply = proxy.ask(&endpoint(&encoded(&format!("http://{host}/h"))));
        reply.problem(400, "forbidden-webhook-endpoint");
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn names_are_not_resolved_before_the_202() {
    let (_upstream, proxy) = proxy();
    for url in ["http://no-such-name.invalid/h", "https://internal.corp/"] {
        let run = proxy.run(&endpoint(&encoded(url)));
        assert_eq!(
            proxy.finished(&run)["delivery"]["host"],
            url.split('/').nth(2).unwrap()
        );
    }
}

#[test]
fn a_plus_is_no_space() {
    let upstream = Server::fixed(200, "ok");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = receiver.url("/a+b");
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    proxy.delivered(&run);
    assert_eq!(receiver.only().target, "/a+b");
}

#[test]
fn a_webhook_on_a_synchronous_call_is_a_run_too() {
    let upstream = Server::fixed(200, "both");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&receiver.url("/h?x=1"));
    let reply = proxy.get(format!("/p?a=1&webhookEndpoint={url}"));
    assert_eq!((reply.status, reply.text()), (200, "both".into()));
    let id = reply.header("raincheck-run-id").expect("run id");
    let seen = receiver.only();
    assert_eq!(seen.target, "/h?x=1");
    assert_eq!(seen.body, b"both");
    assert_eq!(seen.run_id(), id);
    let record = proxy.get(format!("/_raincheck/runs/{id}")).json();
    assert_eq!(
        (&record["async"], &record["state"]),
        (&false.into(), &"succeeded".into())
    );
    assert_eq!(upstream.only().target, "/p?a=1");
}

#[test]
fn caller_endpoints_can_be_switched_off_or_listed() {
    let upstream = Server::fixed(200, "ok");
    let proxy = Setup::new(&upstream)
        .set("webhook.caller_endpoints", "off")
        .start();
    let reply = proxy.ask(&endpoint("http%3A%2F%2Fexample.com"));
    reply.problem(400, "forbidden-webhook-endpoint");
    let proxy = Setup::new(&upstream)
        .set("webhook.caller_endpoints", "listed")
        .set("webhook.allow_hosts", vec!["hooks.example.com"])
        .start();
    let reply = proxy.ask(&endpoint("http%3A%2F%2Fexample.com"));
    reply.problem(400, "forbidden-webhook-endpoint");
    proxy.run(&endpoint("http%3A%2F%2Fhooks.example.com%2F"));
}
