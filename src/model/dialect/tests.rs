//! Whole requests and whole 202s.

use http::HeaderName;

use super::*;

/// A request's head as text, taken apart.
fn ask(text: &str) -> Result<Option<&'static str>, Code> {
    let mut lines = text.lines();
    let mut first = lines.next().unwrap().split(' ');
    let method: Method = first.next().unwrap().parse().unwrap();
    let target = first.next().unwrap();
    let headers: HeaderMap = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse::<HeaderValue>().unwrap())
        })
        .collect();
    let head = Head {
        method: &method,
        target: target.as_bytes(),
        headers: &headers,
    };
    let parameters = Parameters {
        asynchronous: "async",
        blocking: "_blocking",
        webhook: "webhookEndpoint",
    };
    trigger(&head, &parameters, ALL)
        .map(|dialect| dialect.map(|dialect| dialect.name))
        .map_err(|problem| problem.code)
}

#[test]
fn requests_ask_for_runs_in_these_words() {
    let cerebrium = Ok(Some("cerebrium"));
    let prefer = Ok(Some("prefer"));
    let ubidots = Ok(Some("ubidots"));
    let openfaas = Ok(Some("openfaas"));
    for (request, answer) in [
        ("POST /run?async=true HTTP/1.1\nHost: a", cerebrium),
        ("GET /run?a=b&async=TRUE HTTP/1.1\nHost: a", cerebrium),
        ("PATCH /?async=%74rue HTTP/1.1\nHost: a", cerebrium),
        (
            "POST /run?async=true&async=True HTTP/1.1\nHost: a",
            cerebrium,
        ),
        (
            "POST /run?async=true HTTP/1.1\nPrefer: respond-async",
            cerebrium,
        ),
        ("POST /run HTTP/1.1\nPrefer: respond-async", prefer),
        (
            "POST /run?async=false HTTP/1.1\nPrefer: Respond-Async, wait=5",
            prefer,
        ),
        (
            "POST /run HTTP/1.1\nPrefer: wait=5\nPrefer: respond-async;x",
            prefer,
        ),
        ("GET /run?_blocking=false HTTP/1.1\nHost: a", ubidots),
        ("POST /run?a&_blocking=False HTTP/1.1\nHost: a", ubidots),
        ("PUT /?%5fblocking=f%41LSE HTTP/1.1\nHost: a", ubidots),
        (
            "POST /?_blocking=false&async=1 HTTP/1.1\nPrefer: respond-async",
            ubidots,
        ),
        ("POST /async-function/echo HTTP/1.1\nHost: a", openfaas),
        (
            "GET /async-function/echo/a/b?async=1 HTTP/1.1\nPrefer: respond-async",
            openfaas,
        ),
        ("POST /?_blocking=true HTTP/1.1\nHost: a", Ok(None)),
        ("POST /?_blocking HTTP/1.1\nHost: a", Ok(None)),
        ("POST /?blocking=false HTTP/1.1\nHost: a", Ok(None)),
        ("POST /function/echo HTTP/1.1\nHost: a", Ok(None)),
        ("POST /Async-Function/echo HTTP/1.1\nHost: a", Ok(None)),
        ("POST /async-functions/echo HTTP/1.1\nHost: a", Ok(None)),
        ("POST /x/async-function/echo HTTP/1.1\nHost: a", Ok(None)),
        ("POST /?q=/async-function/echo HTTP/1.1\nHost: a", Ok(None)),
        (
            "POST /?_blocking=false&_blocking=0 HTTP/1.1\nHost: a",
            Err(Code::RepeatedParameter),
        ),
        (
            "POST /?_blocking=false&async=true HTTP/1.1\nHost: a",
            Err(Code::ConflictingTriggers),
        ),
        (
            "POST /async-function/echo?async=true HTTP/1.1\nHost: a",
            Err(Code::ConflictingTriggers),
        ),
        (
            "POST /async-function/echo?_blocking=false HTTP/1.1\nPrefer: respond-async",
            Err(Code::ConflictingTriggers),
        ),
        (
            "POST /async-function/ HTTP/1.1\nHost: a",
            Err(Code::NoRoute),
        ),
        ("POST /run HTTP/1.1\nHost: a", Ok(None)),
        ("POST /async=true HTTP/1.1\nHost: a", Ok(None)),
        ("POST /run?async=1 HTTP/1.1\nHost: a", Ok(None)),
        ("POST /run?async HTTP/1.1\nHost: a", Ok(None)),
        ("POST /run?async= HTTP/1.1\nHost: a", Ok(None)),
        ("POST /run?async=false&async=0 HTTP/1.1\nHost: a", Ok(None)),
        (
            "POST /run?Async=true&b_async=true HTTP/1.1\nHost: a",
            Ok(None),
        ),
        (
            "POST /run?webhookEndpoint=http://a?async=true HTTP/1.1\nHost: a",
            Ok(None),
        ),
        ("POST /run HTTP/1.1\nPrefer: wait=5", Ok(None)),
        (
            "POST /run?async=true&async=false HTTP/1.1\nHost: a",
            Err(Code::RepeatedParameter),
        ),
        (
            "POST /run?async&async=true HTTP/1.1\nHost: a",
            Err(Code::RepeatedParameter),
        ),
    ] {
        assert_eq!(ask(request), answer, "{request}");
    }
}

fn text(reply: &Reply) -> String {
    let mut text = String::from("202\n");
    for (name, value) in &reply.lines {
        text += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    text + "\n" + std::str::from_utf8(&reply.body).unwrap()
}

fn receipt() -> Receipt<'static> {
    Receipt {
        id: "0199f00c-5e2a-7c3b-8d4e-5f60718293a4".parse().unwrap(),
        accepted_at: Timestamp::from_millis(1_761_000_000_123),
        call_id: None,
        location: Some("/_raincheck/runs/0199f00c-5e2a-7c3b-8d4e-5f60718293a4?token=t"),
        replayed: false,
        relaxed: false,
    }
}

#[test]
fn the_202_of_cerebrium_is_exactly_this() {
    let reply = cerebrium::DIALECT.reply(receipt());
    assert_eq!(reply.body.len(), 50);
    assert_eq!(
        text(&reply),
        "202\n\
         Content-Type: application/json\n\
         X-Request-Id: 0199f00c-5e2a-7c3b-8d4e-5f60718293a4\n\
         Location: /_raincheck/runs/0199f00c-5e2a-7c3b-8d4e-5f60718293a4?token=t\n\
         Cache-Control: no-store\n\
         Referrer-Policy: no-referrer\n\
         \n\
         {\"run_id\":\"0199f00c-5e2a-7c3b-8d4e-5f60718293a4\"}\n"
    );
}

#[test]
fn the_202_of_prefer_says_what_was_honoured_and_when_to_look() {
    let reply = prefer::DIALECT.reply(Receipt {
        location: None,
        replayed: true,
        relaxed: true,
        ..receipt()
    });
    assert_eq!(
        text(&reply),
        "202\n\
         Content-Type: application/json\n\
         X-Request-Id: 0199f00c-5e2a-7c3b-8d4e-5f60718293a4\n\
         Preference-Applied: respond-async\n\
         Retry-After: 1\n\
         Cache-Control: no-store\n\
         Referrer-Policy: no-referrer\n\
         Idempotent-Replayed: true\n\
         Raincheck-Durability: relaxed\n\
         \n\
         {\"run_id\":\"0199f00c-5e2a-7c3b-8d4e-5f60718293a4\"}\n"
    );
}

#[test]
fn the_202_of_ubidots_is_exactly_this() {
    assert_eq!(
        text(&ubidots::DIALECT.reply(receipt())),
        "202\n\
         Content-Type: application/json\n\
         X-Request-Id: 0199f00c-5e2a-7c3b-8d4e-5f60718293a4\n\
         Location: /_raincheck/runs/0199f00c-5e2a-7c3b-8d4e-5f60718293a4?token=t\n\
         Cache-Control: no-store\n\
         Referrer-Policy: no-referrer\n\
         \n\
         {\"activationId\":\"0199f00c5e2a7c3b8d4e5f60718293a4\"}"
    );
}

#[test]
fn the_202_of_openfaas_is_empty_and_names_the_call() {
    assert_eq!(
        text(&openfaas::DIALECT.reply(receipt())),
        "202\n\
         X-Request-Id: 0199f00c-5e2a-7c3b-8d4e-5f60718293a4\n\
         Location: /_raincheck/runs/0199f00c-5e2a-7c3b-8d4e-5f60718293a4?token=t\n\
         X-Call-Id: 0199f00c-5e2a-7c3b-8d4e-5f60718293a4\n\
         X-Start-Time: 1761000000123000000\n\
         Cache-Control: no-store\n\
         Referrer-Policy: no-referrer\n\
         \n"
    );
    let mine = openfaas::DIALECT.reply(Receipt {
        call_id: Some("mine"),
        ..receipt()
    });
    assert!(text(&mine).contains("\nX-Call-Id: mine\n"));
}

#[test]
fn a_call_id_is_kept_if_it_is_short_text() {
    let longest = "x".repeat(256);
    for (sent, kept) in [
        ("mine", Some("mine")),
        ("", None),
        ("caf\u{e9}", None),
        (&longest, Some(longest.as_str())),
        (&format!("{longest}x"), None),
    ] {
        let value = HeaderValue::from_bytes(sent.as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-call-id"), value)]);
        assert_eq!(openfaas::call_id(&headers), kept, "{sent}");
    }
    assert_eq!(openfaas::call_id(&HeaderMap::new()), None);
}

#[test]
fn every_dialect_is_found_by_its_name() {
    for dialect in ALL {
        assert_eq!(named(dialect.name).unwrap().name, dialect.name);
    }
    assert!(named("esperanto").is_none());
}
