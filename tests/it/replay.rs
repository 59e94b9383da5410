//! `GET /runs/{id}/response`: the response as it came, made safe to be served from the application's origin.

use crate::harness::{Ask, Server, Setup};

const HEADERS: &[(&str, &str)] = &[
    ("Content-Type", "text/html; charset=x"),
    ("Cache-Control", "public, max-age=60"),
    ("ETag", "\"v1\""),
    ("Set-Cookie", "a=b"),
    ("Set-Cookie", "c=d"),
    ("Clear-Site-Data", "\"*\""),
    ("Alt-Svc", "h3=\":443\""),
    ("Strict-Transport-Security", "max-age=1"),
    ("X-Frame-Options", "DENY"),
    ("Location", "../there?x=1"),
    ("Connection", "X-Hop"),
    ("X-Hop", "1"),
    ("Raincheck-Fake", "1"),
];

#[test]
fn the_replay_has_protective_headers_and_withholds_dangerous_ones() {
    let upstream = Server::new(|_, answer| answer.reply(201, HEADERS, "<html>"));
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/a/b/c?async=true", "").header("Host", "shop.example"));
    proxy.finished(&run);
    for _ in 0..2 {
        let reply = proxy.ask(&Ask::get(run.response()).header("Host", "shop.example"));
        assert_eq!((reply.status, reply.text()), (201, "<html>".into()));
        assert_eq!(reply.header("content-type"), Some("text/html; charset=x"));
        assert_eq!(reply.header("cache-control"), Some("private, no-store"));
        assert_eq!(reply.header("content-security-policy"), Some("sandbox"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("etag"), Some("\"v1\""));
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert_eq!(
            reply.header("location"),
            Some("http://shop.example/a/there?x=1")
        );
        assert_eq!(reply.header("raincheck-run-state"), Some("succeeded"));
        for gone in [
            "set-cookie",
            "clear-site-data",
            "alt-svc",
            "strict-transport-security",
            "x-hop",
            "raincheck-fake",
        ] {
            assert_eq!(reply.header(gone), None, "{gone}");
        }
    }
    let full = proxy.ask(&Ask::get(run.response()).header("Raincheck-Replay", "full"));
    let cookies: Vec<_> = full
        .headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie"))
        .collect();
    assert_eq!(cookies.len(), 2);
    assert_eq!(full.header("alt-svc"), Some("h3=\":443\""));
    assert_eq!(full.header("content-security-policy"), Some("sandbox"));
}

#[test]
fn framing_comes_from_the_stored_body() {
    let upstream = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    });
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    let reply = proxy.response(&run);
    assert_eq!(reply.text(), "abcdef");
    assert_eq!(reply.header("content-length"), Some("6"));
    assert_eq!(reply.header("transfer-encoding"), None);
}

#[test]
fn the_response_to_a_head_run_has_no_body() {
    let upstream = Server::new(|_, answer| answer.reply(200, &[("X-A", "1")], "12345"));
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::new("HEAD", "/?async=true"));
    assert_eq!(proxy.finished(&run)["response"]["bytes"], 0);
    let mut wire = proxy.wire();
    let reply = proxy.ask_on(&mut wire, &Ask::get(run.response()));
    assert_eq!((reply.status, reply.text()), (200, String::new()));
    assert_eq!(reply.header("x-a"), Some("1"));
    assert_eq!(proxy.ask_on(&mut wire, &Ask::get("/")).status, 200);
}

#[test]
fn a_204_is_a_204() {
    let upstream = Server::new(|_, answer| answer.reply(204, &[], ""));
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    let mut wire = proxy.wire();
    assert_eq!(
        proxy.ask_on(&mut wire, &Ask::get(run.response())).status,
        204
    );
    assert_eq!(
        proxy.ask_on(&mut wire, &Ask::get(run.response())).status,
        204
    );
}

#[test]
fn ranges_of_a_stored_200() {
    for size in [1000_usize, 300_000] {
        let body: Vec<u8> = (0..size).map(|n| (n % 241) as u8).collect();
        let sent = body.clone();
        let upstream = Server::new(move |_, answer| answer.ok(&sent));
        let proxy = Setup::new(&upstream).start();
        let run = proxy.run(&Ask::get("/?async=true"));
        proxy.finished(&run);
        let range = |range: &str| proxy.ask(&Ask::get(run.response()).header("Range", range));
        assert_eq!(proxy.response(&run).header("accept-ranges"), Some("bytes"));
        let reply = range("bytes=10-19");
        assert_eq!((reply.status, &reply.body[..]), (206, &body[10..20]));
        assert_eq!(
            reply.header("content-range"),
            Some(format!("bytes 10-19/{size}").as_str())
        );
        assert_eq!(range("bytes=-5").body, &body[size - 5..]);
        assert_eq!(
            range(&format!("bytes={}-", size - 3)).body,
            &body[size - 3..]
        );
        assert_eq!(range(&format!("bytes=0-{}", size * 2)).body, body);
        let reply = range(&format!("bytes={size}-"));
        assert_eq!(reply.status, 416);
        assert_eq!(
            reply.header("content-range"),
            Some(format!("bytes */{size}").as_str())
        );
        for ignored in ["bytes=x", "lines=1-2", "bytes=5-2"] {
            assert_eq!(range(ignored).status, 200, "{ignored}");
        }
    }
}
