//! The dashboard: in Debian's Chromium, driven by Playwright (`.ci/clients` installs both), and with a million runs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rusqlite::Connection;

use crate::harness::{Ask, Gate, Raincheck, Server, Setup, Wire};

const TOKEN: &str = "a token of sixteen characters and more";

/// An application with all that a page should be able to show, and a hand for the script: `/open` opens what is held.
fn application() -> Server {
    let gate = Gate::shut();
    Server::new(move |seen, answer| match seen.target.split('?').next() {
        Some("/bad") => answer.reply(500, &[("Content-Type", "text/plain")], "broken"),
        Some("/refuse") => answer.reply(503, &[], "come back later"),
        Some("/held") => {
            gate.wait();
            answer.ok("held")
        }
        Some("/open") => {
            gate.open();
            answer.ok("")
        }
        Some("/forever") => answer.until_closed(),
        Some("/evil") => {
            let body =
                "<script>document.title='owned';alert(1)</script><img src=x onerror=alert(2)>";
            answer.reply(200, &[("Content-Type", "text/html")], body)
        }
        Some("/line") => answer.ok("x".repeat(10_000_000)),
        Some("/binary") => answer.reply(200, &[], (0..=255).collect::<Vec<u8>>()),
        _ => answer.reply(
            200,
            &[("Content-Type", "application/json")],
            "{\"ok\":true}",
        ),
    })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Has the script look at a proxy, if a browser is there.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn looked_at(proxy: &Raincheck, application: &Server, token: Option<&str>) {
    let clients = folder("target/clients");
    if !clients.join("node_modules/playwright-core").exists()
        || !Path::new("/usr/bin/chromium").exists()
    {
        eprintln!("skipped: `.ci/clients` has not installed Chromium and playwright-core");
        return;
    }
    let output = Command::new("node")
        .arg(folder("tests/clients/dashboard.mjs"))
        .arg(format!("http://{}", proxy.admin()))
        .arg(format!("http://{}", proxy.public()))
        .args(token)
        .env("CLIENTS", &clients)
        .env("GATE", application.url(""))
        .env("NO_PROXY", "*")
        .current_dir(proxy.folder())
        .output()
        .expect("start");
    let also = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{also}");
}

#[test]
fn a_browser_sees_and_does_all_of_it() {
    let application = application();
    let proxy = Setup::new(&application).start();
    looked_at(&proxy, &application, None);
}

#[test]
fn so_does_one_that_has_to_log_in() {
    let application = application();
    let proxy = Setup::new(&application)
        .set("admin.token", TOKEN)
        .start_unkept();
    looked_at(&proxy, &application, Some(TOKEN));
}

/// Copies the store's only run a million times, a millisecond apart, as ids are made of their keys.
fn multiply(store: &Path) {
    let db = Connection::open(store.join("runs.db")).expect("the store");
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000;")
        .expect("pragmas");
    let columns: Vec<String> = db
        .prepare(
            "SELECT name FROM pragma_table_info('run') WHERE name NOT IN ('rid', 'id', 'accepted')",
        )
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .expect("columns");
    let columns = columns.join(", ");
    db.execute_batch(&format!(
        "WITH RECURSIVE
           one AS (SELECT * FROM run LIMIT 1),
           n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
         INSERT INTO run (rid, id, accepted, {columns})
         SELECT ((one.rid >> 15) - i) << 15,
                unhex(printf('%012x70008000000000000000', (one.rid >> 15) - i)),
                one.accepted - i, {columns}
         FROM one, n;
         UPDATE tally SET n = n + 1000000 WHERE n > 0;"
    ))
    .expect("a million runs");
}

#[test]
fn with_a_million_runs_pages_are_whole() {
    let application = application();
    let mut proxy = Setup::new(&application).start();
    let run = proxy.run(&Ask::get("/ok?async=true"));
    proxy.finished(&run);
    proxy.terminate();
    assert!(proxy.wait().success());
    multiply(&proxy.store_folder());
    proxy.start();
    let mut wire = Wire::to(proxy.admin());
    let mut page = |target: &str| {
        wire.send(Ask::get(target).bytes("localhost"));
        let reply = wire.reply();
        assert_eq!(reply.status, 200, "{target}");
        reply.text()
    };
    assert!(page("/").contains("1\u{202f}000\u{202f}001"));
    let list = page("/runs");
    assert_eq!(list.matches("<tr id=").count(), 50);
    // Page after page, and what meets no filter.
    let older = list
        .split("rel=\"next\" href=\"")
        .nth(1)
        .expect("a next page");
    let older = older
        .split('"')
        .next()
        .expect("its link")
        .replace("&amp;", "&");
    assert_eq!(page(&older).matches("<tr id=").count(), 50);
    assert!(page("/runs?state=failed").contains("No run meets this filter"));
    assert!(page("/runs?name=/nothing").contains("None among the runs looked at so far"));
    assert!(page(&format!("/runs/{}", run.id)).contains("{&#34;ok&#34;:true}"));
}
