//! `Prefer: respond-async` (RFC 7240)

use crate::harness::{Ask, Server, Setup};

fn prefer(value: &str) -> Ask {
    Ask::post("/p", "x").header("Prefer", value)
}

#[test]
fn the_202_is_exact() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&prefer("respond-async"));
    assert_eq!(reply.status, 202);
    let id = reply.header("x-request-id").expect("id");
    assert_eq!(reply.text(), format!("{{\"run_id\":\"{id}\"}}\n"));
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(
        reply
            .header("location")
            .expect("location")
            .starts_with("/_raincheck/runs/")
    );
}

#[test]
fn spellings_of_the_preference() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    for value in [
        "Respond-Async",
        "handling=lenient, respond-async",
        "respond-async;x=y",
        "return=minimal; foo=\"a,b\",respond-async",
        " respond-async ,",
    ] {
        assert_eq!(proxy.ask(&prefer(value)).status, 202, "{value}");
    }
    let lines = prefer("return=minimal").header("prefer", "respond-async");
    assert_eq!(proxy.ask(&lines).status, 202);
    for value in [
        "respond-asynchronously",
        "x=respond-async",
        "foo=\"respond-async\"",
        "handling=strict",
    ] {
        assert_eq!(proxy.ask(&prefer(value)).status, 200, "{value}");
    }
}

#[test]
fn only_honoured_preferences_are_taken_out() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&prefer("return=minimal, respond-async"));
    proxy.finished(&run);
    let seen = upstream.only();
    assert_eq!(seen.header("prefer"), Some("return=minimal"));

    let run = proxy.run(&prefer("respond-async"));
    proxy.finished(&run);
    assert_eq!(upstream.wait_for(2)[1].header("prefer"), None);
}

#[test]
fn a_query_dialect_wins_without_an_error() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&Ask::post("/?async=true", "").header("Prefer", "respond-async"));
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("preference-applied"), None);
    let run = crate::harness::RunHandle::of(&reply);
    assert_eq!(proxy.finished(&run)["dialect"], "cerebrium");
    assert_eq!(upstream.only().header("prefer"), Some("respond-async"));
}

#[test]
fn a_route_speaks_only_the_dialects_it_lists() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("route.async.dialects", vec!["cerebrium"])
        .start();
    assert_eq!(proxy.ask(&prefer("respond-async")).status, 200);
    assert_eq!(upstream.only().header("prefer"), Some("respond-async"));
    let proxy = Setup::new(&upstream)
        .set("route.async.dialects", vec!["prefer"])
        .start();
    assert_eq!(proxy.get("/?async=true").status, 200);
}
