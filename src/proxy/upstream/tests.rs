//! Which peer a request goes to.

use std::{path::PathBuf, time::Duration};

use pingora::upstreams::peer::Peer as _;

use super::*;
use crate::config::{Balance, PeerAddress};

fn upstream(balance: Balance, ports: &[u16]) -> Upstream {
    let peers = ports.iter().map(|&port| PeerAddress::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    });
    Upstream::new(config::Upstream {
        name: "app".to_owned(),
        peers: peers.collect(),
        balance,
        connect_timeout: Duration::from_secs(5),
        tls: None,
        health_check: None,
    })
    .unwrap()
}

fn chosen(upstream: &Upstream, key: &str, tried: &mut Tried) -> u16 {
    let peer = upstream.choose(key.as_bytes(), tried).unwrap();
    peer.address().as_inet().unwrap().port()
}

#[test]
fn round_robin_takes_each_peer_in_turn() {
    let upstream = upstream(Balance::RoundRobin, &[1, 2, 3]);
    let ports: Vec<_> = (0..6)
        .map(|_| chosen(&upstream, "/", &mut Tried::default()))
        .collect();
    assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn the_same_request_meets_the_same_peer_and_most_stay_when_one_goes() {
    let three = upstream(Balance::Hash, &[1, 2, 3]);
    let two = upstream(Balance::Hash, &[1, 2]);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..100 {
        let key = format!("/x?n={number}");
        let port = chosen(&three, &key, &mut Tried::default());
        assert_eq!(chosen(&three, &key, &mut Tried::default()), port);
        if port != 3 {
            assert_eq!(chosen(&two, &key, &mut Tried::default()), port);
        }
        seen.insert(port);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn another_try_prefers_another_peer() {
    for balance in [Balance::RoundRobin, Balance::Random, Balance::Hash] {
        let upstream = upstream(balance, &[1, 2, 3]);
        let mut tried = Tried::default();
        let mut ports: Vec<_> = (0..3).map(|_| chosen(&upstream, "/", &mut tried)).collect();
        assert!(!upstream.has_another(&tried));
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3], "{balance:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_took_no_connection_is_avoided_for_a_while() {
    let upstream = upstream(Balance::RoundRobin, &[1, 2]);
    let mut tried = Tried::default();
    assert_eq!(chosen(&upstream, "/", &mut tried), 1);
    tried.last_refused();
    for _ in 0..4 {
        assert_eq!(chosen(&upstream, "/", &mut Tried::default()), 2);
    }
    tokio::time::advance(Duration::from_secs(3)).await;
    let mut ports: Vec<_> = (0..2)
        .map(|_| chosen(&upstream, "/", &mut Tried::default()))
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [1, 2]);
}

#[test]
fn an_unhealthy_peer_is_not_chosen_until_it_recovers() {
    let upstream = upstream(Balance::RoundRobin, &[1]);
    let peer = Arc::clone(&upstream.peers.read()[0]);
    assert_eq!(peer.observe(false, 2), None);
    assert_eq!(peer.observe(true, 1), None);
    assert_eq!(peer.observe(false, 2), None);
    assert_eq!(peer.observe(false, 2), Some(false));
    let error = upstream.choose(b"/", &mut Tried::default()).unwrap_err();
    assert_eq!(error.etype(), &ErrorType::ConnectNoRoute);
    assert_eq!(peer.observe(true, 1), Some(true));
    assert_eq!(chosen(&upstream, "/", &mut Tried::default()), 1);
}

#[tokio::test]
async fn names_become_addresses_and_keep_them_when_the_resolver_fails() {
    let mut settings = upstream(Balance::RoundRobin, &[]).settings;
    settings.peers = vec![
        PeerAddress::Tcp {
            host: "localhost".to_owned(),
            port: 7,
        },
        PeerAddress::Unix(PathBuf::from("/run/app.sock")),
    ];
    let upstream = Upstream::new(settings).unwrap();
    assert_eq!(upstream.len(), 1);
    upstream.resolve().await;
    assert!(upstream.len() >= 2);
    let known = Arc::clone(&upstream.peers.read());
    let mut gone = upstream.settings.clone();
    gone.peers[0] = PeerAddress::Tcp {
        host: "does-not-exist.invalid".to_owned(),
        port: 7,
    };
    assert_eq!(resolve::all(&gone, &known).await.len(), 1);
    assert_eq!(
        resolve::all(&upstream.settings, &known).await.len(),
        known.len()
    );
}
