//! What operators' looking costs: pages with a million runs, `/metrics` with a hundred routes, an overview that is open.
//!
//! `cargo bench --bench figures -- dashboard`. Filling the store takes a minute or two.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::sleep};

use crate::{full_store, load, peer, process, proxies};

const LOOKS: usize = 200;
const ROUTES: usize = 100;
/// How long a page is open, and between its looks.
const OPEN: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(5);

/// Prints the figures.
pub(crate) async fn measure() {
    let application = peer::start(None).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let known = full_store::fill(folder.path()).await;
    let mut more = String::new();
    for route in 1..ROUTES {
        let table = format!(
            "[[route]]\nname = \"r{route}\"\npath = \"/r{route}\"\nupstream = \"app\"\n[route.async]\n"
        );
        more.write_str(&table).expect("a string takes everything");
    }
    let proxy = proxies::raincheck(&application.address, folder.path(), &more).await;
    let last = known.last().expect("a run");
    for (what, target, goal) in [
        ("overview", "/".to_owned(), 50),
        ("list", "/runs".to_owned(), 50),
        (
            "list, filtered by state",
            "/runs?state=failed".to_owned(),
            50,
        ),
        ("list, filtered by name", "/runs?name=/work".to_owned(), 50),
        ("run", format!("/runs/{last}"), 50),
        ("/metrics", "/metrics".to_owned(), 5),
    ] {
        let times = look(&proxy.admin, &target).await;
        let (half, most) = (times[LOOKS / 2], times[LOOKS * 99 / 100]);
        println!("{what:24} p50 {half:8.2?}   p99 {most:8.2?}   (goal ≤ {goal} ms)");
    }
    let mut parts = Vec::new();
    for is_open in [false, true] {
        let before = proxy.process.cpu();
        let end = Instant::now() + OPEN;
        while Instant::now() < end {
            if is_open {
                look_once(&proxy.admin, "/").await;
            }
            sleep(EVERY).await;
        }
        let used = proxy.process.cpu() - before;
        parts.push(used.as_secs_f64() / OPEN.as_secs_f64() * 100.0);
    }
    println!(
        "without a page {:.2} % of a core, with an open overview {:.2} % (goal: 1 more at most), load {}",
        parts[0],
        parts[1],
        process::machine_load()
    );
}

/// Asks for the same again and again; how long each took, sorted.
pub(crate) async fn look(address: &str, target: &str) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let mut buffer = Vec::new();
    let mut times = Vec::new();
    for _ in 0..LOOKS {
        let asked = Instant::now();
        let status = load::exchange(&mut stream, request(target).as_bytes(), &mut buffer).await;
        assert_eq!(status, Some(200), "{target}");
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    times
}

async fn look_once(address: &str, target: &str) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let status = load::exchange(&mut stream, request(target).as_bytes(), &mut Vec::new()).await;
    assert_eq!(status, Some(200), "{target}");
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nHX-Request: true\r\n\r\n")
}
