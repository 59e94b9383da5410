//! A copy of the store while it is in use, and what can be done with it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::harness::{Ask, Gate, Raincheck, Server, Setup, Told, command, tell};

const LONG: usize = 300_000;

fn backup(proxy: &Raincheck, file: &Path) -> Told {
    let address = format!("http://{}", proxy.admin());
    let file = file.to_str().expect("UTF-8").to_owned();
    tell(command(["backup", "--address", &address, &file]))
}

fn unpack(archive: &Path, into: &Path) {
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(into)
        .status();
    assert!(unpacked.expect("tar").success());
}

#[test]
fn it_can_be_served_elsewhere_with_long_bodies_unfinished_runs_and_the_same_links() {
    let gate = Gate::shut();
    let open = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/later" {
            open.wait();
        }
        answer.ok(&seen.body)
    });
    let proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .start();
    let body = "x".repeat(LONG);
    let done = proxy.run(&Ask::put("/?async=true", &body));
    proxy.finished(&done);
    let running = proxy.run(&Ask::put("/later?async=true", &body));
    let queued = proxy.run(&Ask::put("/?async=true", "queued"));
    upstream.wait_for(2);
    let file = proxy.folder().join("copy.tar");
    let said = backup(&proxy, &file);
    assert_eq!(said.code, 0, "{said:?}");
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let elsewhere = Setup::new(&upstream);
    let store = elsewhere.folder().join("store");
    fs::create_dir(&store).expect("folder");
    unpack(&file, &store);
    gate.open();
    let restored = elsewhere.start();
    for (run, expected) in [(&done, &*body), (&running, &*body), (&queued, "queued")] {
        restored.finished(run);
        assert_eq!(restored.response(run).text(), expected);
        proxy.finished(run);
    }
    // Nothing of it was left in the store's folder.
    let left = fs::read_dir(proxy.store_folder()).expect("folder");
    let left: Vec<_> = left
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("backup")),
        "{left:?}"
    );
}

#[test]
fn runs_go_on_while_it_is_made_and_every_one_accepted_before_is_in_it() {
    let upstream = Server::echo();
    let proxy = Setup::new(&upstream).start();
    let before: Vec<_> = (0..50)
        .map(|n| proxy.run(&Ask::post("/?async=true", format!("{n}"))))
        .collect();
    let file = proxy.folder().join("copy.tar");
    let said = std::thread::scope(|scope| {
        let made = scope.spawn(|| backup(&proxy, &file));
        for n in 0..50 {
            proxy.run(&Ask::post("/?async=true", format!("{n}")));
        }
        made.join().expect("backup")
    });
    assert_eq!(said.code, 0, "{said:?}");
    let elsewhere = Setup::new(&upstream);
    let store = elsewhere.folder().join("store");
    fs::create_dir(&store).expect("folder");
    unpack(&file, &store);
    let restored = elsewhere.start();
    for run in &before {
        restored.record(run);
    }
}

#[test]
fn no_file_is_overwritten_and_none_is_left_of_one_that_failed() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let file = proxy.folder().join("copy.tar");
    fs::write(&file, "mine").expect("write");
    let said = backup(&proxy, &file);
    assert_eq!(said.code, 2, "{said:?}");
    assert_eq!(fs::read(&file).expect("read"), b"mine");
    let nowhere = crate::harness::free_port();
    let other = proxy.folder().join("other.tar");
    let said = tell(command([
        "backup",
        "--address",
        &format!("http://{nowhere}"),
        other.to_str().expect("UTF-8"),
    ]));
    assert_eq!(said.code, 69, "{said:?}");
    let there = |name: &str| proxy.folder().join(name).exists();
    assert!(!there("other.tar") && !there("other.tar.part") && !there("copy.tar.part"));
}
