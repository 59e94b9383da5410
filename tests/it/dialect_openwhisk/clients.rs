//! What callers really use: the npm client `openwhisk`, and schemathesis with OpenWhisk's own description of its API, as
//! `.ci/clients` installs them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{NAMESPACES, application};
use crate::harness::{Gate, Raincheck, Setup};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a script on a proxy, if what it needs is there.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn used_by(program: &str, script: &str, installed: &str, proxy: &Raincheck) {
    let clients = folder("target/clients");
    if !clients.join(installed).exists() {
        eprintln!("skipped: `.ci/clients` has not installed what {script} needs");
        return;
    }
    let output = Command::new(program)
        .arg(folder("tests/clients").join(script))
        .args([&format!("http://{}", proxy.public()), "guest:secret"])
        .env("CLIENTS", &clients)
        .env("PYTHONPATH", clients.join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONIOENCODING", "utf-8")
        .env("NO_PROXY", "*")
        .current_dir(proxy.folder())
        .output()
        .expect("start");
    let said = String::from_utf8_lossy(&output.stdout);
    let also = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} said:\n{said}\n{also}");
}

#[test]
fn the_npm_client_works_unchanged() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream)
        .add(NAMESPACES)
        .set("openwhisk.namespaces.guest.blocking_wait", "1s")
        .start();
    used_by("node", "openwhisk.mjs", "node.done", &proxy);
    gate.open();
}

#[test]
fn the_api_is_as_openwhisks_own_description_says() {
    let gate = Gate::shut();
    gate.open();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream).add(NAMESPACES).start();
    used_by("python3", "openwhisk_schema.py", "python.done", &proxy);
}
