//! `[upstream.*]`.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use super::{
    listener::{looks_like_ip, split},
    server::HALF_A_DAY,
};
use crate::config::{
    Balance, HealthCheck, Listener, PeerAddress, Upstream, UpstreamTls,
    file::Section,
    secret::certificates,
    value::{
        Converted, NAME_RULE, Value, boolean, count, duration, host_name, is_host_name, is_name,
        mistyped, one_of, some, text, wrong,
    },
};

/// All upstreams; none if there was none.
pub(super) fn read(root: &Section<'_>) -> Option<Vec<Upstream>> {
    let sections = root.named("upstream");
    if sections.is_empty() {
        if !root.has("upstream") {
            root.complain(
                "upstream",
                "there is none; write [upstream.app] and peers = [\"127.0.0.1:8000\"]",
            );
        }
        return None;
    }
    Some(
        sections
            .into_iter()
            .map(|(name, section)| one(name, &section))
            .collect(),
    )
}

fn one(name: String, section: &Section<'_>) -> Upstream {
    if !is_name(&name) {
        section.complain_of_all(format!("is not a name for an upstream; write {NAME_RULE}"));
    }
    let wait = duration(Duration::from_millis(1)..=HALF_A_DAY);
    let peers = section.required(
        "peers",
        "[\"127.0.0.1:8000\"]",
        some("\"127.0.0.1:8000\"", peer),
    );
    let peers = peers.unwrap_or_default();
    for (index, peer) in peers.iter().enumerate() {
        if peers[..index].contains(peer) {
            section.complain_of_element(
                "peers",
                index,
                "is there twice; write each peer once".to_owned(),
            );
        }
    }
    Upstream {
        name,
        peers,
        balance: section.get(
            "balance",
            one_of(&[
                ("round_robin", Balance::RoundRobin),
                ("random", Balance::Random),
                ("hash", Balance::Hash),
            ]),
        ),
        connect_timeout: section.get("connect_timeout", wait),
        tls: section.child("tls").map(|section| tls(&section)),
        health_check: section
            .child("health_check")
            .and_then(|section| health_check(&section)),
    }
}

fn tls(section: &Section<'_>) -> UpstreamTls {
    UpstreamTls {
        sni: section.optional("sni", host_name),
        ca: section.optional("ca", certificates(section.reading)),
        verify: section.get("verify", boolean),
    }
}

fn health_check(section: &Section<'_>) -> Option<HealthCheck> {
    let wait = || duration(Duration::from_millis(1)..=HALF_A_DAY);
    let http = section.required(
        "kind",
        "\"http\" or \"tcp\"",
        one_of(&[("http", true), ("tcp", false)]),
    );
    let path = section.get("path", |value| match text(value)? {
        path if path.starts_with('/')
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#') =>
        {
            Ok(path.to_owned())
        }
        _ => wrong(value, mistyped(value, "a path", "\"/health\" or the like")),
    });
    if http == Some(false) && section.has("path") {
        section.complain(
            "path",
            "is for kind = \"http\"; leave it out, or write that kind",
        );
    }
    Some(HealthCheck {
        interval: section.get("interval", wait()),
        timeout: section.get("timeout", wait()),
        failures: section.get("failures", count(1..=1000)),
        successes: section.get("successes", count(1..=1000)),
        http_path: http?.then_some(path),
    })
}

fn peer(value: &Value<'_>) -> Converted<PeerAddress> {
    const WRITE: &str = "\"host:port\", \"[::1]:8000\" or \"unix:/path\"";
    let written = text(value)?;
    if written.contains("://") {
        return wrong(
            value,
            format!("is a URL; write {WRITE}, and `tls` beside it for https"),
        );
    }
    if let Some(path) = written.strip_prefix("unix:") {
        return if path.starts_with('/') {
            Ok(PeerAddress::Unix(PathBuf::from(path)))
        } else {
            wrong(
                value,
                mistyped(
                    value,
                    "the absolute path of a socket",
                    "\"unix:/run/app.sock\"",
                ),
            )
        };
    }
    let read = written.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match literal {
            Some(host) => host.parse::<Ipv6Addr>().ok()?.to_string(),
            None if looks_like_ip(host) => host.parse::<IpAddr>().ok()?.to_string(),
            None => Some(host.to_ascii_lowercase()).filter(|host| is_host_name(host))?,
        };
        Some(PeerAddress::Tcp { host, port })
    });
    match read {
        Some(peer) => Ok(peer),
        None => wrong(value, mistyped(value, "a peer", WRITE)),
    }
}

/// Complains about peers that are this proxy's own listeners: each request would come back for ever.
pub(super) fn no_loops(root: &Section<'_>, listeners: &[Listener], upstreams: &[Upstream]) {
    let own: Vec<_> = listeners
        .iter()
        .filter_map(|one| split(&one.address))
        .collect();
    let is_own = |peer: &PeerAddress| {
        let PeerAddress::Tcp { host, port } = peer else {
            return false;
        };
        let ip = if host == "localhost" {
            "127.0.0.1"
        } else {
            host
        };
        let ip = ip.parse::<IpAddr>().ok();
        own.iter().any(|(listens, at)| {
            let here =
                |ip: IpAddr| ip == *listens || (listens.is_unspecified() && ip.is_loopback());
            at == port && ip.is_some_and(here)
        })
    };
    for upstream in upstreams {
        let looping = upstream.peers.iter().any(is_own);
        if looping {
            root.complain_at_name(
                "upstream",
                &upstream.name,
                "has this proxy's own listener among its peers; write the application's address",
            );
        }
    }
}
