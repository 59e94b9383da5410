//! What an operator sees of the replicas: the admin API, the metrics, the dashboard's page.

use serde_json::Value;

use super::{holding, replicas};
use crate::harness::{Ask, Gate, Raincheck, Server, Setup, eventually};

/// What this one tells of all of them.
fn told(replica: &Raincheck) -> (Vec<Value>, Vec<Value>) {
    let told = replica.admin_get("/api/v1/replicas").json();
    let list = |name: &str| told[name].as_array().expect("a list").clone();
    (list("replicas"), list("days"))
}

fn count(rows: &[Value], name: &str, value: impl Into<Value>) -> usize {
    let value = value.into();
    rows.iter().filter(|row| row[name] == value).count()
}

#[test]
fn each_replica_tells_who_shares_the_store_and_what_it_is_made_of() {
    let gate = Gate::shut();
    let open = gate.clone();
    let application = Server::new(move |_, answer| {
        open.wait();
        answer.ok("")
    });
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    replicas.all[0].run(&Ask::put("/?async=true", "held"));
    application.wait_for(1);
    for replica in &replicas.all {
        let (rows, days) = told(replica);
        assert_eq!(count(&rows, "state", "alive"), 3, "{rows:?}");
        assert_eq!(count(&rows, "this_one", true), 1, "{rows:?}");
        assert_eq!(count(&rows, "runs", 1), 1, "{rows:?}");
        assert_eq!(count(&days, "state", "kept"), 1, "{days:?}");
        assert!(count(&days, "state", "ahead") >= 2, "{days:?}");
        let page = replica.admin_get("/replicas").text();
        for row in &rows {
            assert!(page.contains(row["name"].as_str().expect("name")), "{page}");
        }
        assert_eq!(page.matches("this one").count(), 1, "{page}");
        eventually("the days to be counted", || {
            let ahead = replica.metric("raincheck_store_days", &[("state", "ahead")]);
            (ahead >= 2.0).then_some(())
        });
        assert!(replica.metric("raincheck_store_heartbeat_timestamp_seconds", &[]) > 1e9);
    }
    replicas.all[0].kill();
    let other = &replicas.all[1];
    eventually("its silence", || {
        (count(&told(other).0, "state", "silent") == 1).then_some(())
    });
    eventually("its row to go", || (told(other).0.len() == 2).then_some(()));
    gate.open();
    replicas.all[0].start();
    eventually("its new row", || {
        (count(&told(&replicas.all[1]).0, "state", "alive") == 3).then_some(())
    });
}

#[test]
fn a_store_that_nobody_shares_says_so() {
    let proxy = Setup::new(&Server::echo()).start();
    let (replicas, days) = told(&proxy);
    assert!(replicas.is_empty() && days.is_empty());
    let page = proxy.admin_get("/replicas").text();
    assert!(page.contains("this process's own"), "{page}");
    let metrics = proxy.admin_get("/metrics").text();
    assert!(!metrics.contains("store_heartbeat"), "{metrics}");
}

/// The files of bodies that a replica has.
fn files(replica: &Raincheck) -> usize {
    let spool = replica.store_folder().join("spool");
    let hours = std::fs::read_dir(spool).expect("the spool").flatten();
    let files = hours.map(|hour| std::fs::read_dir(hour.path()).map_or(0, Iterator::count));
    files.sum()
}

#[test]
fn bodies_leave_no_files_behind() {
    let gate = Gate::shut();
    let application = holding(&gate);
    let Some(mut replicas) = replicas(&application) else {
        return;
    };
    let long = "x".repeat(400_000);
    let run = replicas.all[0].run(&Ask::post("/?async=true", &long));
    replicas.all[0].finished(&run);
    for _ in 0..5 {
        assert_eq!(replicas.all[1].get(run.response()).text(), long);
        replicas.all[1].ask(&Ask::new("HEAD", run.response()));
    }
    assert_eq!((files(&replicas.all[0]), files(&replicas.all[1])), (0, 1));
    // The request of one that is cancelled elsewhere.
    let held = replicas.all[0].run(&Ask::post("/held?async=true", &long));
    application.wait_for(2);
    assert_eq!(files(&replicas.all[0]), 1);
    let cancelled = replicas.all[2].ask(&Ask::new("DELETE", &*held.location));
    assert_eq!(cancelled.status, 202);
    eventually("the request to go", || {
        (files(&replicas.all[0]) == 0).then_some(())
    });
    // What one leaves that is killed.
    replicas.all[1].kill();
    gate.open();
    assert_eq!(files(&replicas.all[1]), 1);
    let count = "SELECT count(*) FROM raincheck.replica";
    eventually("its registration to go", || {
        (replicas.database.ask(super::DATABASE, count) == "2").then_some(())
    });
    replicas.all[1].start();
    eventually("its files to go", || {
        (files(&replicas.all[1]) == 0).then_some(())
    });
}
