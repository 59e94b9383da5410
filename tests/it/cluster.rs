//! Three replicas on one PostgreSQL: what each answers for, and what happens when one of them, or the database, is gone.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::harness::{
    Ask, Gate, Raincheck, RunHandle, Seen, Server, Setup, Wire, encoded, eventually,
};

#[path = "../common/postgres.rs"]
mod postgres;

mod moving;
mod network;
mod operating;
mod servers;
mod trouble;

use postgres::{Bouncer, Cluster};

const DATABASE: &str = "raincheck";

/// The replicas, and what is around them.
struct Replicas {
    // Dropped first: each looks whether the books balance.
    all: Vec<Raincheck>,
    database: Cluster,
}

/// Three in front of an application; none without PostgreSQL.
fn replicas(application: &Server) -> Option<Replicas> {
    replicas_with(|| Setup::new(application))
}

fn replicas_with(setup: impl Fn() -> Setup) -> Option<Replicas> {
    let database = Cluster::start()?;
    let url = database.database(DATABASE);
    let all = (0..3).map(|_| on(&url, setup()).start()).collect();
    Some(Replicas { all, database })
}

/// With its runs in this database.
fn on(url: &str, setup: Setup) -> Setup {
    setup.set("store.kind", "postgres").set("store.url", url)
}

/// A record, as this replica tells it.
fn record(replica: &Raincheck, run: &RunHandle) -> serde_json::Value {
    replica.get(run.location.as_str()).json()
}

/// An application that echoes; what is asked of `/held` waits for the gate.
fn holding(gate: &Gate) -> Server {
    let open = gate.clone();
    Server::new(move |seen, answer| {
        if seen.target == "/held" {
            open.wait();
        }
        answer.ok(&seen.body)
    })
}

/// How often each body came, of those that were POSTed.
fn posted(seen: &[Seen]) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for one in seen.iter().filter(|one| one.method == "POST") {
        *times.entry(one.text()).or_default() += 1;
    }
    times
}

#[test]
fn every_replica_answers_for_every_run() {
    let gate = Gate::shut();
    let upstream = holding(&gate);
    let Some(replicas) = replicas(&upstream) else {
        return;
    };
    let all = &replicas.all;
    let long = "x".repeat(400_000);
    let run = all[0].run(&Ask::post("/?async=true", &long));
    all[1].finished(&run);
    for replica in all {
        assert_eq!(record(replica, &run)["state"], "succeeded");
        assert_eq!(replica.get(run.response()).text(), long);
        let listed = replica.admin_get("/api/v1/runs").json();
        assert_eq!(listed["runs"][0]["run_id"], run.id);
    }
    // One that runs elsewhere is cancelled, and its connection closed.
    let held = all[0].run(&Ask::get("/held?async=true"));
    upstream.wait_for(2);
    let cancelled = all[2].ask(&Ask::new("DELETE", &*held.location));
    assert_eq!(cancelled.status, 202);
    eventually("the end of the attempt", || {
        (all[0].metric("raincheck_runs_running", &[]) == 0.0).then_some(())
    });
    // One who waits at another replica is told, and one who watches all.
    let mut events = Wire::to(all[2].admin());
    events.send(Ask::get("/api/v1/events").bytes(&all[2].admin().to_string()));
    events.head();
    let waited = all[0].run(&Ask::get("/held?async=true"));
    let look = format!("{}&wait=30", waited.location);
    thread::scope(|scope| {
        let told = scope.spawn(|| all[1].get(look).json());
        upstream.wait_for(3);
        gate.open();
        assert_eq!(told.join().expect("answer")["state"], "succeeded");
    });
    let mut text = String::new();
    eventually("an event", || {
        text.push(char::from(events.bytes(1)[0]));
        let whole = text.ends_with("\n\n") && text.contains(&waited.id);
        (whole && text.contains("\"state\":\"succeeded\"")).then_some(())
    });
}

#[test]
fn a_key_that_comes_to_two_replicas_at_once_makes_one_run() {
    let upstream = Server::echo();
    let Some(replicas) = replicas(&upstream) else {
        return;
    };
    let all = &replicas.all;
    for round in 0..10 {
        let key = format!("key-{round}");
        let ask = Ask::post("/?async=true", "same").header("idempotency-key", &key);
        let ids: Vec<_> = thread::scope(|scope| {
            // Two at each.
            let asked: Vec<_> = all
                .iter()
                .chain(all)
                .map(|replica| scope.spawn(|| replica.ask(&ask)))
                .collect();
            let replies = asked.into_iter().map(|one| one.join().expect("answer"));
            replies
                .map(|reply| {
                    assert_eq!(reply.status, 202, "{}", reply.text());
                    reply.header("x-request-id").expect("id").to_owned()
                })
                .collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

/// Asks two replicas for runs until it is told to stop; what was answered 202.
fn load(
    replicas: [&Raincheck; 2],
    url: &str,
    over: &Arc<AtomicBool>,
) -> thread::JoinHandle<Vec<String>> {
    let addresses = replicas.map(Raincheck::public);
    let (url, over) = (url.to_owned(), Arc::clone(over));
    thread::spawn(move || {
        let mut wires = addresses.map(Wire::to);
        let mut accepted = Vec::new();
        let mut number = 0;
        while !over.load(Ordering::Relaxed) {
            for (wire, address) in wires.iter_mut().zip(addresses) {
                number += 1;
                let body = format!("{number}");
                let ask = Ask::post(format!("/?async=true&webhookEndpoint={url}"), &body);
                wire.send(ask.bytes("a"));
                if wire.reply().status == 202 {
                    accepted.push(body);
                } else {
                    *wire = Wire::to(address);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        accepted
    })
}

/// All that was accepted has come to the application once, and to the receiver.
fn assert_all_done(accepted: &[String], application: &Server, receiver: &Server) {
    eventually("every webhook", || {
        let told = receiver.distinct_runs().len();
        (told >= accepted.len()).then_some(())
    });
    let times = posted(&application.seen());
    for body in accepted {
        assert!(
            times.get(body).copied().unwrap_or_default() <= 1,
            "{body} came twice"
        );
    }
}

#[test]
fn a_replica_is_killed_under_load_and_the_others_take_over_what_it_had() {
    let gate = Gate::shut();
    let application = holding(&gate);
    let receiver = Server::fixed(200, "");
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    let url = encoded(&receiver.url("/"));
    let over = Arc::new(AtomicBool::new(false));
    let load = load([&replicas.all[1], &replicas.all[2]], &url, &over);
    let target = format!("/held?async=true&webhookEndpoint={url}");
    let once = replicas.all[0].run(&Ask::post(&*target, "once"));
    let again = replicas.all[0].run(&Ask::put(&*target, "again"));
    eventually("both to be under way", || {
        let seen = application.seen();
        let held = seen.iter().filter(|seen| seen.target.starts_with("/held"));
        (held.count() == 2).then_some(())
    });
    replicas.all[0].kill();
    gate.open();
    let other = &replicas.all[1];
    let interrupted = other.finished(&once);
    assert_eq!(interrupted["reason"], "interrupted");
    assert_eq!(other.finished(&again)["state"], "succeeded");
    over.store(true, Ordering::Relaxed);
    let mut accepted = load.join().expect("load");
    accepted.extend(["once".to_owned(), "again".to_owned()]);
    assert_all_done(&accepted, &application, &receiver);
    let left = replicas
        .database
        .ask(DATABASE, "SELECT count(*) FROM raincheck.replica");
    assert_eq!(left, "2");
}

#[test]
fn one_that_was_stopped_for_longer_than_its_lease_comes_back_and_does_no_harm() {
    let application = Server::echo();
    let receiver = Server::fixed(200, "");
    let Some(replicas) = replicas(&application) else {
        return;
    };
    let url = encoded(&receiver.url("/"));
    let over = Arc::new(AtomicBool::new(false));
    let load = load([&replicas.all[1], &replicas.all[2]], &url, &over);
    replicas.all[0].run(&Ask::post(
        format!("/?async=true&webhookEndpoint={url}"),
        "first",
    ));
    replicas.all[0].signal(Signal::STOP);
    let count = "SELECT count(*) FROM raincheck.replica WHERE NOT fenced";
    eventually("its fence", || {
        (replicas.database.ask(DATABASE, count) == "2").then_some(())
    });
    replicas.all[0].signal(Signal::CONT);
    eventually("its new registration", || {
        (replicas.database.ask(DATABASE, count) == "3").then_some(())
    });
    let run = replicas.all[0].run(&Ask::post(
        format!("/?async=true&webhookEndpoint={url}"),
        "last",
    ));
    replicas.all[1].finished(&run);
    over.store(true, Ordering::Relaxed);
    let mut accepted = load.join().expect("load");
    accepted.extend(["first".to_owned(), "last".to_owned()]);
    assert_all_done(&accepted, &application, &receiver);
}

#[test]
fn replicas_are_restarted_one_by_one_under_load() {
    let application = Server::echo();
    let receiver = Server::fixed(200, "");
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    let url = encoded(&receiver.url("/"));
    let mut accepted = Vec::new();
    for n in 0..3 {
        let over = Arc::new(AtomicBool::new(false));
        let [one, other] = [(n + 1) % 3, (n + 2) % 3].map(|it| &replicas.all[it]);
        let load = load([one, other], &url, &over);
        let leaving = &mut replicas.all[n];
        leaving.terminate();
        assert!(leaving.wait().success());
        leaving.start();
        over.store(true, Ordering::Relaxed);
        let these = load.join().expect("load");
        assert!(!these.is_empty());
        accepted.extend(these.into_iter().map(|body| format!("{n}-{body}")));
    }
    eventually("every webhook", || {
        (receiver.distinct_runs().len() == accepted.len()).then_some(())
    });
    let sum = application.distinct_runs().len();
    assert_eq!(
        (sum, application.seen().len()),
        (accepted.len(), accepted.len())
    );
}
