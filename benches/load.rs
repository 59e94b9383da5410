//! A load generator: keep-alive HTTP/1.1 connections that send the same bytes over and over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

/// What a load did.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Answers with the expected status.
    pub(crate) answered: u64,
    /// Other answers, and broken connections.
    pub(crate) failed: u64,
    /// How long it took.
    pub(crate) took: Duration,
    /// Latencies in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Measured {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    /// The latency below which `share` (0 to 1) of the answers lie.
    pub(crate) fn latency(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * share) as usize;
        Duration::from_micros(u64::from(
            self.latencies.get(index).copied().unwrap_or_default(),
        ))
    }
}

/// Sends `request` over `connections` connections for `time`, one at a time on each, and counts answers of `status`.
pub(crate) async fn load(
    address: &str,
    request: &[u8],
    status: u16,
    connections: usize,
    time: Duration,
) -> Measured {
    let stop = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (address, request) = (address.to_owned(), request.to_vec());
            tokio::spawn(one(address, request, status, stop.clone(), failed.clone()))
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a connection's task does not panic"));
    }
    let took = started.elapsed();
    latencies.sort_unstable();
    Measured {
        answered: latencies.len() as u64,
        failed: failed.load(Ordering::Relaxed),
        took,
        latencies,
    }
}

async fn one(
    address: String,
    request: Vec<u8>,
    status: u16,
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
) -> Vec<u32> {
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(16 * 1024);
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(&address).await else {
            failed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        while !stop.load(Ordering::Relaxed) {
            let sent = Instant::now();
            match exchange(&mut stream, &request, &mut buffer).await {
                Some(answer) if answer == status => {
                    latencies.push(sent.elapsed().as_micros() as u32)
                }
                Some(_) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                None => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
    latencies
}

/// Sends one request and reads its answer whole (`Content-Length` framing); none if the connection broke.
pub(crate) async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Option<u16> {
    buffer.clear();
    stream.write_all(request).await.ok()?;
    let mut needed = usize::MAX;
    while buffer.len() < needed {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        if needed == usize::MAX
            && let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n")
        {
            needed = head + 4 + content_length(&buffer[..head + 2]);
        }
    }
    std::str::from_utf8(buffer.get(9..12)?).ok()?.parse().ok()
}

/// The length that a head declares; 0 without one (chunked messages are not understood).
pub(crate) fn content_length(head: &[u8]) -> usize {
    head.split(|byte| *byte == b'\n')
        .find(|line| line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:"))
        .and_then(|line| std::str::from_utf8(&line[15..]).ok()?.trim().parse().ok())
        .unwrap_or(0)
}
