//! The request that the application gets in the background.

use crate::harness::{Ask, Seen, Server, Setup, encoded};

fn sent(ask: &Ask) -> Seen {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(ask);
    proxy.finished(&run);
    upstream.only()
}

#[test]
fn control_parameters_are_cut_out_and_every_other_byte_stays() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let cases = [
        ("/?async=true", "/"),
        ("/p?async=true&a=1", "/p?a=1"),
        ("/p?a=1&async=true", "/p?a=1"),
        ("/p?a=1&async=true&b=2", "/p?a=1&b=2"),
        ("/p?a=%20+b&async=TRUE&&c&=d;e=f", "/p?a=%20+b&&c&=d;e=f"),
        ("/p?async=true&asyncs=1&xasync=2", "/p?asyncs=1&xasync=2"),
        ("/p?%61sync=true&z=%zz", "/p?z=%zz"),
        ("/%61/b%2Fc?x&async=true", "/%61/b%2Fc?x"),
        ("/p?async=true&async=true&q=?/@", "/p?q=?/@"),
    ];
    for (n, (target, expected)) in cases.into_iter().enumerate() {
        let run = proxy.run(&Ask::get(target));
        proxy.finished(&run);
        assert_eq!(upstream.wait_for(n + 1)[n].target, expected, "{target}");
    }
}

#[test]
fn control_parameters_can_be_left_in() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("route.async.forward_control_params", true)
        .start();
    let run = proxy.run(&Ask::get("/p?a&async=true&b"));
    proxy.finished(&run);
    assert_eq!(upstream.only().target, "/p?a&async=true&b");
}

#[test]
fn the_callers_headers_arrive_and_ours_are_added() {
    let seen = sent(
        &Ask::post("/?async=true", "x")
            .header("Host", "shop.example")
            .header("X-Custom", "a,  b")
            .header("Authorization", "Bearer t")
            .header("Cookie", "a=b; c=d")
            .header("Accept-Encoding", "gzip")
            .header(
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            )
            .header("X-Webhook-Secret", "hush")
            .header("Raincheck-Fake", "1")
            .header("Connection", "keep-alive, X-Hop")
            .header("X-Hop", "1")
            .header("Keep-Alive", "timeout=5")
            .header("TE", "gzip")
            .header("Proxy-Authorization", "x"),
    );
    assert_eq!(seen.header("host"), Some("shop.example"));
    assert_eq!(seen.header("x-custom"), Some("a,  b"));
    assert_eq!(seen.header("authorization"), Some("Bearer t"));
    assert_eq!(seen.header("cookie"), Some("a=b; c=d"));
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    assert!(
        seen.header("traceparent")
            .expect("traceparent")
            .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    );
    for gone in [
        "x-webhook-secret",
        "raincheck-fake",
        "x-hop",
        "keep-alive",
        "te",
        "transfer-encoding",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("raincheck-attempt"), Some("1"));
    assert_eq!(seen.header("x-request-id"), Some(seen.run_id()));
    assert!(seen.header("cdn-loop").is_some());
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.example"));
}

#[test]
fn the_callers_own_request_id_stays() {
    let seen = sent(&Ask::post("/?async=true", "x").header("X-Request-Id", "mine"));
    assert_eq!(seen.header("x-request-id"), Some("mine"));
    assert_ne!(seen.run_id(), "mine");
}

#[test]
fn get_runs_go_without_range_and_conditions_and_posts_keep_them() {
    let conditions = |ask: Ask| {
        ask.header("Range", "bytes=0-1")
            .header("If-None-Match", "\"x\"")
            .header("If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT")
            .header("If-Range", "\"x\"")
    };
    let seen = sent(&conditions(Ask::get("/?async=true")));
    for gone in ["range", "if-none-match", "if-modified-since", "if-range"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    let seen = sent(&conditions(Ask::post("/?async=true", "")));
    assert_eq!(seen.header("if-none-match"), Some("\"x\""));
}

#[test]
fn a_run_with_a_webhook_goes_without_accept_encoding_but_a_synchronous_call_keeps_it() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&receiver.url("/"));
    let run = proxy.run(
        &Ask::get(format!("/?async=true&webhookEndpoint={url}")).header("Accept-Encoding", "gzip"),
    );
    proxy.delivered(&run);
    assert_eq!(upstream.wait_for(1)[0].header("accept-encoding"), None);
    proxy.ask(
        &Ask::get(format!("/?webhookEndpoint={url}"))
            .header("Accept-Encoding", "gzip")
            .header("Range", "bytes=0-1"),
    );
    let seen = &upstream.wait_for(2)[1];
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    assert_eq!(seen.header("range"), Some("bytes=0-1"));
}
