//! Servers as operators have them: behind PgBouncer, encrypted, with a standby, with a disk that is full.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Bouncer, Cluster, DATABASE, assert_all_done, load, on};
use crate::harness::{
    Ask, Raincheck, Server, Setup, SmallDisk, command, encoded, eventually, fill, tell,
};

/// What `store migrate` says of a database that cannot be used.
fn refusal(url: &str) -> String {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("raincheck.toml");
    let text = format!(
        "[store]\nkind = \"postgres\"\nurl = \"{url}\"\n[upstream.app]\npeers = [\"127.0.0.1:1\"]\n\
         [[route]]\nupstream = \"app\"\n"
    );
    std::fs::write(&file, text).expect("file");
    let file = file.to_str().expect("UTF-8");
    let told = tell(command(["store", "migrate", "--config", file]));
    assert_eq!(told.code, 74, "{told:?}");
    told.err
}

#[test]
fn replicas_work_behind_pgbouncer_in_transaction_mode() {
    let application = Server::new(|seen, answer| answer.ok(&seen.body));
    let receiver = Server::fixed(200, "");
    let Some(database) = Cluster::start() else {
        return;
    };
    let Some(bouncer) = Bouncer::start(&database) else {
        return;
    };
    database.database(DATABASE);
    let replica = || on(&bouncer.url(DATABASE), Setup::new(&application)).start();
    let mut all = [replica(), replica(), replica()];
    let over = Arc::new(AtomicBool::new(false));
    let url = encoded(&receiver.url("/"));
    let load = load([&all[0], &all[1]], &url, &over);
    let long = "x".repeat(400_000);
    let run = all[2].run(&Ask::post("/?async=true", &long));
    all[0].finished(&run);
    assert_eq!(all[1].get(run.response()).text(), long);
    all[2].terminate();
    assert!(all[2].wait().success());
    over.store(true, Ordering::Relaxed);
    assert_all_done(&load.join().expect("load"), &application, &receiver);
}

#[test]
fn a_connection_is_encrypted_and_whom_it_leads_to_is_verified() {
    let application = Server::echo();
    let Some(mut database) = Cluster::start() else {
        return;
    };
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names.clone()).expect("certificate");
    let other = rcgen::generate_simple_self_signed(names).expect("certificate");
    database.keep("server.crt", &made.cert.pem());
    database.keep("server.key", &made.signing_key.serialize_pem());
    database.configure("ssl = on");
    let url = database
        .database(DATABASE)
        .replace("127.0.0.1", "localhost");
    let folder = tempfile::tempdir().expect("folder");
    let asking = |certificate: &str, mode: &str| {
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, certificate).expect("file");
        format!("{url}?sslmode={mode}&sslrootcert={}", file.display())
    };
    let said = refusal(&asking(&other.cert.pem(), "require"));
    assert!(said.contains("certificate"), "{said}");
    let said = refusal(&format!("{url}?sslmode=require&sslrootcert=/nowhere"));
    assert!(said.contains("sslrootcert=/nowhere"), "{said}");
    let url = asking(&made.cert.pem(), "verify-full");
    let proxy = on(&url, Setup::new(&application)).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    let sql = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'raincheck'";
    assert_eq!(database.ask(DATABASE, sql), "t");
}

#[test]
fn a_promoted_standby_has_all_that_was_accepted() {
    let application = Server::echo();
    let receiver = Server::fixed(200, "");
    let Some(mut primary) = Cluster::start() else {
        return;
    };
    primary.database(DATABASE);
    let standby = primary.standby();
    let said = refusal(&standby.url(DATABASE));
    assert!(said.contains("name the primary"), "{said}");
    let both = format!(
        "postgres://raincheck@127.0.0.1:{},127.0.0.1:{}/{DATABASE}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let replica = || on(&both, Setup::new(&application)).start();
    let all = [replica(), replica()];
    let over = Arc::new(AtomicBool::new(false));
    let url = encoded(&receiver.url("/"));
    let load = load([&all[0], &all[1]], &url, &over);
    receiver.wait_for(20);
    primary.kill();
    standby.promote();
    let accepts = |replica: &Raincheck| {
        let asked = replica.ask(&Ask::post("/?async=true", "after"));
        (asked.status == 202).then_some(())
    };
    eventually("new runs", || accepts(&all[0]));
    eventually("new runs", || accepts(&all[1]));
    over.store(true, Ordering::Relaxed);
    assert_all_done(&load.join().expect("load"), &application, &receiver);
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_full_disk_of_the_database_refuses_runs_and_nothing_else() {
    let application = Server::echo();
    let receiver = Server::fixed(200, "");
    let Some(database) = Cluster::start() else {
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    database.own(folder.path());
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "48m") else {
        eprintln!("skipped: a tmpfs cannot be mounted here (needs root)");
        return;
    };
    database.own(&at);
    let made = format!("CREATE TABLESPACE small LOCATION '{}'", at.display());
    database.ask("postgres", &made);
    database.ask(
        "postgres",
        &format!("CREATE DATABASE {DATABASE} TABLESPACE small"),
    );
    let proxy = on(&database.url(DATABASE), Setup::new(&application)).start();
    let target = format!(
        "/?async=true&webhookEndpoint={}",
        encoded(&receiver.url("/"))
    );
    let body = "x".repeat(20_000);
    let mut accepted = Vec::new();
    let mut accepts = |round: &str| {
        let body = format!("{round}{}{body}", accepted.len());
        let reply = proxy.ask(&Ask::post(&*target, &body));
        if reply.status == 202 {
            accepted.push(body);
        }
        reply
    };
    assert_eq!(accepts("before").status, 202);
    fill(&at);
    let refused = eventually("a refusal", || {
        let reply = accepts("while");
        (reply.status != 202).then_some(reply)
    });
    refused.problem(503, "store-unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(proxy.get("/sync").status, 200);
    std::fs::remove_file(at.join("ballast")).expect("remove");
    eventually("new runs", || {
        (accepts("after").status == 202).then_some(())
    });
    assert_all_done(&accepted, &application, &receiver);
    drop(proxy);
    drop(database);
}
