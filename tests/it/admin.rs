//! The admin listener.

use std::collections::BTreeSet;

use crate::harness::{Ask, Server, Setup, Wire, encoded, lines, try_get};

#[test]
fn the_metrics_have_these_names_and_labels() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&receiver.url("/"));
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    proxy.delivered(&run);
    proxy.get("/plain");
    proxy.get("/?async=true&webhookEndpoint=no");
    let reply = proxy.admin_get("/metrics");
    assert!(
        reply
            .header("content-type")
            .expect("type")
            .starts_with("text/plain")
    );
    let page = reply.text();
    let mut found: BTreeSet<String> = BTreeSet::new();
    for line in lines(&page) {
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| line.name.strip_suffix(end))
            .unwrap_or(line.name);
        let mut labels: Vec<_> = line
            .labels
            .iter()
            .map(|(n, _)| *n)
            .filter(|n| *n != "le")
            .collect();
        labels.sort_unstable();
        found.insert(format!("{name}{{{}}}", labels.join(",")));
    }
    for expected in [
        "raincheck_runs_accepted_total{dialect,route}",
        "raincheck_runs_rejected_total{code,route}",
        "raincheck_runs_finished_total{reason,route,state}",
        "raincheck_runs_running{route}",
        "raincheck_run_queue_seconds{route}",
        "raincheck_run_duration_seconds{route}",
        "raincheck_run_attempts_total{outcome,route}",
        "raincheck_requests_total{code_class,route}",
        "raincheck_request_duration_seconds{route}",
        "raincheck_delivery_attempts_total{outcome}",
        "raincheck_delivery_lag_seconds{}",
        "raincheck_store_commit_seconds{}",
        "raincheck_store_batch_size{}",
        "raincheck_store_queue{}",
        "raincheck_store_bytes{kind}",
        "raincheck_store_writable{}",
        "raincheck_build_info{version}",
        "raincheck_store_runs_accepted{}",
        "raincheck_store_runs{state}",
        "raincheck_store_deliveries{state}",
        "process_resident_memory_bytes{}",
    ] {
        assert!(found.contains(expected), "{expected} is not in {found:#?}");
    }
    let one = |name, labels: &[(&str, &str)]| {
        assert_eq!(proxy.metric(name, labels), 1.0, "{name}\n{page}")
    };
    one(
        "raincheck_runs_accepted_total",
        &[("route", "app"), ("dialect", "cerebrium")],
    );
    one(
        "raincheck_runs_rejected_total",
        &[("code", "invalid-webhook-endpoint")],
    );
    one("raincheck_runs_finished_total", &[("state", "succeeded")]);
    one("raincheck_run_duration_seconds_count", &[]);
    one("raincheck_run_queue_seconds_count", &[]);
    one("raincheck_delivery_lag_seconds_count", &[]);
    one("raincheck_store_runs_accepted", &[]);
    one("raincheck_store_runs", &[("state", "succeeded")]);
    one("raincheck_store_deliveries", &[("state", "delivered")]);
    one("raincheck_store_writable", &[]);
}

#[test]
fn live_and_ready() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    assert_eq!(proxy.admin_get("/livez").status, 200);
    let ready = proxy.admin_get("/readyz");
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        serde_json::json!({"ready": true, "store_writable": true})
    );
    assert_eq!(proxy.admin_get("/nothing").status, 404);
}

#[test]
fn a_token_guards_everything_but_liveness_and_readiness() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("admin.token", "open sesame, open sesame")
        .start_unkept();
    assert_eq!(proxy.admin_get("/livez").status, 200);
    assert_eq!(proxy.admin_get("/readyz").status, 200);
    assert_eq!(proxy.admin_get("/metrics").status, 401);
    let with = |value: &str| {
        let mut wire = Wire::to(proxy.admin());
        let ask = Ask::get("/metrics").header("Authorization", value);
        wire.send(ask.bytes(&proxy.admin().to_string()));
        wire.reply().status
    };
    assert_eq!(with("Bearer open sesame, open sesame"), 200);
    assert_eq!(with("Bearer open sesame"), 401);
    assert_eq!(with("Basic open sesame, open sesame"), 401);
}

#[test]
fn an_unknown_host_is_421() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("admin.hosts", vec!["ops.example"])
        .start();
    let with = |host: &str| {
        let mut wire = Wire::to(proxy.admin());
        wire.send(Ask::get("/metrics").header("Host", host).bytes(""));
        wire.reply().status
    };
    for host in [
        "127.0.0.1",
        "localhost:9180",
        "[::1]:1",
        "ops.example",
        "OPS.example:80",
    ] {
        assert_eq!(with(host), 200, "{host}");
    }
    for host in ["evil.example", "ops.example.evil", "127.0.0.1.evil.example"] {
        assert_eq!(with(host), 421, "{host}");
    }
}

#[test]
fn the_public_listener_shows_no_metrics() {
    let upstream = Server::fixed(404, "theirs");
    let proxy = Setup::new(&upstream).start();
    assert_eq!(
        try_get(proxy.public(), "/metrics")
            .expect("an answer")
            .text(),
        "theirs"
    );
}
