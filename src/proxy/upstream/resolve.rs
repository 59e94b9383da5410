//! From peers as configured to addresses: names are asked for again after a time, without blocking anybody.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tracing::warn;

use super::peer::{Address, Peer};
use crate::config::{self, PeerAddress};

/// How long an answer of the system's resolver is used (it does not tell a record's own time to live).
pub(super) const TIME_TO_LIVE: Duration = Duration::from_secs(10);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The peers that need no resolver.
pub(super) fn addresses(peers: &[PeerAddress]) -> impl Iterator<Item = Address> {
    peers.iter().filter_map(address)
}

fn address(peer: &PeerAddress) -> Option<Address> {
    match peer {
        PeerAddress::Unix(path) => Some(Address::Unix(path.clone())),
        PeerAddress::Tcp { host, port } => {
            let ip: IpAddr = host.parse().ok()?;
            Some(Address::Tcp {
                socket: (ip, *port).into(),
                host: host.clone(),
            })
        }
    }
}

/// Whether any peer has a name that must be resolved.
pub(super) fn has_names(peers: &[PeerAddress]) -> bool {
    peers.iter().any(|peer| address(peer).is_none())
}

/// All addresses of all peers, in the order of the configuration; an unresolved name keeps those it has in `known`.
pub(super) async fn all(upstream: &config::Upstream, known: &[Arc<Peer>]) -> Vec<Address> {
    let each = upstream.peers.iter().map(|peer| async move {
        match (address(peer), peer) {
            (Some(address), _) => vec![address],
            (None, PeerAddress::Tcp { host, port }) => look_up(&upstream.name, host, *port)
                .await
                .unwrap_or_else(|| kept(known, host, *port)),
            (None, PeerAddress::Unix(_)) => Vec::new(),
        }
    });
    futures::future::join_all(each).await.concat()
}

async fn look_up(upstream: &str, host: &str, port: u16) -> Option<Vec<Address>> {
    let answer = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let sockets = match answer {
        Ok(Ok(sockets)) => sockets,
        Ok(Err(error)) => {
            warn!(upstream, host, %error, "peer's name does not resolve; its last addresses are kept");
            return None;
        }
        Err(_) => {
            warn!(
                upstream,
                host, "resolver does not answer; the peer's last addresses are kept"
            );
            return None;
        }
    };
    let mut addresses: Vec<_> = sockets
        .map(|socket| Address::Tcp {
            socket,
            host: host.to_owned(),
        })
        .collect();
    addresses.sort_by_key(|address| match address {
        Address::Tcp { socket, .. } => Some(*socket),
        Address::Unix(_) => None,
    });
    addresses.dedup();
    (!addresses.is_empty()).then_some(addresses)
}

fn kept(known: &[Arc<Peer>], name: &str, number: u16) -> Vec<Address> {
    let addresses = known.iter().map(|peer| peer.address());
    addresses
        .filter(|address| {
            matches!(address, Address::Tcp { socket, host } if host == name && socket.port() == number)
        })
        .cloned()
        .collect()
}
