//! Requests that are no runs.

use crate::harness::{Ask, Gate, Server, Setup, free_port};

#[test]
fn the_answer_is_the_upstreams_byte_for_byte() {
    let upstream = Server::new(|_, answer| {
        answer.reply(
            207,
            &[("X-Odd", "a,  b"), ("Content-Type", "x/y")],
            b"\x00\xffbytes",
        )
    });
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.get("/p");
    assert_eq!(reply.status, 207);
    assert_eq!(reply.header("x-odd"), Some("a,  b"));
    assert_eq!(reply.body, b"\x00\xffbytes");
    assert_eq!(reply.header("raincheck-run-id"), None);
}

#[test]
fn body_and_query_pass_byte_for_byte() {
    let upstream = Server::echo();
    let proxy = Setup::new(&upstream).start();
    let target = "/a%2Fb/%C3%BC?x=%zz&async=false&&=&y=+%20;q&webhook=no&async";
    let body: Vec<u8> = (0..200_000).map(|n| (n % 251) as u8).collect();
    let reply = proxy.ask(&Ask::post(target, &body));
    assert_eq!(reply.status, 200);
    let seen = upstream.only();
    assert_eq!(seen.target, target);
    assert_eq!(seen.body, body);
    assert_eq!(proxy.metric("raincheck_store_runs_accepted", &[]), 0.0);
}

#[test]
fn chunked_bodies_pass_both_ways() {
    let upstream = Server::new(|seen, answer| {
        assert_eq!(seen.text(), "hello world");
        answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    });
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
    let reply = wire.reply();
    assert_eq!((reply.status, reply.text()), (200, "abc".into()));
}

#[test]
fn connections_are_reused_on_both_sides() {
    let upstream = Server::echo();
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    for _ in 0..3 {
        assert_eq!(proxy.ask_on(&mut wire, &Ask::get("/")).status, 200);
    }
    let connections: Vec<_> = upstream.seen().iter().map(|s| s.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[test]
fn the_longest_prefix_by_whole_segments_wins_and_hosts_come_first() {
    let (app, api, deep, hosted) = (
        Server::fixed(200, "app"),
        Server::fixed(200, "api"),
        Server::fixed(200, "deep"),
        Server::fixed(200, "hosted"),
    );
    let proxy = Setup::new(&app)
        .add(&format!(
            "[upstream.api]\npeers=['{}']\n[upstream.deep]\npeers=['{}']\n[upstream.hosted]\npeers=['{}']
             [[route]]\npath='/api'\nupstream='api'\n[[route]]\npath='/api/deep'\nupstream='deep'
             [[route]]\nhost='api.example.com'\npath='/'\nupstream='hosted'",
            api.address(),
            deep.address(),
            hosted.address()
        ))
        .start();
    for (target, expected) in [
        ("/", "app"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api?x", "api"),
        ("/apis", "app"),
        ("/api/deep", "deep"),
        ("/api/deeper", "api"),
        ("/API", "app"),
        ("/ap%69", "app"),
    ] {
        assert_eq!(proxy.get(target).text(), expected, "{target}");
    }
    let hosted = Ask::get("/api/deep").header("Host", "API.example.com:8080");
    assert_eq!(proxy.ask(&hosted).text(), "hosted");
}

#[test]
fn no_route_is_404() {
    let app = Server::fixed(200, "app");
    let proxy = Setup::new(&app).set("route.path", "/only").start();
    proxy.get("/other").problem(404, "no-route");
    assert_eq!(proxy.get("/only").status, 200);
}

#[test]
fn a_route_without_async_never_makes_runs() {
    let app = Server::fixed(200, "app");
    let proxy = Setup::new(&app)
        .add("[[route]]\nname='plain'\npath='/plain'\nupstream='app'")
        .start();
    let target = "/plain?async=true&webhookEndpoint=x";
    assert_eq!(proxy.get(target).text(), "app");
    assert_eq!(app.only().target, target);
}

#[test]
fn raincheck_headers_are_removed_both_ways() {
    let upstream = Server::new(|_, answer| {
        answer.reply(
            200,
            &[
                ("Raincheck-Error", "fake"),
                ("Raincheck-X", "1"),
                ("X-Ok", "1"),
            ],
            "",
        )
    });
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(
        &Ask::get("/")
            .header("Raincheck-Run-Id", "x")
            .header("raincheck-any", "y"),
    );
    assert_eq!(reply.header("x-ok"), Some("1"));
    assert!(
        !reply
            .headers
            .iter()
            .any(|(n, _)| n.to_lowercase().starts_with("raincheck-"))
    );
    let seen = upstream.only();
    assert!(
        !seen
            .headers
            .iter()
            .any(|(n, _)| n.to_lowercase().starts_with("raincheck-"))
    );
}

#[test]
fn forwarded_headers_are_ours_unless_the_sender_is_trusted() {
    let upstream = Server::echo();
    let ask = || {
        Ask::get("/")
            .header("Host", "shop.example")
            .header("X-Forwarded-For", "203.0.113.9")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "evil.example")
    };
    let proxy = Setup::new(&upstream).start();
    proxy.ask(&ask());
    let seen = upstream.only();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.example"));

    let upstream = Server::echo();
    let trusting = Setup::new(&upstream)
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .start();
    trusting.ask(&ask());
    let seen = upstream.only();
    assert_eq!(
        seen.header("x-forwarded-for"),
        Some("203.0.113.9, 127.0.0.1")
    );
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
}

#[test]
fn an_upstream_that_refuses_is_502_and_says_so() {
    let proxy = Setup::to(&free_port().to_string()).start();
    proxy.get("/").problem(502, "bad-gateway");
}

#[test]
fn several_peers_take_turns_and_a_dead_one_is_passed_over() {
    let (one, two) = (Server::fixed(200, "one"), Server::fixed(200, "two"));
    let peers: Vec<_> = [one.address(), two.address()]
        .iter()
        .map(ToString::to_string)
        .collect();
    let proxy = Setup::new(&one).set("upstream.app.peers", peers).start();
    let mut answers: Vec<_> = (0..4).map(|_| proxy.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["one", "one", "two", "two"]);

    let peers = vec![free_port().to_string(), one.address().to_string()];
    let proxy = Setup::new(&one).set("upstream.app.peers", peers).start();
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "one");
    }
}

#[test]
fn a_websocket_upgrade_passes_untouched() {
    let upstream = Server::new(|seen, answer| {
        assert_eq!(seen.header("upgrade"), Some("websocket"));
        answer.raw(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        )?;
        let mut bytes = [0; 5];
        let mut have = 0;
        while have < 5 {
            have += answer.read(&mut bytes[have..])?;
        }
        bytes.reverse();
        answer.raw(bytes)?;
        answer.until_closed()
    });
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send(
        "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(wire.head().0.split(' ').nth(1), Some("101"));
    wire.send([0x81, 0, 1, 2, 0xff]);
    assert_eq!(wire.bytes(5), [0xff, 2, 1, 0, 0x81]);
}

#[test]
fn an_upgrade_that_asks_for_a_run_is_refused() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let upgrade = |target: &str| {
        Ask::get(target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
    };
    proxy
        .ask(&upgrade("/?async=true"))
        .problem(400, "upgrade-not-a-run");
    let prefer = upgrade("/").header("Prefer", "respond-async");
    proxy.ask(&prefer).problem(400, "upgrade-not-a-run");
    let webhook = upgrade("/?webhookEndpoint=http%3A%2F%2Fexample.com");
    proxy.ask(&webhook).problem(400, "upgrade-not-a-run");
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_slow_answer_streams_as_it_comes() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")?;
        wait.wait();
        answer.raw("3\r\ndef\r\n0\r\n\r\n")
    });
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send(Ask::get("/").bytes("a"));
    assert!(wire.head().0.contains("200"));
    assert_eq!(wire.bytes(8), b"3\r\nabc\r\n");
    gate.open();
    assert_eq!(wire.bytes(8), b"3\r\ndef\r\n");
}

#[test]
fn pass_through_is_counted_by_route_and_class() {
    let upstream = Server::fixed(404, "");
    let proxy = Setup::new(&upstream).start();
    proxy.get("/");
    let labels = [("route", "app"), ("code_class", "4xx")];
    crate::harness::eventually("the count", || {
        (proxy.metric("raincheck_requests_total", &labels) == 1.0).then_some(())
    });
}
