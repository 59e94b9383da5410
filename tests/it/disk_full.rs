//! A full disk: runs are refused with 503, the rest goes on, and what was promised is kept.

use std::fs;

use crate::harness::{Ask, Gate, Server, Setup, SmallDisk, eventually, fill};

#[test]
#[expect(
    clippy::print_stderr,
    reason = "who runs the tests is told what was not tested"
)]
fn a_full_disk_refuses_runs_and_nothing_else() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/slow" {
            wait.wait();
        }
        answer.ok("fine")
    });
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "16m") else {
        eprintln!("skipped: a tmpfs cannot be mounted here (needs root)");
        return;
    };
    let store = at.join("store");
    let proxy = Setup::new(&upstream)
        .set("store.path", store.display().to_string())
        .start();
    let slow = proxy.run(&Ask::post("/slow?async=true", "x"));
    upstream.wait_for(1);
    fill(&at);
    let refused = eventually("a refusal", || {
        let reply = proxy.ask(&Ask::post("/?async=true", "x".repeat(1000)));
        (reply.status != 202).then_some(reply)
    });
    refused.problem(503, "store-unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(proxy.get("/sync").text(), "fine");
    assert_eq!(proxy.admin_get("/readyz").status, 200);
    // A running run ends now, and its end is recorded when there is room again.
    gate.open();
    fs::remove_file(at.join("ballast")).expect("remove");
    assert_eq!(proxy.finished(&slow)["state"], "succeeded");
    let run = eventually("runs again", || {
        let reply = proxy.ask(&Ask::post("/?async=true", "x"));
        (reply.status == 202).then(|| crate::harness::RunHandle::of(&reply))
    });
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    drop(proxy);
}
