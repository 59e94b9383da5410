//! A downstream connection that never was: it yields a stored request head and then stays open and silent.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, l4::socket::SocketAddr, raw_connect::ProxyDigest,
    tls::SslDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Far smaller than Pingora's own virtual stream, whose buffers take 64 KiB.
#[derive(Debug)]
pub(super) struct Replay {
    head: Bytes,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
}

impl Replay {
    /// A connection from `client`, with or without TLS.
    pub(super) fn new(head: Bytes, client: Option<std::net::SocketAddr>, tls: bool) -> Self {
        // There is no socket behind it: both addresses are set, so that nobody asks the descriptor for them.
        let socket = SocketDigest::from_raw_fd(-1);
        let client = client.map(SocketAddr::Inet);
        // A cell that was just made is empty.
        let _ = socket.peer_addr.set(client);
        let _ = socket.local_addr.set(None);
        let _ = socket.original_dst.set(None);
        let tls =
            tls.then(|| Arc::new(SslDigest::new("unknown", "unknown", None, None, Vec::new())));
        Self {
            head,
            socket: Arc::new(socket),
            tls,
        }
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            // Nobody will wake this up: the connection stays silent as long as it is held.
            return Poll::Pending;
        }
        let count = self.head.len().min(buf.remaining());
        buf.put_slice(&self.head[..count]);
        self.head.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Replay {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Replay {
    fn id(&self) -> UniqueIDType {
        -1
    }
}

impl Ssl for Replay {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }
}

impl GetTimingDigest for Replay {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Replay {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Replay {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

impl Peek for Replay {}
