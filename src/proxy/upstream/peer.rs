//! One peer: an address, how it is connected to, and what is known of its health.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use pingora::{
    protocols::{ALPN, TcpKeepalive, l4::socket::SocketAddr as L4Address},
    upstreams::peer::HttpPeer,
};
use tokio::time::Instant;

use super::{CaError, tls};
use crate::config;

/// How long an unused connection to a peer is kept. Application servers close theirs after 2 to 5 s (gunicorn, node,
/// uvicorn), and a POST that meets a closing connection cannot be repeated.
const IDLE: Duration = Duration::from_secs(1);
/// How long a peer that took no connection is avoided while there is another.
const AVOIDED: Duration = Duration::from_secs(2);

/// Where a peer listens, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// An IP address, and the name that stood for it in the configuration.
    Tcp {
        /// Where.
        socket: SocketAddr,
        /// Name or IP literal, as configured.
        host: String,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// What all peers of an upstream have in common.
#[derive(Debug)]
pub(super) struct Template {
    peer: HttpPeer,
    sni: Option<String>,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    address: Address,
    peer: HttpPeer,
    healthy: AtomicBool,
    /// Checks in a row that say otherwise than `healthy`.
    contrary: AtomicUsize,
    refusing: AtomicBool,
    refused_at: Mutex<Option<Instant>>,
}

impl Template {
    /// Takes what the configuration says of all peers.
    ///
    /// # Errors
    /// When the file of certificate authorities cannot be used.
    pub(super) fn new(settings: &config::Upstream) -> Result<Self, CaError> {
        let placeholder = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut peer = HttpPeer::new(placeholder, settings.tls.is_some(), String::new());
        let options = &mut peer.options;
        options.connection_timeout = Some(settings.connect_timeout);
        options.total_connection_timeout = Some(settings.connect_timeout);
        options.idle_timeout = Some(IDLE);
        options.alpn = ALPN::H1;
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 6,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        if let Some(tls) = &settings.tls {
            options.verify_cert = tls.verify;
            options.verify_hostname = tls.verify;
            options.ca = tls.ca.as_deref().map(tls::authorities).transpose()?;
        }
        let sni = settings.tls.as_ref().and_then(|tls| tls.sni.clone());
        Ok(Self { peer, sni })
    }

    /// A peer at `address`, healthy until shown otherwise.
    pub(super) fn peer(&self, address: Address) -> Peer {
        let mut peer = self.peer.clone();
        peer._address = address.to_l4();
        if peer.is_tls() {
            peer.sni = self
                .sni
                .clone()
                .unwrap_or_else(|| address.host().to_owned());
        }
        Peer {
            address,
            peer,
            healthy: AtomicBool::new(true),
            contrary: AtomicUsize::new(0),
            refusing: AtomicBool::new(false),
            refused_at: Mutex::new(None),
        }
    }
}

impl Peer {
    /// Where it listens.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// How Pingora connects to it.
    pub(super) fn http_peer(&self) -> Box<HttpPeer> {
        Box::new(self.peer.clone())
    }

    /// Whether its health check, if there is one, has not taken it out.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Takes the result of a check; `threshold` results in a row that contradict the present state change it. Returns
    /// the new state if it changed.
    pub(super) fn observe(&self, success: bool, threshold: usize) -> Option<bool> {
        if success == self.is_healthy() {
            self.contrary.store(0, Ordering::Relaxed);
            return None;
        }
        let contrary = self.contrary.fetch_add(1, Ordering::Relaxed) + 1;
        if contrary < threshold {
            return None;
        }
        self.contrary.store(0, Ordering::Relaxed);
        self.healthy.store(success, Ordering::Relaxed);
        Some(success)
    }

    /// Notes that it took no connection.
    pub(super) fn refused(&self) {
        *self.refused_at.lock() = Some(Instant::now());
        self.refusing.store(true, Ordering::Relaxed);
    }

    /// Whether it took no connection a moment ago.
    pub(super) fn refused_lately(&self) -> bool {
        if !self.refusing.load(Ordering::Relaxed) {
            return false;
        }
        let lately = self
            .refused_at
            .lock()
            .is_some_and(|at| at.elapsed() < AVOIDED);
        self.refusing.store(lately, Ordering::Relaxed);
        lately
    }
}

impl Address {
    /// The host as configured; `localhost` for a Unix socket.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }

    /// As Pingora writes it. A Unix path that is too long becomes an address that refuses (`check` reports it).
    pub(super) fn to_l4(&self) -> L4Address {
        match self {
            Self::Tcp { socket, .. } => L4Address::Inet(*socket),
            Self::Unix(path) => std::os::unix::net::SocketAddr::from_pathname(path).map_or(
                L4Address::Inet(SocketAddr::from(([127, 0, 0, 1], 0))),
                L4Address::Unix,
            ),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { socket, .. } => socket.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
