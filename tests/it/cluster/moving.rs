//! From the embedded store to the database and back, and tables that are made ahead.

use super::{Cluster, DATABASE, holding, on, record};
use crate::harness::{Ask, Gate, Server, Setup, command, encoded, eventually, tell};

#[test]
fn runs_move_from_the_embedded_store_to_the_database_and_back() {
    let gate = Gate::shut();
    let application = holding(&gate);
    let receiver = Server::fixed(503, "");
    let Some(database) = Cluster::start() else {
        return;
    };
    let url = database.database(DATABASE);
    let setup = || {
        Setup::new(&application)
            .set("route.async.concurrency", 1)
            .set("webhook.schedule", vec!["0s", "1h"])
    };
    let mut embedded = setup().start();
    let long = "x".repeat(400_000);
    let target = format!(
        "/?async=true&webhookEndpoint={}",
        encoded(&receiver.url("/"))
    );
    let done = embedded.run(&Ask::post(&*target, &long));
    embedded.finished(&done);
    receiver.wait_for(1);
    let held = embedded.run(&Ask::put("/held?async=true", "held"));
    let queued = embedded.run(&Ask::put("/?async=true", &long));
    embedded.kill();
    let copy = |from: &str, to: &str| {
        let said = tell(command(["store", "copy", "--from", from, "--to", to]));
        assert_eq!(
            (said.code, &*said.out),
            (0, "3 runs were copied\n"),
            "{said:?}"
        );
    };
    let folder = embedded.store_folder();
    copy(folder.to_str().expect("UTF-8"), &url);
    let again = tell(command([
        "store",
        "copy",
        "--from",
        folder.to_str().expect("UTF-8"),
        "--to",
        &url,
    ]));
    assert_eq!(again.code, 74, "{again:?}");
    let back = embedded.folder().join("back");
    copy(&url, back.to_str().expect("UTF-8"));
    gate.open();
    let shared = setup()
        .set("store.kind", "postgres")
        .set("store.url", url.as_str())
        .start();
    let alone = setup()
        .set("store.path", back.to_str().expect("UTF-8"))
        .start();
    for place in [&shared, &alone] {
        let told = record(place, &done);
        assert_eq!(told["delivery"]["state"], "pending", "{told}");
        assert_eq!(told["delivery"]["attempts"], 1);
        assert_eq!(place.get(done.response()).text(), long);
        for run in [&held, &queued] {
            assert_eq!(place.finished(run)["state"], "succeeded");
        }
        assert_eq!(place.get(queued.response()).text(), long);
    }
}

#[test]
fn tables_are_migrated_ahead_of_the_first_start() {
    let Some(database) = Cluster::start() else {
        return;
    };
    let application = Server::fixed(200, "");
    let mut proxy = Setup::new(&application)
        .set("store.kind", "postgres")
        .set("store.url", database.database(DATABASE).as_str())
        .start();
    // A folder is one replica's: a second serve on it is told who has it.
    let mut second = proxy.spawn(&[]);
    assert_eq!(second.wait().expect("wait").code(), Some(74));
    assert!(proxy.log().contains("is in use by process"));
    proxy.terminate();
    assert!(proxy.wait().success());
    database.ask(DATABASE, "DROP SCHEMA raincheck CASCADE");
    let file = proxy.config_file();
    let file = file.to_str().expect("UTF-8");
    let migrate = |more: &[&str]| {
        let words = ["store", "migrate", "--config", file];
        let said = tell(command(words.iter().chain(more)));
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    assert!(migrate(&["--dry-run"]).contains("would be brought to version 3"));
    assert!(migrate(&[]).contains("have version 3 now"));
    assert!(migrate(&[]).contains("nothing to do"));
}

#[test]
fn a_copy_wants_stores_without_users_and_ends_what_died_under_way() {
    let gate = Gate::shut();
    let application = Server::new(move |seen, answer| {
        gate.wait();
        answer.ok(&seen.body)
    });
    let Some(database) = Cluster::start() else {
        return;
    };
    let url = database.database(DATABASE);
    let mut replica = on(&url, Setup::new(&application)).start();
    let held = replica.run(&Ask::post("/?async=true", "once"));
    application.wait_for(1);
    let mut embedded = Setup::new(&application).start();
    embedded.terminate();
    assert!(embedded.wait().success());
    let folder = embedded.store_folder();
    let folder = folder.to_str().expect("UTF-8");
    let copy = |from: &str, to: &str| tell(command(["store", "copy", "--from", from, "--to", to]));
    for refused in [copy(&url, folder), copy(folder, &url)] {
        assert_eq!(refused.code, 74, "{refused:?}");
        assert!(refused.err.contains("in use by the replica"), "{refused:?}");
    }
    let refused = copy(folder, "mysql://u:secret@h/d");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(!refused.err.contains("secret"), "{refused:?}");
    let refused = copy(&database.database("unused"), folder);
    assert!(refused.err.contains("no store"), "{refused:?}");
    replica.kill();
    eventually("its death", || (copy(&url, folder).code == 0).then_some(()));
    embedded.start();
    let told = record(&embedded, &held);
    assert_eq!(told["reason"], "interrupted", "{told}");
    assert_eq!(application.seen().len(), 1);
}
