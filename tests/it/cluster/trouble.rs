//! A database that is away, and a clock that is wrong.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{holding, on, posted, replicas};
use crate::harness::{Ask, Gate, Server, Setup, Wire, encoded, eventually};

#[test]
fn while_the_database_is_away_runs_get_503_and_nothing_that_was_accepted_is_lost() {
    let gate = Gate::shut();
    let application = holding(&gate);
    let receiver = Server::fixed(200, "");
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    let url = encoded(&receiver.url("/"));
    let target = format!("?async=true&webhookEndpoint={url}");
    let mut runs: Vec<_> = (0..20)
        .map(|n| replicas.all[n % 3].run(&Ask::post(format!("/{target}"), format!("{n}"))))
        .collect();
    runs.push(replicas.all[0].run(&Ask::post(format!("/held{target}"), "held")));
    eventually("it to be under way", || {
        let seen = application.seen();
        seen.iter().any(|seen| seen.target == "/held").then_some(())
    });
    replicas.database.kill();
    let proxy = &replicas.all[0];
    // It may be the first to hear of it.
    let refused = eventually("a refusal", || {
        let reply = proxy.ask(&Ask::post("/?async=true", "away"));
        (reply.status == 503).then_some(reply)
    });
    refused.problem(503, "store-unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(proxy.get("/sync").status, 200);
    let ready = proxy.admin_get("/readyz");
    assert_eq!(
        (ready.status, &ready.json()["store_writable"]),
        (200, &false.into())
    );
    gate.open();
    replicas.database.go_on();
    for run in &runs {
        assert_eq!(
            replicas.all[1].finished(run)["state"],
            "succeeded",
            "{}",
            run.id
        );
    }
    eventually("every webhook", || {
        (receiver.distinct_runs().len() == runs.len()).then_some(())
    });
    assert!(
        posted(&application.seen())
            .values()
            .all(|times| *times == 1)
    );
    eventually("new runs", || {
        let reply = replicas.all[0].ask(&Ask::post("/?async=true", "back"));
        (reply.status == 202).then_some(())
    });
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_replica_whose_clock_is_off_by_an_hour_agrees_with_the_others() {
    let found = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let mut found = found.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let Some(library) = found.find(|library| library.exists()) else {
        eprintln!("skipped: libfaketime is not installed (Debian: faketime)");
        return;
    };
    let application = Server::echo();
    let receiver = Server::fixed(200, "");
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    let url = replicas.database.database("other");
    replicas.all.clear();
    for offset in ["+1h", "+0", "-1h"] {
        let replica = on(&url, Setup::new(&application))
            .env("LD_PRELOAD", library.to_str().expect("UTF-8"))
            .env("FAKETIME", offset)
            .env("DONT_FAKE_MONOTONIC", "1")
            .start();
        replicas.all.push(replica);
    }
    let target = format!(
        "/?async=true&webhookEndpoint={}",
        encoded(&receiver.url("/"))
    );
    for (replica, other) in replicas.all.iter().zip(replicas.all.iter().cycle().skip(1)) {
        let run = replica.run(&Ask::post(&*target, "x"));
        let record = other.delivered(&run);
        assert_eq!(record["delivery"]["state"], "delivered");
        let recent = other.admin_get("/api/v1/runs?since=-1m&until=-0s").json();
        assert_eq!(recent["runs"][0]["run_id"], run.id, "{recent}");
    }
}

#[test]
fn a_minute_without_the_database_costs_nothing_that_was_accepted() {
    let gate = Gate::shut();
    let open = gate.clone();
    let application = Server::new(move |seen, answer| {
        if seen.target.starts_with("/held") {
            open.wait();
        }
        answer.ok(&seen.body)
    });
    let receiver = Server::fixed(200, "");
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    let url = encoded(&receiver.url("/"));
    let held: Vec<_> = (0..12)
        .map(|n| {
            let target = format!("/held?async=true&webhookEndpoint={url}");
            replicas.all[n % 3].run(&Ask::post(target, format!("{n}")))
        })
        .collect();
    eventually("all to be under way", || {
        (application.seen().len() == held.len()).then_some(())
    });
    replicas.database.kill();
    let back = Instant::now() + Duration::from_secs(60);
    // The application answers while nobody can write it down.
    gate.open();
    while Instant::now() < back {
        for replica in &replicas.all {
            assert_eq!(replica.get("/sync").status, 200);
            let reply = replica.ask(&Ask::post("/?async=true", "away"));
            reply.problem(503, "store-unavailable");
        }
        thread::sleep(Duration::from_millis(500));
    }
    replicas.database.go_on();
    for run in &held {
        assert_eq!(replicas.all[1].finished(run)["state"], "succeeded");
    }
    eventually("every webhook", || {
        (receiver.distinct_runs().len() == held.len()).then_some(())
    });
    let posts = application.seen().into_iter();
    assert_eq!(posts.filter(|seen| seen.method == "POST").count(), 12);
}

#[test]
fn an_event_stream_goes_on_when_the_database_is_back() {
    let gate = Gate::shut();
    let open = gate.clone();
    let application = Server::new(move |seen, answer| {
        open.wait();
        answer.ok(&seen.body)
    });
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    let run = replicas.all[0].run(&Ask::put("/?async=true", "held"));
    application.wait_for(1);
    let mut wire = Wire::to(replicas.all[1].public());
    let stream = Ask::get(&*run.location).header("accept", "text/event-stream");
    wire.send(stream.bytes("a"));
    wire.head();
    replicas.database.kill();
    eventually("the trouble", || {
        let writable = replicas.all[1].metric("raincheck_store_writable", &[]);
        (writable == 0.0).then_some(())
    });
    replicas.database.go_on();
    gate.open();
    let mut text = String::new();
    eventually("the last event", || {
        text.push(char::from(wire.bytes(1)[0]));
        text.ends_with("\"state\":\"succeeded\"").then_some(())
    });
}
