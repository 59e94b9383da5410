//! What those cost who wait for a run, and how soon they are told.
//!
//! `cargo bench --bench figures -- waiting`: `WAITERS` connections with `?wait=60` on one run, and as many with one run
//! each; resident memory is the kernel's VmRSS, CPU that of the proxy's process while nothing happens.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::{load::content_length, peer, process, proxies};

const WAITERS: usize = 10_000;
const SILENCE: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

/// Prints the figures.
pub(crate) async fn measure() {
    let (_, hard) = limit();
    assert!(hard > WAITERS as u64 + 1000, "too few open files: {hard}");
    let application = peer::start(Some(HOUR)).await;
    for runs in [1, WAITERS] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let proxy =
            proxies::raincheck(&application.address, folder.path(), "concurrency = 1\n").await;
        let locations = accept(&proxy.address, runs).await;
        let none = proxy.process.resident();
        let mut waiters = Vec::with_capacity(WAITERS);
        for _ in 0..WAITERS {
            let stream = TcpStream::connect(&proxy.address).await;
            waiters.push(stream.expect("it listens"));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let idle = proxy.process.resident();
        for (waiter, stream) in waiters.iter_mut().enumerate() {
            let target = &locations[waiter % runs];
            let request = format!("GET {target}&wait=60 HTTP/1.1\r\nHost: app.example\r\n\r\n");
            stream
                .write_all(request.as_bytes())
                .await
                .expect("it reads");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let each = |from: u64, to: u64| (to - from) / WAITERS as u64 / 1000;
        let (connection, wait) = (each(none, idle), each(idle, proxy.process.resident()));
        let cpu = proxy.process.cpu();
        tokio::time::sleep(SILENCE).await;
        let cpu = (proxy.process.cpu() - cpu).as_secs_f64() / SILENCE.as_secs_f64();
        println!(
            "{WAITERS} wait for {runs} runs: {wait} KB each beside the {connection} KB of an idle connection, {:.1} % of \
             a core while nothing happens, load {}",
            cpu * 100.0,
            process::machine_load()
        );
        let began = Instant::now();
        let told = waiters.drain(..).map(|mut stream| async move {
            answer(&mut stream).await;
            began.elapsed()
        });
        let told = futures::future::join_all(told);
        let (mut times, ()) = tokio::join!(told, cancel(&proxy.address, &locations));
        times.sort_unstable();
        println!(
            "told of the cancels, one after the other, of {runs}: the first {:?}, half {:?}, all {:?}",
            times[0],
            times[WAITERS / 2],
            times[WAITERS - 1]
        );
    }
}

/// The soft and the hard limit of open files, after the soft one was raised.
fn limit() -> (u64, u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let hard = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: hard,
            maximum: hard,
        },
    );
    let now = getrlimit(Resource::Nofile);
    (
        now.current.unwrap_or(u64::MAX),
        now.maximum.unwrap_or(u64::MAX),
    )
}

/// Has `count` runs accepted; where they are looked at.
async fn accept(address: &str, count: usize) -> Vec<String> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let mut locations = Vec::with_capacity(count);
    for _ in 0..count {
        let request = b"GET /work?async=true HTTP/1.1\r\nHost: app.example\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let answer = answer(&mut stream).await;
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("Location: "));
        locations.push(location.expect("a 202 with a Location").to_owned());
    }
    locations
}

async fn cancel(address: &str, locations: &[String]) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    for location in locations {
        let request = format!("DELETE {location} HTTP/1.1\r\nHost: app.example\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        answer(&mut stream).await;
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::with_capacity(1024);
    loop {
        let end = memchr::memmem::find(&answer, b"\r\n\r\n");
        if end.is_some_and(|end| answer.len() >= end + 4 + content_length(&answer[..end + 4])) {
            return String::from_utf8_lossy(&answer).into_owned();
        }
        let read = stream.read_buf(&mut answer).await.expect("an answer");
        assert!(read > 0, "the proxy closed the connection");
    }
}
