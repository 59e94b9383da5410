//! The record of a run, and who may see it.

use serde_json::Value;

use crate::harness::{Ask, Gate, Raincheck, RunHandle, Server, Setup};

fn setting() -> (Server, Raincheck) {
    let upstream = Server::fixed(200, "hello");
    let proxy = Setup::new(&upstream).start();
    (upstream, proxy)
}

#[test]
fn the_record_has_exactly_these_keys_in_this_order() {
    let (_upstream, proxy) = setting();
    let run = proxy.run(&Ask::post("/run/it?async=true&q=hush", "x"));
    let record = proxy.finished(&run);
    let text = proxy.get(&run.location).text();
    let keys = [
        "run_id",
        "state",
        "success",
        "reason",
        "async",
        "dialect",
        "route",
        "name",
        "method",
        "path",
        "accepted_at",
        "started_at",
        "finished_at",
        "queued_ms",
        "duration_ms",
        "attempts",
        "grace_period_s",
        "response",
        "delivery",
    ];
    let found: std::collections::BTreeSet<_> = record
        .as_object()
        .expect("object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(found, keys.into_iter().collect());
    let places: Vec<_> = keys
        .iter()
        .map(|key| text.find(&format!("\"{key}\":")).expect("key"))
        .collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(record["run_id"], run.id.as_str());
    assert_eq!(record["state"], "succeeded");
    assert_eq!(record["async"], true);
    assert_eq!(record["dialect"], "cerebrium");
    assert_eq!(record["route"], "app");
    assert_eq!(record["name"], "/run/it");
    assert_eq!(record["path"], "/run/it");
    assert_eq!(record["method"], "POST");
    assert_eq!(record["grace_period_s"], 900);
    assert_eq!(record["attempts"], 1);
    assert_eq!(
        record["response"],
        serde_json::json!({"status": 200, "content_type": "text/plain", "bytes": 5})
    );
    assert_eq!(record["delivery"], Value::Null);
    assert!(!text.contains("hush"));
    for key in ["accepted_at", "started_at", "finished_at"] {
        let time = record[key].as_str().expect("time");
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
}

#[test]
fn while_unfinished_it_is_202_with_retry_after() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    upstream.wait_for(1);
    for target in [run.location.clone(), run.response()] {
        let reply = proxy.get(target);
        assert_eq!(reply.status, 202);
        assert!(reply.header("retry-after").is_some());
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("raincheck-run-state"), Some("running"));
        assert_eq!(reply.json()["state"], "running");
        assert_eq!(reply.json()["success"], Value::Null);
    }
    gate.open();
    proxy.finished(&run);
    let reply = proxy.get(&run.location);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("raincheck-run-state"), Some("succeeded"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[test]
fn head_works_where_get_does() {
    let (_upstream, proxy) = setting();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    for target in [run.location.clone(), run.response()] {
        let get = proxy.get(&target);
        let mut wire = proxy.wire();
        let head = proxy.ask_on(&mut wire, &Ask::new("HEAD", &target));
        assert_eq!(head.status, get.status);
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), get.header("content-length"));
        // Nothing of a body came: the connection is in order.
        assert_eq!(
            proxy.ask_on(&mut wire, &Ask::get(&target)).status,
            get.status
        );
    }
}

#[test]
fn both_spellings_of_the_id() {
    let (_upstream, proxy) = setting();
    let run = proxy.run(&Ask::get("/?async=true"));
    let short = run.id.replace('-', "");
    let reply = proxy.get(format!("/_raincheck/runs/{short}"));
    assert!(matches!(reply.status, 200 | 202));
    assert_eq!(reply.json()["run_id"], run.id.as_str());
}

#[test]
fn unknown_and_malformed_ids_are_404() {
    let (_upstream, proxy) = setting();
    for id in [
        "0199f00c-5e2a-7c3b-8d4e-5f60718293a4",
        "0199f00c5e2a7c3b8d4e5f60718293a4",
        "x",
        "%00",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ] {
        proxy
            .get(format!("/_raincheck/runs/{id}"))
            .problem(404, "unknown-run");
        proxy
            .get(format!("/_raincheck/runs/{id}/response"))
            .problem(404, "unknown-run");
        let delete = Ask::new("DELETE", format!("/_raincheck/runs/{id}"));
        proxy.ask(&delete).problem(404, "unknown-run");
    }
}

#[test]
fn an_id_that_differs_in_its_random_bits_only_is_unknown() {
    let (_upstream, proxy) = setting();
    let run = proxy.run(&Ask::get("/?async=true"));
    let last = if run.id.ends_with('0') { "1" } else { "0" };
    let other = format!("/_raincheck/runs/{}{last}", &run.id[..35]);
    proxy.get(other).problem(404, "unknown-run");
}

fn status(proxy: &Raincheck, ask: Ask) -> u16 {
    let reply = proxy.ask(&ask);
    if reply.status == 404 {
        reply.problem(404, "unknown-run");
    }
    reply.status
}

#[test]
fn an_owned_run_is_shown_to_its_owner_and_to_the_token() {
    let (_upstream, proxy) = setting();
    let run = proxy.run(&Ask::get("/?async=true").header("Authorization", "Bearer ann"));
    proxy.finished(&run);
    assert_eq!(status(&proxy, Ask::get(run.bare())), 404);
    assert_eq!(
        status(
            &proxy,
            Ask::get(run.bare()).header("Authorization", "Bearer bob")
        ),
        404
    );
    assert_eq!(
        status(
            &proxy,
            Ask::get(run.bare()).header("X-Api-Key", "Bearer ann")
        ),
        404
    );
    assert_eq!(
        status(
            &proxy,
            Ask::get(run.bare()).header("Authorization", "Bearer ann")
        ),
        200
    );
    assert_eq!(status(&proxy, Ask::get(&run.location)), 200);
    assert_eq!(
        status(
            &proxy,
            Ask::get(run.bare()).header("Raincheck-Run-Token", run.token())
        ),
        200
    );
    let wrong = format!("{}?token={}x", run.bare(), run.token());
    assert_eq!(status(&proxy, Ask::get(wrong)), 404);
    let other = proxy.run(&Ask::get("/?async=true").header("Authorization", "Bearer ann"));
    assert_eq!(
        status(
            &proxy,
            Ask::get(format!("{}?token={}", run.bare(), other.token()))
        ),
        404
    );
}

#[test]
fn a_run_made_with_a_cookie_is_shown_to_the_token_only() {
    let (_upstream, proxy) = setting();
    let run = proxy.run(&Ask::get("/?async=true").header("Cookie", "session=1"));
    proxy.finished(&run);
    assert_eq!(status(&proxy, Ask::get(run.bare())), 404);
    assert_eq!(
        status(&proxy, Ask::get(run.bare()).header("Cookie", "session=1")),
        404
    );
    assert_eq!(status(&proxy, Ask::get(&run.location)), 200);
}

#[test]
fn a_run_made_with_nothing_is_shown_to_who_knows_its_id() {
    let (_upstream, proxy) = setting();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    assert_eq!(status(&proxy, Ask::get(run.bare())), 200);
}

#[test]
fn an_expired_run_is_410() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).set("store.retention", "1s").start();
    let mut wire = proxy.wire();
    wire.send(Ask::get("/?async=true").bytes("a"));
    let run = RunHandle::of(&wire.reply());
    drop(wire);
    // What has outlived its retention is removed at every start, and once a minute.
    let reply = loop {
        proxy.kill();
        proxy.start();
        let reply = crate::harness::eventually("an end", || {
            let reply = proxy.get(&run.location);
            (reply.status != 202).then_some(reply)
        });
        if reply.status != 200 {
            break reply;
        }
    };
    reply.problem(410, "run-expired");
}

#[test]
fn there_is_no_list_and_no_other_method() {
    let (_upstream, proxy) = setting();
    for target in [
        "/_raincheck/runs",
        "/_raincheck/runs/",
        "/_raincheck/",
        "/_raincheck/metrics",
        "/_raincheck/api/v1/runs",
    ] {
        assert_eq!(proxy.get(target).status, 404, "{target}");
    }
    let run = proxy.run(&Ask::get("/?async=true"));
    assert_eq!(proxy.ask(&Ask::post(&run.location, "")).status, 405);
    for code in ["no-route", "timeout", "store-unavailable"] {
        let page = proxy.get(format!("/_raincheck/problems/{code}"));
        assert_eq!(page.status, 200);
        assert!(page.text().contains(code));
    }
    assert_eq!(proxy.get("/_raincheck/problems/nonsense").status, 404);
}
