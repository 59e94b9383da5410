//! Spans for a collector: the caller's trace, the run, its attempts, its deliveries.

use serde_json::Value;

use crate::harness::{Ask, Server, Setup, encoded, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traced(setup: Setup, collector: &Server) -> Setup {
    setup
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url(""))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
}

/// The spans that the collector has, once there are `n`.
fn spans(collector: &Server, n: usize) -> Vec<Value> {
    eventually("the spans", || {
        let sent = collector.seen();
        let all: Vec<Value> = sent
            .iter()
            .filter(|seen| seen.target == "/v1/traces")
            .map(|seen| serde_json::from_slice::<Value>(&seen.body).expect("JSON"))
            .flat_map(|sent| {
                let spans = &sent["resourceSpans"][0]["scopeSpans"][0]["spans"];
                spans.as_array().expect("spans").clone()
            })
            .collect();
        (all.len() >= n).then_some(all)
    })
}

fn named<'a>(spans: &'a [Value], name: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

#[test]
fn a_run_its_attempts_and_its_deliveries_are_one_trace_with_the_callers() {
    let collector = Server::fixed(200, "{}");
    let upstream = Server::new(|seen, answer| match seen.nth {
        0 => answer.reply(503, &[], ""),
        _ => answer.ok("done"),
    });
    let receiver = Server::fixed(204, "");
    let setup = Setup::new(&upstream)
        .set("route.async.attempts", 2)
        .set("route.async.repeat", "always");
    let proxy = traced(setup, &collector).start();
    let target = format!(
        "/?async=true&webhookEndpoint={}",
        encoded(&receiver.url("/"))
    );
    let run =
        proxy.run(&Ask::post(target, "").header("traceparent", format!("00-{TRACE}-{CALLER}-01")));
    proxy.delivered(&run);
    let spans = spans(&collector, 4);
    assert!(
        spans.iter().all(|span| span["traceId"] == TRACE),
        "{spans:#?}"
    );
    let [whole] = named(&spans, "run")[..] else {
        panic!("one run: {spans:#?}")
    };
    assert_eq!(whole["parentSpanId"], CALLER);
    let (attempts, deliveries) = (named(&spans, "attempt"), named(&spans, "delivery"));
    assert_eq!((attempts.len(), deliveries.len()), (2, 1));
    for part in attempts.iter().chain(&deliveries) {
        assert_eq!(part["parentSpanId"], whole["spanId"]);
    }
    // What the application and the receiver do are children of these.
    for (sent, span) in [
        (&upstream.seen()[0], attempts[0]),
        (&upstream.seen()[1], attempts[1]),
        (&receiver.seen()[0], deliveries[0]),
    ] {
        let parent = sent.header("traceparent").expect("traceparent");
        let span = span["spanId"].as_str().expect("an id");
        assert_eq!(parent, format!("00-{TRACE}-{span}-01"));
    }
    assert_eq!(attempts[0]["status"]["message"], "upstream_status");
    assert_eq!(attempts[0]["status"]["code"], 2);
    assert_ne!(whole["status"]["code"], 2);
}

#[test]
fn without_a_collector_traceparent_is_carried_as_it_came() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let parent = format!("00-{TRACE}-{CALLER}-00");
    proxy.run(&Ask::get("/?async=true").header("traceparent", &parent));
    assert_eq!(upstream.only().header("traceparent"), Some(&*parent));
}

#[test]
fn a_run_whose_caller_sends_no_trace_begins_one_and_a_dead_collector_holds_nothing_up() {
    let gone = crate::harness::free_port();
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{gone}"))
        .start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    let seen = upstream.only();
    let parent = seen.header("traceparent").expect("traceparent");
    assert!(parent.contains(&run.id.replace('-', "")), "{parent}");
    proxy.terminate();
    assert!(proxy.wait().success());
}

#[test]
fn what_its_caller_does_not_record_is_not_sent() {
    let collector = Server::fixed(200, "{}");
    let upstream = Server::fixed(200, "");
    let proxy = traced(Setup::new(&upstream), &collector).start();
    let ask = |flags: &str, trace: &str| {
        let parent = format!("00-{trace}-{CALLER}-{flags}");
        proxy.finished(&proxy.run(&Ask::get("/?async=true").header("traceparent", parent)));
    };
    ask("00", "11111111111111111111111111111111");
    ask("01", TRACE);
    let spans = spans(&collector, 2);
    assert!(
        spans.iter().all(|span| span["traceId"] == TRACE),
        "{spans:#?}"
    );
}
