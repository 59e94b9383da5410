//! The address guard: which addresses a webhook may be delivered to (server-side request forgery).
//!
//! It judges twice. At acceptance it judges what can be judged without asking anybody: scheme, port, IP literals,
//! `localhost` names. At each dial it judges the address that is dialled, whatever name it came from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use url::{Host, Url};

pub use self::ranges::{Range, Tier};

mod ranges;
#[cfg(test)]
mod tests;

/// What the operator has set under `[webhook]`, and where the proxy listens.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `webhook.allow_networks`: opens any address.
    pub allow_networks: Vec<IpNet>,
    /// `webhook.allow_hosts`: opens private addresses for these exact names.
    pub allow_hosts: Vec<String>,
    /// `webhook.ports`; empty: any.
    pub ports: Vec<u16>,
    /// `webhook.https_only`
    pub https_only: bool,
    /// The proxy's own listeners. The unspecified address stands for every address of this machine.
    pub own_listeners: Vec<(IpAddr, u16)>,
}

/// Judges receivers by the operator's rules.
#[derive(Debug, Clone)]
pub struct AddressGuard {
    rules: Rules,
}

impl AddressGuard {
    /// Takes the rules; names are compared without case and without a dot at the end.
    pub fn new(mut rules: Rules) -> Self {
        for host in &mut rules.allow_hosts {
            *host = plain(host);
        }
        for (ip, _) in &mut rules.own_listeners {
            *ip = ip.to_canonical();
        }
        Self { rules }
    }

    /// Judges a receiver's URL without resolving its name: scheme, port, an IP literal in any spelling ([`Url`] has
    /// normalised decimal, octal, hexadecimal and full-width ones), `localhost` and the names below it (RFC 6761
    /// §6.3). Other names pass here; their addresses are judged when they are dialled.
    ///
    /// # Errors
    /// [`Refused`] says why, and what would open it.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        match url.scheme() {
            "https" => {}
            "http" if !self.rules.https_only => {}
            "http" => return Err(Refused::Scheme),
            _ => return Err(Refused::NotHttp),
        }
        let port = url.port_or_known_default().unwrap_or_default();
        self.check_port(port)?;
        match url.host() {
            None => Err(Refused::NoHost),
            Some(Host::Ipv4(ip)) => {
                self.check_address(url.host_str().unwrap_or_default(), (ip, port).into())
            }
            Some(Host::Ipv6(ip)) => {
                self.check_address(url.host_str().unwrap_or_default(), (ip, port).into())
            }
            Some(Host::Domain(name)) if is_localhost(name) && !self.opens_loopback() => {
                Err(Refused::Address {
                    ip: Ipv4Addr::LOCALHOST.into(),
                    range: ranges::LOOPBACK,
                })
            }
            Some(Host::Domain(_)) => Ok(()),
        }
    }

    /// Judges an address that is about to be dialled, and the name it was resolved from (or the literal itself).
    ///
    /// An IPv6 address that holds an IPv4 address is judged as both: each has to be public, or opened.
    ///
    /// # Errors
    /// [`Refused`] says why, and what would open it.
    pub fn check_address(&self, host: &str, address: SocketAddr) -> Result<(), Refused> {
        self.check_port(address.port())?;
        let listed = self.is_listed(host);
        let mut refused = None;
        for ip in ranges::faces(address.ip()) {
            let own = (ip.to_canonical(), address.port());
            let range = if self.rules.own_listeners.contains(&own) {
                Some(ranges::OWN_LISTENER)
            } else {
                ranges::range_of(ip)
            };
            let Some(range) = range else { continue };
            if self.opens(ip) || (listed && range.tier == Tier::Private) {
                continue;
            }
            if refused.is_none() || range.tier == Tier::Forbidden {
                refused = Some(Refused::Address { ip, range });
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Judges an address of this machine, which is the proxy's own wherever it listens on every address. Whether an
    /// address is this machine's is for the dialler to find out, and only if [`Self::listens_everywhere`].
    ///
    /// # Errors
    /// [`Refused`] if a listener of ours would be dialled.
    pub fn check_local(&self, address: SocketAddr) -> Result<(), Refused> {
        let ip = address.ip().to_canonical();
        if self.listens_everywhere(address.port()) && !self.opens(ip) {
            let range = ranges::OWN_LISTENER;
            return Err(Refused::Address { ip, range });
        }
        Ok(())
    }

    /// Whether the proxy listens at `port` on every address of its machine.
    pub fn listens_everywhere(&self, port: u16) -> bool {
        self.rules
            .own_listeners
            .iter()
            .any(|(ip, own)| ip.is_unspecified() && *own == port)
    }

    /// Whether `host` is one of `webhook.allow_hosts`.
    pub fn is_listed(&self, host: &str) -> bool {
        let host = plain(host);
        self.rules.allow_hosts.contains(&host)
    }

    fn check_port(&self, port: u16) -> Result<(), Refused> {
        if self.rules.ports.is_empty() || self.rules.ports.contains(&port) {
            Ok(())
        } else {
            Err(Refused::Port { port })
        }
    }

    fn opens(&self, ip: IpAddr) -> bool {
        self.rules.allow_networks.iter().any(|n| n.contains(&ip))
    }

    fn opens_loopback(&self) -> bool {
        self.rules.allow_networks.iter().any(|network| {
            network.addr().is_loopback()
                || network.contains(&IpAddr::from(Ipv4Addr::LOCALHOST))
                || network.contains(&IpAddr::from(Ipv6Addr::LOCALHOST))
        })
    }
}

/// Why the guard refuses a receiver, in a sentence for the operator. The public is told `unreachable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither `http` nor `https`.
    #[error("the URL is neither http nor https")]
    NotHttp,
    /// `http`, where only `https` may be dialled.
    #[error("the URL is http, and `webhook.https_only` is set")]
    Scheme,
    /// No host.
    #[error("the URL has no host")]
    NoHost,
    /// A port that `webhook.ports` does not have.
    #[error("port {port} is not in `webhook.ports`")]
    Port {
        /// The port.
        port: u16,
    },
    /// An address that is not public.
    #[error("{ip} is {range}; {}", how_to_open(.range))]
    Address {
        /// The address, or the IPv4 address inside it.
        ip: IpAddr,
        /// What it belongs to.
        range: Range,
    },
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn how_to_open(range: &Range) -> &'static str {
    match range.tier {
        Tier::Forbidden => "only `webhook.allow_networks` opens it",
        Tier::Private => {
            "`webhook.allow_hosts` opens it for one name, `webhook.allow_networks` for all"
        }
    }
}

/// Lower case, without brackets and without dots at the end.
fn plain(host: &str) -> String {
    host.trim_end_matches('.')
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase()
}

fn is_localhost(name: &str) -> bool {
    let name = plain(name);
    name == "localhost" || name.ends_with(".localhost")
}
