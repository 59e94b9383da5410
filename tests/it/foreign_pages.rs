//! No foreign web page may use a visitor's browser to have pages sent to itself.

use crate::harness::{Ask, Raincheck, Server, Setup, encoded};

fn setting() -> (Server, Server, Raincheck) {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .add("[[route]]\nname='open'\npath='/open'\nupstream='app'\n[route.async]\ncors={origins=['https://app.example']}")
        .start();
    (upstream, receiver, proxy)
}

fn ask(receiver: &Server, path: &str) -> Ask {
    let url = encoded(&receiver.url("/h"));
    Ask::post(format!("{path}?async=true&webhookEndpoint={url}"), "x")
        .header("Host", "shop.example")
}

#[test]
fn a_browser_that_proves_nothing_is_refused() {
    let (upstream, receiver, proxy) = setting();
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "none"),
        ("Sec-Fetch-Mode", "no-cors"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Cookie", "session=1"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux)"),
    ] {
        let reply = proxy.ask(&ask(&receiver, "/").header(name, value));
        reply.problem(403, "cross-site-webhook");
    }
    // A synchronous call with a webhook would be as good for them.
    let url = encoded(&receiver.url("/h"));
    let sync = Ask::get(format!("/?webhookEndpoint={url}")).header("Cookie", "a=b");
    proxy.ask(&sync).problem(403, "cross-site-webhook");
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_navigation_is_refused_though_it_is_same_origin() {
    let (_upstream, receiver, proxy) = setting();
    let ask = ask(&receiver, "/")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Sec-Fetch-Mode", "navigate");
    proxy.ask(&ask).problem(403, "cross-site-webhook");
}

#[test]
fn the_applications_own_pages_may() {
    let (_upstream, receiver, proxy) = setting();
    proxy.run(
        &ask(&receiver, "/")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Mode", "cors")
            .header("Cookie", "session=1"),
    );
    proxy.run(
        &ask(&receiver, "/")
            .header("Origin", "http://shop.example")
            .header("Cookie", "a=b"),
    );
    proxy.run(&ask(&receiver, "/open").header("Origin", "https://app.example"));
    // The scheme belongs to the origin.
    let other = ask(&receiver, "/").header("Origin", "https://shop.example");
    proxy.ask(&other).problem(403, "cross-site-webhook");
}

#[test]
fn a_program_needs_no_proof_and_nobody_needs_one_without_a_webhook() {
    let (_upstream, receiver, proxy) = setting();
    proxy.run(&ask(&receiver, "/").header("User-Agent", "curl/8"));
    proxy.run(
        &Ask::post("/?async=true", "")
            .header("Cookie", "a=b")
            .header("Sec-Fetch-Site", "cross-site"),
    );
}
