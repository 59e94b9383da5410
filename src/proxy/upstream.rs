//! An upstream: its peers as they resolve now, and which of them a request goes to.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;
use pingora::{Error, ErrorType, upstreams::peer::HttpPeer};
use tokio_util::sync::CancellationToken;

use self::peer::Peer;
use crate::config;

mod health;
mod peer;
mod resolve;
mod tls;

pub use tls::CaError;

/// One `[upstream.*]`, live.
#[derive(Debug)]
pub struct Upstream {
    settings: config::Upstream,
    template: peer::Template,
    peers: RwLock<Arc<[Arc<Peer>]>>,
    next: AtomicUsize,
}

/// The peers that one request has been sent to, so that another try prefers another peer.
#[derive(Debug, Default, Clone)]
pub struct Tried(Vec<Arc<Peer>>);

impl Upstream {
    /// Takes an upstream as configured. Peers that are addresses can be used at once, names after
    /// [`Upstream::resolve`].
    ///
    /// # Errors
    /// When the file of certificate authorities cannot be used.
    pub fn new(settings: config::Upstream) -> Result<Self, CaError> {
        let template = peer::Template::new(&settings)?;
        let peers = resolve::addresses(&settings.peers)
            .map(|address| Arc::new(template.peer(address)))
            .collect();
        Ok(Self {
            settings,
            template,
            peers: RwLock::new(peers),
            next: AtomicUsize::new(0),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What it was made of.
    pub fn settings(&self) -> &config::Upstream {
        &self.settings
    }

    /// How many peers there are, healthy or not.
    pub fn len(&self) -> usize {
        self.peers.read().len()
    }

    /// Whether no peer is known: no name has been resolved yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Chooses the peer for a request; `key` is its path and query. Prefers peers that are healthy, that took their
    /// last connection, and that are not in `tried`; never takes one that its health check has taken out.
    ///
    /// # Errors
    /// When there is no such peer. Nothing has been sent then.
    pub fn choose(&self, key: &[u8], tried: &mut Tried) -> pingora::Result<Box<HttpPeer>> {
        let peers = Arc::clone(&self.peers.read());
        let Some(peer) = self.pick(&peers, key, tried) else {
            let why = if peers.is_empty() {
                "no peer's name has been resolved"
            } else {
                "no peer is healthy"
            };
            return Err(Error::explain(ErrorType::ConnectNoRoute, why).into_up());
        };
        let chosen = peer.http_peer();
        if peers.len() > 1 {
            tried.0.push(Arc::clone(peer));
        }
        Ok(chosen)
    }

    /// Whether there is a healthy peer that is not in `tried`.
    pub fn has_another(&self, tried: &Tried) -> bool {
        let peers = self.peers.read();
        peers
            .iter()
            .any(|peer| peer.is_healthy() && !tried.has(peer))
    }

    fn pick<'a>(&self, peers: &'a [Arc<Peer>], key: &[u8], tried: &Tried) -> Option<&'a Arc<Peer>> {
        if let [only] = peers {
            return only.is_healthy().then_some(only);
        }
        let start = self.start(peers, key);
        let (after, before) = (peers.get(start..)?, &peers[..start]);
        let order = || after.iter().chain(before);
        order()
            .find(|peer| peer.is_healthy() && !peer.refused_lately() && !tried.has(peer))
            .or_else(|| order().find(|peer| peer.is_healthy() && !tried.has(peer)))
            .or_else(|| order().find(|peer| peer.is_healthy()))
    }

    /// Where the search for a peer begins.
    fn start(&self, peers: &[Arc<Peer>], key: &[u8]) -> usize {
        match self.settings.balance {
            _ if peers.is_empty() => 0,
            config::Balance::RoundRobin => self.next.fetch_add(1, Ordering::Relaxed) % peers.len(),
            config::Balance::Random => fastrand::usize(..peers.len()),
            config::Balance::Hash => heaviest(peers, key),
        }
    }

    /// Resolves names and checks health until `stop` is cancelled.
    pub async fn keep(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_resolved() => {}
            () = self.keep_checked() => {}
        }
    }

    async fn keep_resolved(&self) {
        loop {
            if !resolve::has_names(&self.settings.peers) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(resolve::TIME_TO_LIVE).await;
            self.resolve().await;
        }
    }

    /// Resolves the names of peers once. Names that fail keep the addresses that they had.
    pub async fn resolve(&self) {
        let known = Arc::clone(&self.peers.read());
        let addresses = resolve::all(&self.settings, &known).await;
        let same = addresses.iter().eq(known.iter().map(|peer| peer.address()));
        if !same {
            let peers = addresses
                .into_iter()
                .map(|address| {
                    let kept = known.iter().find(|peer| *peer.address() == address);
                    kept.map_or_else(|| Arc::new(self.template.peer(address)), Arc::clone)
                })
                .collect();
            *self.peers.write() = peers;
        }
    }

    async fn keep_checked(&self) {
        let Some(check) = &self.settings.health_check else {
            return std::future::pending().await;
        };
        let probe = health::Probe::new(check);
        loop {
            let peers = Arc::clone(&self.peers.read());
            futures::future::join_all(peers.iter().map(|peer| probe.check(self.name(), peer)))
                .await;
            tokio::time::sleep(check.interval).await;
        }
    }
}

impl Tried {
    /// Notes that the last peer chosen took no connection.
    pub fn last_refused(&self) {
        if let Some(peer) = self.0.last() {
            peer.refused();
        }
    }

    /// How many peers were chosen so far, where there was a choice.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was chosen so far, or there was no choice.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, peer: &Arc<Peer>) -> bool {
        self.0.iter().any(|tried| Arc::ptr_eq(tried, peer))
    }
}

/// The peer whose hash with `key` is the greatest: most keys keep theirs when another peer comes or goes.
fn heaviest(peers: &[Arc<Peer>], key: &[u8]) -> usize {
    let weight = |peer: &Arc<Peer>| {
        let mut hasher = DefaultHasher::new();
        (peer.address(), key).hash(&mut hasher);
        hasher.finish()
    };
    (0..peers.len())
        .max_by_key(|&index| weight(&peers[index]))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
