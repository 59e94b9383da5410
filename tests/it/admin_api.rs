//! `/api/v1` on the admin listener, over real connections.

use std::sync::atomic::{AtomicU16, Ordering};

use crate::harness::{Ask, Gate, Raincheck, Reply, Server, Setup, Wire, encoded, eventually};

const TOKEN: &str = "open sesame, open sesame";

fn ask(proxy: &Raincheck, ask: Ask) -> Reply {
    let mut wire = Wire::to(proxy.admin());
    wire.send(ask.bytes(&proxy.admin().to_string()));
    wire.reply()
}

fn post(proxy: &Raincheck, target: impl Into<String>) -> Reply {
    ask(proxy, Ask::post(target, ""))
}

#[test]
fn an_operator_finds_a_dead_delivery_sees_why_and_has_it_made_again() {
    let upstream = Server::fixed(200, "the answer");
    static STATUS: AtomicU16 = AtomicU16::new(503);
    let receiver = Server::new(|_, answer| {
        answer.reply(STATUS.load(Ordering::SeqCst), &[], "<b>come back later</b>")
    });
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&receiver.url("/hook?secret=1"));
    let run = proxy.run(&Ask::get(format!("/shop?async=true&webhookEndpoint={url}")));
    proxy.delivered(&run);
    let list = proxy.admin_get("/api/v1/runs?delivery=dead&host=127.0.0.1&since=-5m&success=true");
    assert_eq!(list.json()["runs"][0]["run_id"], run.id);
    assert_eq!(list.json()["next_cursor"], serde_json::Value::Null);
    let target = format!("/api/v1/runs/{}", run.id);
    let shown = proxy.admin_get(&target);
    let log = &shown.json()["delivery"]["attempts_log"];
    assert_eq!(log.as_array().map(Vec::len), Some(3));
    assert_eq!(log[2]["status"], 503);
    assert!(!shown.text().contains("secret"));
    let response = proxy.admin_get(&format!("{target}/response"));
    assert_eq!(response.text(), "the answer");
    assert_eq!(response.header("raincheck-run-state"), Some("succeeded"));

    STATUS.store(204, Ordering::SeqCst);
    let counted = post(&proxy, "/api/v1/deliveries/redeliver?all=true&dry_run=true");
    assert_eq!(counted.json()["matched"], 1);
    let begun = post(&proxy, format!("{target}/redeliver"));
    assert_eq!(
        (begun.status, begun.json()["run_id"].clone()),
        (202, run.id.clone().into())
    );
    let record = proxy.record_when(&run, "the redelivery", |record| {
        record["delivery"]["state"] == "delivered"
    });
    assert_eq!(record["delivery"]["attempts"], 4);
    let ids: Vec<_> = receiver
        .seen()
        .iter()
        .map(|seen| seen.header("webhook-id").map(str::to_owned))
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_cancel_by_filter_ends_queued_and_running_runs_and_closes_their_connections() {
    let closed = Gate::shut();
    let open = closed.clone();
    let upstream = Server::new(move |_, answer| {
        answer.until_closed()?;
        open.open();
        Ok(())
    });
    let proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .start();
    let running = proxy.run(&Ask::get("/1?async=true"));
    upstream.wait_for(1);
    let queued = proxy.run(&Ask::get("/2?async=true"));
    post(&proxy, "/api/v1/runs/cancel").problem(400, "invalid-parameter");
    let done = post(&proxy, "/api/v1/runs/cancel?route=app");
    assert_eq!(
        (done.status, done.json()["changed"].clone()),
        (200, 2.into())
    );
    closed.wait();
    for run in [&running, &queued] {
        assert_eq!(proxy.record(run)["state"], "cancelled");
    }
    let again = post(&proxy, format!("/api/v1/runs/{}/cancel", running.id));
    assert_eq!(again.status, 202);
    let stats = proxy.admin_get("/api/v1/stats").json();
    assert_eq!(stats["runs"]["states"]["cancelled"], 2);
    assert_eq!(
        stats["minutes"][59]["cancelled"]
            .as_u64()
            .unwrap_or_default()
            + stats["minutes"][58]["cancelled"]
                .as_u64()
                .unwrap_or_default(),
        2
    );
}

#[test]
fn an_unfinished_run_is_repeated_with_its_long_body() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let proxy = Setup::new(&upstream).start();
    let body = vec![b'x'; 300_000];
    let run = proxy.run(&Ask::post("/long?async=true", &body));
    upstream.wait_for(1);
    let repeated = post(&proxy, format!("/api/v1/runs/{}/repeat", run.id));
    assert_eq!(repeated.status, 202, "{}", repeated.text());
    let seen = upstream.wait_for(2);
    gate.open();
    assert_eq!(seen[1].run_id(), repeated.json()["run_id"]);
    assert!(
        seen.iter()
            .all(|seen| seen.body == body && seen.target == "/long")
    );
    proxy.finished(&run);
    post(&proxy, format!("/api/v1/runs/{}/repeat", run.id)).problem(409, "request-gone");
}

#[test]
fn the_token_or_a_session_opens_it_and_wrong_ones_do_not() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("admin.token", TOKEN)
        .start_unkept();
    let list = || Ask::get("/api/v1/runs");
    ask(&proxy, list()).problem(401, "unauthorized");
    let with = |value: &str| ask(&proxy, list().header("Authorization", value)).status;
    assert_eq!(with(&format!("Bearer {TOKEN}")), 200);
    assert_eq!(with("Bearer wrong"), 401);
    let page = ask(&proxy, Ask::get("/").header("Accept", "text/html"));
    assert_eq!(
        (page.status, page.header("location")),
        (303, Some("/login"))
    );
    assert!(
        ask(&proxy, Ask::get("/login"))
            .text()
            .contains("type=\"password\"")
    );
    assert_eq!(ask(&proxy, Ask::post("/login", "token=wrong")).status, 401);
    let form = format!("token={}", TOKEN.replace(' ', "+"));
    let entered = ask(&proxy, Ask::post("/login", form));
    assert_eq!(entered.status, 303);
    let cookie = entered
        .header("set-cookie")
        .and_then(|line| line.split(';').next());
    let cookie = cookie.expect("a cookie").to_owned();
    assert_eq!(ask(&proxy, list().header("Cookie", &cookie)).status, 200);
    let act = Ask::post("/api/v1/runs/cancel?all=true", "").header("Cookie", &cookie);
    let foreign = act.clone().header("Origin", "https://evil.example");
    ask(&proxy, foreign).problem(403, "cross-site-request");
    let own = format!("http://{}", proxy.admin());
    assert_eq!(ask(&proxy, act.header("Origin", own)).status, 200);
}

#[test]
fn events_tell_which_runs_leave_a_list_that_was_read_before() {
    let gate = Gate::shut();
    let open = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        open.wait();
        answer.ok(&seen.body)
    });
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    upstream.wait_for(1);
    let listed = proxy.admin_get("/api/v1/runs?state=running").json();
    assert_eq!(listed["runs"][0]["run_id"], run.id);
    let mut events = Wire::to(proxy.admin());
    let ask = Ask::get("/api/v1/events?state=running");
    events.send(ask.bytes(&proxy.admin().to_string()));
    events.head();
    gate.open();
    let mut text = String::new();
    eventually("the event", || {
        text.push(char::from(events.bytes(1)[0]));
        let gone = format!("event: gone\ndata: {{\"run_id\":\"{}\"}}\n\n", run.id);
        text.ends_with(&gone).then_some(())
    });
}

#[test]
fn events_tell_of_runs_as_they_happen_and_hold_up_no_stop() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    let mut events = Wire::to(proxy.admin());
    events.send(Ask::get("/api/v1/events?success=true").bytes(&proxy.admin().to_string()));
    let (status, headers) = events.head();
    assert!(status.contains(" 200 "), "{status}");
    let kind = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    assert_eq!(
        kind.map(|(_, value)| value.as_str()),
        Some("text/event-stream")
    );
    let mut text = String::new();
    let mut until = |end: &str| {
        eventually("an event", || {
            text.push(char::from(events.bytes(1)[0]));
            text.ends_with(end).then(|| text.clone())
        })
    };
    until(": from now on\n\n");
    let run = proxy.run(&Ask::get("/?async=true"));
    let told = until("}\n\n");
    assert!(told.contains("event: run\ndata: {\"run_id\":\""), "{told}");
    assert!(
        told.contains(&run.id) && told.contains("\"state\":\"succeeded\""),
        "{told}"
    );
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
}
