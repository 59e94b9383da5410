//! A peer that answers every request with the same small response, as cheaply as it can: the application of a
//! benchmark, or its webhook receiver.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::load::content_length;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{\"answer\":42,\"ok\":true}    ";

/// A running peer.
pub(crate) struct Peer {
    /// Where it listens.
    pub(crate) address: String,
    /// Requests answered so far.
    pub(crate) answered: Arc<AtomicU64>,
}

/// Starts a peer on a port of its own; it lives as long as the runtime. `pause` holds every answer back.
pub(crate) async fn start(pause: Option<std::time::Duration>) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a loopback port is free");
    let address = listener
        .local_addr()
        .expect("a bound listener has an address")
        .to_string();
    let answered = Arc::new(AtomicU64::new(0));
    let count = answered.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, count.clone(), pause));
        }
    });
    Peer { address, answered }
}

async fn serve(
    mut stream: TcpStream,
    answered: Arc<AtomicU64>,
    pause: Option<std::time::Duration>,
) -> Option<()> {
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let needed = loop {
            if let Some(head) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                break head + 4 + content_length(&buffer[..head + 2]);
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        while buffer.len() < needed {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        buffer.drain(..needed);
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        stream.write_all(ANSWER).await.ok()?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
