//! `?async=true`

use crate::harness::{Ask, Server, Setup, encoded};

#[test]
fn the_202_is_exact() {
    let upstream = Server::fixed(200, "done");
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&Ask::post("/run?async=true", "{}"));
    assert_eq!(reply.status, 202);
    let id = reply.header("x-request-id").expect("id");
    assert_eq!(reply.text(), format!("{{\"run_id\":\"{id}\"}}\n"));
    assert_eq!(reply.body.len(), 50);
    assert_eq!(reply.header("content-length"), Some("50"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    let location = reply.header("location").expect("location");
    assert!(
        location.starts_with(&format!("/_raincheck/runs/{id}?token=")),
        "{location}"
    );
    assert_eq!(id.len(), 36);
    assert_eq!(&id[14..15], "7", "a UUIDv7");
    assert_eq!(reply.header("preference-applied"), None);
    assert_eq!(reply.header("raincheck-durability"), None);
}

#[test]
fn the_run_gets_what_a_synchronous_call_would_have_had() {
    let upstream = Server::new(|seen, answer| {
        answer.reply(
            201,
            &[("Content-Type", "text/x"), ("X-Echo", "é")],
            &seen.body,
        )
    });
    let proxy = Setup::new(&upstream).start();
    let sync = proxy.ask(&Ask::post("/run?a=1", "payload"));
    let run = proxy.run(&Ask::post("/run?a=1&async=true", "payload"));
    let record = proxy.finished(&run);
    assert_eq!(record["state"], "succeeded");
    let replayed = proxy.response(&run);
    assert_eq!(replayed.status, sync.status);
    assert_eq!(replayed.body, sync.body);
    assert_eq!(replayed.header("content-type"), sync.header("content-type"));
    assert_eq!(replayed.header("x-echo"), sync.header("x-echo"));
    let seen = upstream.seen();
    assert_eq!(seen[0].target, seen[1].target);
}

#[test]
fn any_method_and_any_case_of_true() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    for method in [
        "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND",
    ] {
        let run = proxy.run(&Ask::new(method, "/?async=true"));
        assert_eq!(proxy.finished(&run)["method"], method);
    }
    for value in ["True", "TRUE", "tRuE", "%74rue"] {
        proxy.run(&Ask::get(format!("/?async={value}")));
    }
}

#[test]
fn other_values_ask_for_nothing() {
    let upstream = Server::fixed(200, "sync");
    let proxy = Setup::new(&upstream).start();
    for query in [
        "async",
        "async=",
        "async=1",
        "async=yes",
        "async=false",
        "Async=true",
        "xasync=true",
        "a=async=true",
    ] {
        let reply = proxy.get(format!("/?{query}"));
        assert_eq!(
            (reply.status, reply.text()),
            (200, "sync".into()),
            "{query}"
        );
    }
}

#[test]
fn repeated_async_must_agree() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    proxy.run(&Ask::get("/?async=true&async=TRUE"));
    for query in [
        "async=true&async=false",
        "async=&async=true",
        "async&x=1&async=true",
    ] {
        proxy
            .get(format!("/?{query}"))
            .problem(400, "repeated-parameter");
    }
    assert_eq!(proxy.get("/?async=false&async=0").status, 200);
}

#[test]
fn parameters_can_be_renamed() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .add("[[route]]\nname='renamed'\npath='/r'\nupstream='app'\n[route.async]\nparameters={async='bg',webhook='hook'}")
        .start();
    assert_eq!(proxy.get("/r?async=true").status, 200);
    let hook = encoded(&receiver.url("/h"));
    let run = proxy.run(&Ask::get(format!("/r?bg=true&hook={hook}&keep=1")));
    proxy.delivered(&run);
    assert_eq!(upstream.seen()[1].target, "/r?keep=1");
    assert_eq!(receiver.only().target, "/h");
}

#[test]
fn the_connection_stays_open_after_a_202() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    for n in 0..3 {
        let reply = proxy.ask_on(
            &mut wire,
            &Ask::post("/?async=true", "x".repeat(n * 100_000)),
        );
        assert_eq!(reply.status, 202);
        assert_eq!(proxy.ask_on(&mut wire, &Ask::get("/")).status, 200);
    }
}

#[test]
fn a_preflight_always_passes_through() {
    let upstream = Server::fixed(204, "");
    let proxy = Setup::new(&upstream).start();
    let ask = Ask::new("OPTIONS", "/?async=true")
        .header("Origin", "https://a.example")
        .header("Access-Control-Request-Method", "POST");
    assert_eq!(proxy.ask(&ask).status, 204);
    assert_eq!(upstream.only().target, "/?async=true");
}

#[test]
fn relaxed_durability_says_so() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("store.durability", "relaxed")
        .start();
    let reply = proxy.get("/?async=true");
    assert_eq!(reply.header("raincheck-durability"), Some("relaxed"));
}

#[test]
fn a_public_url_makes_the_location_absolute() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("server.public_url", "https://api.example.com")
        .start();
    let reply = {
        let mut wire = proxy.wire();
        wire.send(Ask::get("/?async=true").bytes("a"));
        wire.reply()
    };
    let location = reply.header("location").expect("location");
    assert!(
        location.starts_with("https://api.example.com/_raincheck/runs/"),
        "{location}"
    );
}

#[test]
fn without_a_public_prefix_there_is_no_location() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("server.public_prefix", "")
        .start();
    let reply = proxy.get("/?async=true");
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("location"), None);
    assert_eq!(proxy.get("/_raincheck/runs/x").text(), "");
    assert!(
        upstream
            .wait_for(2)
            .iter()
            .any(|s| s.target == "/_raincheck/runs/x")
    );
}
