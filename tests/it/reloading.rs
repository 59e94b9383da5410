//! Another configuration in a running process: what changes, what stays, and what a bad file does.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{
    Ask, Gate, Raincheck, Server, Setup, Wire, command, encoded, eventually, standard_signature,
    tell,
};
use crate::http2;

const OLD_SECRET: &str = "whsec_b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xk";
const NEW_SECRET: &str = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3";

fn holds(proxy: &Raincheck) -> String {
    let metrics = proxy.admin_get("/metrics").text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("raincheck_config_info{") && line.ends_with(" 1"));
    line.expect("config_info").to_owned()
}

#[test]
fn a_hangup_changes_routes_and_drops_no_connection_and_no_request() {
    let rest = Gate::shut();
    let open = rest.clone();
    let before = Server::new(move |seen, answer| {
        if seen.target == "/slow" {
            open.wait();
        }
        answer.ok("before")
    });
    let after = Server::fixed(200, "after");
    let mut proxy = Setup::new(&before).start();
    let mut kept = proxy.wire();
    assert_eq!(proxy.ask_on(&mut kept, &Ask::get("/")).text(), "before");
    let mut slow = proxy.wire();
    slow.send(Ask::get("/slow").bytes("a"));
    before.wait_for(2);
    let first = holds(&proxy);
    proxy.rewrite("upstream.app.peers", vec![after.address().to_string()]);
    proxy.signal(Signal::HUP);
    eventually("the new configuration", || {
        (holds(&proxy) != first).then_some(())
    });
    assert_eq!(proxy.ask_on(&mut kept, &Ask::get("/")).text(), "after");
    rest.open();
    assert_eq!(slow.reply().text(), "before");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    let first = holds(&proxy);
    proxy.rewrite("upstream.app.peers", vec!["nowhere"]);
    let refused = proxy.reload();
    let detail = refused.problem(422, "configuration-refused");
    assert!(detail.contains("upstream.app.peers"), "{detail}");
    let said = tell(command([
        "reload",
        "--address",
        &format!("http://{}", proxy.admin()),
    ]));
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.err.contains("\"nowhere\" is not a peer"), "{said:?}");
    let ok = |proxy: &Raincheck| proxy.metric("raincheck_config_last_reload_successful", &[]);
    assert_eq!((holds(&proxy), ok(&proxy)), (first, 0.0));
    assert_eq!(proxy.get("/").status, 200);
    std::fs::remove_file(proxy.config_file()).expect("remove");
    proxy.signal(Signal::HUP);
    proxy.reload().problem(422, "configuration-refused");
    proxy.rewrite("upstream.app.peers", vec![upstream.address().to_string()]);
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(ok(&proxy), 1.0);
}

#[test]
fn what_cannot_change_is_named_and_stays() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    proxy.rewrite("server.threads", 7);
    proxy.rewrite("store.retention", "1h");
    for _ in 0..2 {
        let named = &proxy.reload().json()["needs_restart"];
        assert_eq!(*named, json!(["server.threads", "store"]));
    }
    let said = tell(command([
        "reload",
        "--address",
        &format!("http://{}", proxy.admin()),
    ]));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("server.threads, store"), "{said:?}");
}

#[test]
fn a_stored_run_keeps_what_it_was_promised_and_waits_for_its_route() {
    let upstream = Server::echo();
    let receiver = Server::fixed(200, "");
    let hook = receiver.url("/hook");
    let away = crate::harness::free_port().to_string();
    let mut proxy = Setup::to(&away)
        .set("route.webhook.endpoint", hook)
        .set("route.async.success_statuses", vec!["200-399"])
        .start();
    let run = proxy.run(&Ask::post("/x?async=true", "kept"));
    let attempted = |record: &serde_json::Value| {
        record["attempts"].as_u64() > Some(0) && record["state"] == "queued"
    };
    proxy.record_when(&run, "its first attempt", attempted);
    // The route is gone for a while, and with it the way to go on.
    proxy.rewrite("route.name", "other");
    assert_eq!(proxy.reload().status, 200);
    proxy.rewrite("upstream.app.peers", vec![upstream.address().to_string()]);
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(proxy.run(&Ask::get("/y?async=true")).id.len(), 36);
    receiver.wait_for(1);
    assert_eq!(proxy.record(&run)["state"], "queued");
    proxy.rewrite("route.name", "app");
    proxy.rewrite("route.webhook.endpoint", receiver.url("/elsewhere"));
    proxy.rewrite("route.async.success_statuses", vec!["500-599"]);
    assert_eq!(proxy.reload().status, 200);
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    let told = receiver.wait_for(2);
    assert!(told.iter().all(|seen| seen.target == "/hook"), "{told:?}");
}

#[test]
fn concurrency_limits_and_secrets_hold_from_then_on() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("done")
    });
    let receiver = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .set("webhook.signing_secrets", vec![OLD_SECRET])
        .start();
    let target = format!(
        "/?async=true&webhookEndpoint={}",
        encoded(&receiver.url("/"))
    );
    let runs: Vec<_> = (0..3).map(|_| proxy.run(&Ask::get(&*target))).collect();
    upstream.wait_for(1);
    proxy.rewrite("route.async.concurrency", 3);
    proxy.rewrite("webhook.signing_secrets", vec![NEW_SECRET]);
    proxy.rewrite("limits.request_body", "10 B");
    assert_eq!(proxy.reload().status, 200);
    upstream.wait_for(3);
    let long = Ask::post("/?async=true", "0123456789+");
    proxy.ask(&long).problem(413, "request-too-large");
    gate.open();
    for run in &runs {
        proxy.delivered(run);
    }
    for seen in receiver.seen() {
        let signed = seen.header("webhook-signature").expect("signature");
        assert_eq!(signed, standard_signature(NEW_SECRET, &seen));
    }
}

#[test]
fn requests_and_runs_go_on_while_the_file_is_read_again_and_again() {
    let upstream = Server::echo();
    let mut proxy = Setup::new(&upstream).start();
    let over = Arc::new(AtomicBool::new(false));
    let (public, stop) = (proxy.public(), Arc::clone(&over));
    let caller = std::thread::spawn(move || {
        let mut wire = Wire::to(public);
        let (mut sync, mut runs) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            for (target, status) in [("/?x=1", 200), ("/?async=true", 202)] {
                wire.send(Ask::post(target, "body").bytes("a"));
                assert_eq!(wire.reply().status, status);
            }
            (sync, runs) = (sync + 1, runs + 1);
        }
        (sync, runs)
    });
    for n in 1..=20 {
        proxy.rewrite("route.async.concurrency", n);
        assert_eq!(proxy.reload().status, 200);
    }
    over.store(true, Ordering::Relaxed);
    let (sync, runs) = caller.join().expect("the caller");
    let seen = upstream.wait_for(sync + runs);
    assert_eq!(seen.len(), sync + runs);
}

#[tokio::test]
async fn a_listener_shows_its_new_certificate_in_the_next_handshake() {
    let upstream = Server::fixed(200, "");
    let http2::Tls { setup, client } = http2::tls(&upstream);
    let proxy = setup.start_unkept();
    let url = format!("https://localhost:{}/", proxy.public().port());
    assert_eq!(
        client.get(&url).send().await.expect("trusted").status(),
        200
    );
    // A certificate that the first client has no reason to trust.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
    let write =
        |name: &str, text: String| std::fs::write(proxy.folder().join(name), text).expect("write");
    write("cert.pem", other.cert.pem());
    proxy.reload().problem(422, "configuration-refused");
    write("key.pem", other.signing_key.serialize_pem());
    assert_eq!(proxy.reload().status, 200);
    let root = reqwest::Certificate::from_der(other.cert.der()).expect("root");
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
    let client = builder.build().expect("client");
    assert_eq!(
        client.get(&url).send().await.expect("trusted").status(),
        200
    );
}

#[test]
fn another_admin_token_ends_the_sessions_of_the_one_before() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream)
        .set("admin.token", "the first token, long enough")
        .start_unkept();
    let ask = |proxy: &Raincheck, token: &str| {
        let mut wire = Wire::to(proxy.admin());
        let ask = Ask::get("/api/v1/stats").header("authorization", format!("Bearer {token}"));
        wire.send(ask.bytes("127.0.0.1"));
        wire.reply().status
    };
    assert_eq!(ask(&proxy, "the first token, long enough"), 200);
    proxy.rewrite("admin.token", "the second token, long enough");
    proxy.signal(Signal::HUP);
    eventually("the new token", || {
        (ask(&proxy, "the second token, long enough") == 200).then_some(())
    });
    assert_eq!(ask(&proxy, "the first token, long enough"), 401);
}
