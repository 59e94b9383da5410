//! Webhooks: what arrives, how it is signed, and what happens when it does not.

use crate::harness::{
    Ask, Gate, Raincheck, RunHandle, Seen, Server, Setup, cerebrium_signature, encoded, eventually,
    free_port, standard_signature,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn with_webhook(receiver: &Server) -> Ask {
    let url = encoded(&receiver.url("/hook?a=1"));
    Ask::post(format!("/p?async=true&webhookEndpoint={url}"), "x")
}

fn delivered(setup: Setup, receiver: &Server, ask: &Ask) -> (Raincheck, RunHandle, Vec<Seen>) {
    let proxy = setup.start();
    let run = proxy.run(ask);
    proxy.delivered(&run);
    (proxy, run, receiver.seen())
}

#[test]
fn the_delivery_is_the_response_body_with_these_headers_and_no_more() {
    let upstream = Server::new(|_, answer| {
        let headers = [
            ("Content-Type", "application/x-any"),
            ("X-App", "1"),
            ("Set-Cookie", "a=b"),
        ];
        answer.reply(201, &headers, b"\x00\xff{}")
    });
    let receiver = Server::fixed(204, "");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = with_webhook(&receiver)
        .header("traceparent", trace)
        .header("Authorization", "Bearer t");
    let setup = Setup::new(&upstream).set("webhook.signing_secrets", vec![SECRET, OLD_SECRET]);
    let (proxy, run, seen) = delivered(setup, &receiver, &ask);
    let seen = &seen[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/hook?a=1")
    );
    assert_eq!(seen.body, b"\x00\xff{}");
    assert_eq!(seen.header("content-type"), Some("application/x-any"));
    assert_eq!(seen.run_id(), run.id);
    assert_eq!(seen.header("x-request-id"), Some(run.id.as_str()));
    assert_eq!(seen.header("raincheck-run-state"), Some("succeeded"));
    assert_eq!(seen.header("raincheck-run-reason"), None);
    assert_eq!(seen.header("raincheck-upstream-status"), Some("201"));
    assert_eq!(seen.header("raincheck-delivery-attempt"), Some("1"));
    assert_eq!(
        seen.header("traceparent").map(|t| &t[..35]),
        Some(&trace[..35])
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        seen.header("user-agent"),
        Some(format!("raincheck/{version}").as_str())
    );
    assert!(seen.header("cdn-loop").is_some());
    let expected = format!(
        "{} {}",
        standard_signature(SECRET, seen),
        standard_signature(OLD_SECRET, seen)
    );
    assert_eq!(seen.header("webhook-signature"), Some(expected.as_str()));
    let mut names: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    names.sort();
    let known = [
        "accept",
        "cdn-loop",
        "content-length",
        "content-type",
        "host",
        "raincheck-delivery-attempt",
        "raincheck-run-id",
        "raincheck-run-state",
        "raincheck-upstream-status",
        "traceparent",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-request-id",
    ];
    for name in &names {
        assert!(known.contains(&name.as_str()), "{name} in {names:?}");
    }
    let record = proxy.record(&run);
    assert_eq!(record["delivery"]["state"], "delivered");
    assert_eq!(record["delivery"]["host"], "127.0.0.1");
    assert_eq!(record["delivery"]["attempts"], 1);
    assert_eq!(record["delivery"]["last_status"], 204);
}

#[test]
fn the_callers_secret_signs_in_cerebriums_way_and_goes_nowhere_else() {
    let upstream = Server::fixed(200, "{\"a\":1}");
    let receiver = Server::fixed(200, "");
    let ask = with_webhook(&receiver).header("X-Webhook-Secret", "hush hush");
    let (proxy, _run, seen) = delivered(Setup::new(&upstream), &receiver, &ask);
    let expected = cerebrium_signature("hush hush", &seen[0]);
    assert_eq!(
        seen[0].header("x-cerebrium-webhook-signature"),
        Some(expected.as_str())
    );
    assert_eq!(seen[0].header("webhook-signature"), None);
    assert_eq!(upstream.only().header("x-webhook-secret"), None);
    assert!(!proxy.log().contains("hush hush"));
    // With its delivery, the secret is gone from the store's files.
    drop_and_search(proxy, b"hush hush");
}

fn drop_and_search(mut proxy: Raincheck, secret: &[u8]) {
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    for entry in std::fs::read_dir(proxy.store_folder())
        .expect("folder")
        .flatten()
    {
        if entry.path().is_file() {
            let bytes = std::fs::read(entry.path()).expect("read");
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "the secret is in {}", entry.path().display());
        }
    }
}

#[test]
fn failures_are_told_with_their_reason_and_the_problem() {
    let upstream = Server::new(|_, answer| answer.close());
    let receiver = Server::fixed(200, "");
    let (_proxy, run, seen) = delivered(Setup::new(&upstream), &receiver, &with_webhook(&receiver));
    let seen = &seen[0];
    assert_eq!(seen.header("raincheck-run-state"), Some("failed"));
    assert_eq!(seen.header("raincheck-run-reason"), Some("broken"));
    assert_eq!(seen.header("raincheck-upstream-status"), None);
    assert_eq!(
        seen.header("content-type"),
        Some("application/problem+json")
    );
    let document: serde_json::Value = serde_json::from_slice(&seen.body).expect("json");
    assert_eq!(
        (&document["code"], &document["run_id"]),
        (&"broken".into(), &run.id.as_str().into())
    );
}

#[test]
fn a_failed_attempt_is_tried_again_stamped_and_signed_anew() {
    let upstream = Server::fixed(200, "body");
    let receiver = Server::new(|seen, answer| match seen.nth {
        0 => answer.reply(500, &[], "no"),
        1 => answer.close(),
        _ => answer.ok(""),
    });
    let setup = Setup::new(&upstream).set("webhook.signing_secrets", vec![SECRET]);
    let (proxy, run, seen) = delivered(setup, &receiver, &with_webhook(&receiver));
    assert_eq!(seen.len(), 3);
    for (n, one) in seen.iter().enumerate() {
        assert_eq!(
            one.header("raincheck-delivery-attempt"),
            Some((n + 1).to_string().as_str())
        );
        assert_eq!(one.header("webhook-id"), seen[0].header("webhook-id"));
        assert_eq!(
            one.header("webhook-signature"),
            Some(standard_signature(SECRET, one).as_str())
        );
        assert_eq!(one.body, b"body");
    }
    assert_eq!(proxy.record(&run)["delivery"]["attempts"], 3);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn after_the_last_attempt_a_delivery_is_dead_and_kept() {
    let upstream = Server::fixed(200, "body");
    let receiver = Server::fixed(503, "");
    let (proxy, run, seen) = delivered(Setup::new(&upstream), &receiver, &with_webhook(&receiver));
    assert_eq!(seen.len(), 3);
    let record = proxy.record(&run);
    assert_eq!(record["state"], "succeeded");
    assert_eq!(record["delivery"]["state"], "dead");
    assert_eq!(record["delivery"]["last_status"], 503);
    assert_eq!(
        proxy.metric("raincheck_store_deliveries", &[("state", "dead")]),
        1.0
    );
    assert_eq!(proxy.response(&run).text(), "body");
}

#[test]
fn gone_means_dead_at_once() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(410, "");
    let (proxy, run, seen) = delivered(Setup::new(&upstream), &receiver, &with_webhook(&receiver));
    assert_eq!(seen.len(), 1);
    assert_eq!(proxy.record(&run)["delivery"]["state"], "dead");
}

#[test]
fn a_redirect_is_a_failure_and_never_followed() {
    let upstream = Server::fixed(200, "");
    let trap = Server::fixed(200, "");
    let there = trap.url("/");
    let receiver = Server::new(move |_, answer| answer.reply(307, &[("Location", &there)], ""));
    let (proxy, run, _) = delivered(Setup::new(&upstream), &receiver, &with_webhook(&receiver));
    assert_eq!(proxy.record(&run)["delivery"]["state"], "dead");
    assert_eq!(proxy.record(&run)["delivery"]["last_status"], 307);
    assert!(trap.seen().is_empty());
}

#[test]
fn receivers_that_misbehave_are_failures() {
    type Script = fn(&Seen, &mut crate::harness::Answer<'_>) -> std::io::Result<()>;
    let scripts: [Script; 4] = [
        |_, answer| {
            answer.raw("nonsense\r\n\r\n")?;
            answer.close()
        },
        |_, answer| answer.until_closed(),
        |_, answer| {
            answer.raw("HTTP/1.1 200")?;
            answer.close()
        },
        |_, answer| answer.close(),
    ];
    let upstream = Server::fixed(200, "");
    for script in scripts {
        let receiver = Server::new(script);
        let setup = Setup::new(&upstream)
            .set("webhook.connect_timeout", "300ms")
            .set("webhook.timeout", "300ms")
            .set("webhook.schedule", vec!["0s", "0s"]);
        let (proxy, run, seen) = delivered(setup, &receiver, &with_webhook(&receiver));
        let record = proxy.record(&run);
        assert_eq!(record["delivery"]["state"], "dead");
        assert_eq!(record["delivery"]["last_status"], serde_json::Value::Null);
        assert!(record["delivery"]["last_error"].is_string());
        assert!(!seen.is_empty());
    }
}

#[test]
fn a_2xx_with_an_endless_body_is_a_success_and_is_not_read_to_the_end() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        while answer.raw([b'x'; 65_536]).is_ok() {}
        answer.close()
    });
    let (proxy, run, seen) = delivered(Setup::new(&upstream), &receiver, &with_webhook(&receiver));
    assert_eq!(proxy.record(&run)["delivery"]["state"], "delivered");
    assert_eq!(seen.len(), 1);
}

#[test]
fn interim_answers_of_a_receiver_are_no_answer() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 103 Early Hints\r\n\r\n")?;
        answer.ok("")
    });
    let (proxy, run, _) = delivered(Setup::new(&upstream), &receiver, &with_webhook(&receiver));
    assert_eq!(proxy.record(&run)["delivery"]["state"], "delivered");
}

#[test]
fn a_receiver_that_is_not_there_is_unreachable() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&format!("http://{}/", free_port()));
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    let record = proxy.delivered(&run);
    assert_eq!(record["delivery"]["last_error"], "unreachable");
    assert_eq!(record["delivery"]["attempts"], 3);
}

#[test]
fn a_name_that_leads_to_a_refused_address_is_unreachable_to_the_public() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let host = hostname();
    let Some(host) = host else { return };
    let proxy = Setup::new(&upstream)
        .set("webhook.allow_networks", Vec::<String>::new())
        .start();
    let url = encoded(&format!("http://{host}:{}/", receiver.address().port()));
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    let record = proxy.delivered(&run);
    assert_eq!(record["delivery"]["last_error"], "unreachable");
    assert!(receiver.seen().is_empty());
}

/// This machine's own name, if it leads to an address that the guard refuses.
fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/etc/hostname")
        .ok()?
        .trim()
        .to_owned();
    let mut addresses = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 0)).ok()?;
    let refused = addresses.all(|address| match address.ip() {
        std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_loopback(),
    });
    (refused && !name.contains("localhost")).then_some(name)
}

#[test]
fn a_routes_own_endpoint_needs_no_callers_word() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let setup = Setup::new(&upstream).set("route.webhook.endpoint", receiver.url("/routes"));
    let (_proxy, _run, seen) = delivered(setup, &receiver, &Ask::get("/?async=true"));
    assert_eq!(seen[0].target, "/routes");
}

#[test]
fn on_narrows_which_ends_are_told() {
    let upstream = Server::new(|seen, answer| {
        let status = if seen.target == "/bad" { 500 } else { 200 };
        answer.reply(status, &[], "")
    });
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("webhook.on", vec!["failed"])
        .start();
    let url = encoded(&receiver.url("/"));
    let good = proxy.run(&Ask::get(format!("/good?async=true&webhookEndpoint={url}")));
    assert_eq!(proxy.finished(&good)["delivery"], serde_json::Value::Null);
    let bad = proxy.run(&Ask::get(format!("/bad?async=true&webhookEndpoint={url}")));
    proxy.delivered(&bad);
    assert_eq!(receiver.only().run_id(), bad.id);
}

#[test]
fn a_slow_receiver_does_not_hold_up_another() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::fixed(200, "");
    let slow = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let quick = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let stuck: Vec<_> = (0..8).map(|_| proxy.run(&with_webhook(&slow))).collect();
    slow.wait_for(1);
    let run = proxy.run(&with_webhook(&quick));
    proxy.delivered(&run);
    gate.open();
    for run in &stuck {
        proxy.delivered(run);
    }
}

#[test]
fn retry_after_moves_the_next_attempt() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::new(|_, answer| answer.reply(503, &[("Retry-After", "7200")], ""));
    let proxy = Setup::new(&upstream)
        .set("webhook.schedule", vec!["0s", "1h", "1h"])
        .start();
    let run = proxy.run(&with_webhook(&receiver));
    let record = eventually("a failed attempt", || {
        let record = proxy.record(&run);
        (record["delivery"]["last_status"] == 503).then_some(record)
    });
    assert_eq!(record["delivery"]["state"], "pending");
    let next = humantime::parse_rfc3339(
        record["delivery"]["next_attempt_at"]
            .as_str()
            .expect("next"),
    )
    .expect("time");
    let ended =
        humantime::parse_rfc3339(record["finished_at"].as_str().expect("end")).expect("time");
    let wait = next.duration_since(ended).expect("later").as_secs();
    // max(step, min(2 h, 2 × step)) with a step of one hour; jitter makes it 20 % more or less.
    assert!((5700..=8700).contains(&wait), "{wait} s");
}
