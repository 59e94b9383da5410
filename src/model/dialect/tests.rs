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
fn every_dialect_is_found_by_its_name() {
    for dialect in ALL {
        assert_eq!(named(dialect.name).unwrap().name, dialect.name);
    }
    assert!(named("esperanto").is_none());
}
