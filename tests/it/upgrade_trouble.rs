//! Upgrades that go wrong, and processes that die in the midst of one.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::{Ask, Gate, PROGRAM, Raincheck, Server, Setup, eventually};

/// Runs `serve --upgrade`, which is to fail; its exit code and what it said.
fn refused(proxy: &Raincheck) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM)
        .args(["serve", "--upgrade", "--config"])
        .arg(proxy.config_file())
        .current_dir(proxy.folder())
        .output()
        .expect("output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// Comes for an upgrade as a new process does, and gets no further than the offer of the sockets.
fn come(proxy: &Raincheck) -> UnixStream {
    let socket = proxy.store_folder().join("upgrade.sock");
    let stream = eventually("an open door", || UnixStream::connect(&socket).ok());
    let mut offer = String::new();
    BufReader::new(&stream)
        .read_line(&mut offer)
        .expect("an offer");
    assert!(offer.contains(&proxy.public().to_string()), "{offer}");
    stream
}

fn assert_serves(proxy: &Raincheck) {
    let run = proxy.run(&Ask::post("/fast?async=true", "x"));
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let good = fs::read_to_string(proxy.config_file()).expect("read");
    fs::write(proxy.config_file(), format!("{good}\n[servr]\n")).expect("write");
    let (code, said) = refused(&proxy);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("servr"), "{said}");
    // A good one that cannot be followed: the new address is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let text = good.replace(&proxy.admin().to_string(), &address);
    fs::write(proxy.config_file(), text).expect("write");
    let (code, said) = refused(&proxy);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&address), "{said}");
    assert_serves(&proxy);
    fs::write(proxy.config_file(), good).expect("write");
    let mut proxy = proxy;
    assert_eq!(proxy.upgrade().wait().code(), Some(0));
    assert_serves(&proxy);
}

#[test]
fn a_new_process_that_dies_before_it_is_ready_changes_nothing() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    let newer = come(&proxy);
    assert_serves(&proxy);
    drop(newer);
    eventually("a word of it", || {
        proxy.log().contains("did not take over").then_some(())
    });
    assert_serves(&proxy);
    assert_eq!(proxy.upgrade().wait().code(), Some(0));
    assert_serves(&proxy);
}

#[test]
fn a_second_upgrade_while_one_is_in_progress_is_refused() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let newer = come(&proxy);
    let (code, said) = refused(&proxy);
    assert_eq!(code, Some(69), "{said}");
    let name = format!(
        "an upgrade is in progress, process {} is starting",
        std::process::id()
    );
    assert!(said.contains(&name), "{said}");
    drop(newer);
    assert_serves(&proxy);
}

#[test]
fn a_plain_start_beside_one_that_finishes_its_runs_is_refused() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let mut proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(1);
    let mut older = proxy.upgrade();
    let output = Command::new(PROGRAM)
        .args(["serve", "--config"])
        .arg(proxy.config_file())
        .output()
        .expect("output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("is in use by process "), "{said}");
    gate.open();
    assert_eq!(older.wait().code(), Some(0));
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
}

#[test]
fn only_the_owner_can_ask_for_an_upgrade() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    drop(come(&proxy));
    let socket = proxy.store_folder().join("upgrade.sock");
    let mode = fs::metadata(socket).expect("socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_the_old_process_held_when_it_was_killed_is_adopted_at_once() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.header("raincheck-attempt") == Some("1") && seen.target != "/fast" {
            wait.wait();
        }
        answer.ok("")
    });
    let mut proxy = Setup::new(&upstream).start();
    let repeated = proxy.run(&Ask::get("/get?async=true"));
    let interrupted = proxy.run(&Ask::post("/post?async=true", "x"));
    upstream.wait_for(2);
    let mut older = proxy.upgrade();
    assert_serves(&proxy);
    assert_eq!(proxy.record(&interrupted)["state"], "running");
    older.kill();
    let killed = Instant::now();
    assert_eq!(proxy.finished(&interrupted)["reason"], "interrupted");
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
    let record = proxy.finished(&repeated);
    assert_eq!(
        (&record["state"], &record["attempts"]),
        (&"succeeded".into(), &2.into())
    );
    gate.open();
    assert_eq!(
        upstream
            .seen()
            .iter()
            .filter(|seen| seen.method == "POST")
            .count(),
        2
    );
}

#[test]
fn when_the_new_process_is_killed_its_runs_are_not_lost() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.header("raincheck-attempt") == Some("1") {
            wait.wait();
        }
        answer.ok("")
    });
    let mut proxy = Setup::new(&upstream).start();
    let old = proxy.run(&Ask::post("/old?async=true", "x"));
    upstream.wait_for(1);
    let mut older = proxy.upgrade();
    let new = proxy.run(&Ask::get("/new?async=true"));
    upstream.wait_for(2);
    proxy.kill();
    // Beside the one that still finishes its runs, a third one comes.
    let child = proxy.spawn(&["--upgrade"]);
    proxy.is(child);
    eventually("an answer", || {
        std::net::TcpStream::connect(proxy.public()).ok()
    });
    assert_eq!(proxy.finished(&new)["attempts"], 2);
    assert_eq!(proxy.record(&old)["state"], "running");
    gate.open();
    assert_eq!(proxy.finished(&old)["state"], "succeeded");
    assert_eq!(older.wait().code(), Some(0));
}
