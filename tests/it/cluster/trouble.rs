//! A database that is away, a network that is, and a clock that is wrong.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{Cluster, DATABASE, posted, replicas};
use crate::harness::{Ask, Gate, Server, Setup, encoded, eventually};

#[test]
fn while_the_database_is_away_runs_get_503_and_nothing_that_was_accepted_is_lost() {
    let gate = Gate::shut();
    let open = gate.clone();
    let application = Server::new(move |seen, answer| {
        if seen.target == "/held" {
            open.wait();
        }
        answer.ok(&seen.body)
    });
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
        let replica = Setup::new(&application)
            .set("store.kind", "postgres")
            .set("store.url", url.as_str())
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

/// Passes bytes on to the database, until it is told not to.
struct Relay {
    address: std::net::SocketAddr,
    way: Arc<Mutex<Way>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing passes, and nobody is told.
    Silent,
    /// Connections are closed.
    Cut,
}

impl Relay {
    fn to(port: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let way = Arc::new(Mutex::new(Way::Open));
        let its = Arc::clone(&way);
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(database) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                for (from, to) in [(&caller, &database), (&database, &caller)] {
                    let (from, to) = (
                        from.try_clone().expect("clone"),
                        to.try_clone().expect("clone"),
                    );
                    let way = Arc::clone(&its);
                    thread::spawn(move || pass(from, to, &way));
                }
            }
        });
        Self { address, way }
    }

    fn is(&self, way: Way) {
        *self.way.lock().expect("lock") = way;
    }
}

fn pass(mut from: std::net::TcpStream, mut to: std::net::TcpStream, way: &Mutex<Way>) {
    use std::io::{Read, Write};
    let mut bytes = [0; 16384];
    from.set_read_timeout(Some(Duration::from_millis(50)))
        .expect("time-out");
    loop {
        let now = *way.lock().expect("lock");
        match now {
            Way::Cut => break,
            Way::Silent => thread::sleep(Duration::from_millis(20)),
            Way::Open => match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) if to.write_all(&bytes[..count]).is_ok() => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => break,
            },
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_network_that_is_cut_or_falls_silent_loses_nothing() {
    let application = Server::echo();
    let receiver = Server::fixed(200, "");
    let Some(database) = Cluster::start() else {
        return;
    };
    let relay = Relay::to(database.port());
    let direct = database.database(DATABASE);
    let through = direct.replace(
        &format!(":{}", database.port()),
        &format!(":{}", relay.address.port()),
    );
    let replica = |url: &str| {
        Setup::new(&application)
            .set("store.kind", "postgres")
            .set("store.url", url)
            .start()
    };
    let (cut_off, other) = (replica(&through), replica(&direct));
    let target = format!(
        "/?async=true&webhookEndpoint={}",
        encoded(&receiver.url("/"))
    );
    let mut accepted = Vec::new();
    for (round, way) in [Way::Cut, Way::Silent].into_iter().enumerate() {
        for n in 0..10 {
            let body = format!("{round}-{n}");
            let ask = Ask::post(&*target, &body);
            if n == 5 {
                relay.is(way);
            }
            let reply = cut_off.ask(&ask);
            match reply.status {
                202 => accepted.push(body),
                503 => break,
                status => panic!("{status}"),
            }
        }
        let refused = eventually("a refusal", || {
            let reply = cut_off.ask(&Ask::post("/?async=true", format!("{round}-away")));
            (reply.status == 503).then_some(reply)
        });
        refused.problem(503, "store-unavailable");
        assert_eq!(
            other
                .ask(&Ask::post("/?async=true", format!("{round}-other")))
                .status,
            202
        );
        relay.is(Way::Open);
        eventually("new runs", || {
            let reply = cut_off.ask(&Ask::post("/?async=true", format!("{round}-back")));
            (reply.status == 202).then_some(())
        });
    }
    eventually("every webhook", || {
        (receiver.distinct_runs().len() >= accepted.len()).then_some(())
    });
    let times = posted(&application.seen());
    for body in &accepted {
        assert_eq!(times.get(body), Some(&1), "{body}");
    }
}
