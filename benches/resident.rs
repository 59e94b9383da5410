//! Memory: what a run in flight takes, and what 100,000 queued ones take.
//!
//! `cargo bench --bench figures -- resident`: an application that answers after an hour, `IN_FLIGHT` runs at a time;
//! then one at a time, and `QUEUED` runs with bodies of 1 KiB that wait. Resident memory is the kernel's VmRSS.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{load::content_length, peer, process, proxies};

const IN_FLIGHT: usize = 5_000;
const QUEUED: usize = 100_000;
const CONNECTIONS: usize = 50;
const HOUR: Duration = Duration::from_secs(3600);

/// Prints the figures.
pub(crate) async fn measure() {
    let application = peer::start(Some(HOUR)).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let many = format!("concurrency = {IN_FLIGHT}\n");
    let proxy = proxies::raincheck(&application.address, folder.path(), &many).await;
    // The first few bring in what all share: threads, pools, pages of the program.
    accept(&proxy.address, CONNECTIONS).await;
    let before = proxy.process.resident();
    let more = IN_FLIGHT - CONNECTIONS;
    accept(&proxy.address, more).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let each = (proxy.process.resident() - before) / more as u64;
    println!(
        "{IN_FLIGHT} runs in flight: {} KB each (goal ≤ 60), load {}",
        each / 1000,
        process::machine_load()
    );
    drop(proxy);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let proxy = proxies::raincheck(&application.address, folder.path(), "concurrency = 1\n").await;
    accept(&proxy.address, QUEUED).await;
    println!(
        "{QUEUED} queued runs with 1 KiB bodies: {} MB resident in all (goal ≤ 150)",
        proxy.process.resident() / 1_000_000
    );
}

/// Has `count` runs accepted.
async fn accept(address: &str, count: usize) {
    let callers = (0..CONNECTIONS).map(|_| call(address, count / CONNECTIONS));
    futures::future::join_all(callers).await;
}

async fn call(address: &str, count: usize) {
    let body = "x".repeat(1024);
    let request = format!(
        "POST /work?async=true HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1024\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the proxy listens");
    let mut answer = Vec::new();
    for _ in 0..count {
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the proxy reads");
        answer.clear();
        while !is_whole(&answer) {
            let read = stream.read_buf(&mut answer).await.expect("an answer");
            assert!(read > 0, "the proxy closed the connection");
        }
        assert!(answer.starts_with(b"HTTP/1.1 202 "), "no 202");
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let end = memchr::memmem::find(answer, b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + content_length(&answer[..end + 4]))
}
