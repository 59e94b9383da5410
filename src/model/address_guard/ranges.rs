//! Addresses that are not public, by the IANA special-purpose address registries (RFC 6890), and the IPv4 addresses
//! inside IPv6 ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Tier::{Forbidden, Private};

/// How firmly a range is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Opened by `webhook.allow_networks` alone: the machine itself, its link, its cloud's metadata.
    Forbidden,
    /// Opened by `webhook.allow_hosts` too.
    Private,
}

/// A kind of address that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// What it is, to follow "is".
    pub name: &'static str,
    /// How firmly it is closed.
    pub tier: Tier,
}

const fn range(name: &'static str, tier: Tier) -> Range {
    Range { name, tier }
}

pub(super) const LOOPBACK: Range = range("a loopback address", Forbidden);
pub(super) const OWN_LISTENER: Range = range("one of the proxy's own listeners", Forbidden);
const UNSPECIFIED: Range = range("an unspecified address", Forbidden);
const LINK_LOCAL: Range = range("a link-local address", Forbidden);
const METADATA: Range = range("a cloud provider's metadata address", Forbidden);
const MULTICAST: Range = range("a multicast address", Forbidden);
const BROADCAST: Range = range("the broadcast address", Forbidden);
const PRIVATE: Range = range("a private address (RFC 1918)", Private);
const SHARED: Range = range("a shared address (RFC 6598)", Private);
const BENCHMARK: Range = range("a benchmark address", Private);
const DOCUMENTATION: Range = range("a documentation address", Private);
const RESERVED: Range = range("a reserved address", Private);
const UNIQUE_LOCAL: Range = range("a unique local address (RFC 4193)", Private);
const SITE_LOCAL: Range = range("a site-local address", Private);
const EMBEDDING: Range = range("an IPv6 address with an IPv4 address inside", Private);

/// What `ip` belongs to, if it is not public. An IPv4 address inside it is a face of its own: see [`faces`].
pub(super) fn range_of(ip: IpAddr) -> Option<Range> {
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    }
}

/// The address, and the IPv4 addresses that it stands for.
pub(super) fn faces(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inside = match ip {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(ip) => embedded(ip),
    };
    std::iter::once(ip).chain(inside.into_iter().flatten().map(IpAddr::V4))
}

fn v4(ip: Ipv4Addr) -> Option<Range> {
    Some(match ip.octets() {
        [0, ..] => UNSPECIFIED,
        [127, ..] => LOOPBACK,
        // Azure's host, Alibaba's and Oracle's metadata services lie outside 169.254.0.0/16.
        [168, 63, 129, 16] | [100, 100, 100, 200] | [192, 0, 0, 192] | [169, 254, 169, 254] => {
            METADATA
        }
        [169, 254, ..] => LINK_LOCAL,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => PRIVATE,
        [100, 64..=127, ..] => SHARED,
        [198, 18..=19, ..] => BENCHMARK,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => DOCUMENTATION,
        // IETF protocol assignments, and the relays of 6to4 that are no more (RFC 7526).
        [192, 0, 0, _] | [192, 88, 99, _] => RESERVED,
        [255, 255, 255, 255] => BROADCAST,
        [224..=239, ..] => MULTICAST,
        [240..=255, ..] => RESERVED,
        _ => return None,
    })
}

fn v6(ip: Ipv6Addr) -> Option<Range> {
    Some(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => UNSPECIFIED,
        [0, 0, 0, 0, 0, 0, 0, 1] => LOOPBACK,
        // Amazon's (instance metadata, pod identity), Google's and Scaleway's, among the unique local ones.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..] | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042] => {
            METADATA
        }
        [0xfe80..=0xfebf, ..] => LINK_LOCAL,
        [0xfec0..=0xfeff, ..] => SITE_LOCAL,
        [0xfc00..=0xfdff, ..] => UNIQUE_LOCAL,
        [0xff00..=0xffff, ..] => MULTICAST,
        _ if holds_ipv4(ip) => EMBEDDING,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => DOCUMENTATION,
        [0x2001, 0x0002, 0, ..] => BENCHMARK,
        [0x2001, 0..=0x01ff, ..] => RESERVED,
        [0x2000..=0x3fff, ..] => return None,
        // Nothing outside 2000::/3 is global unicast (RFC 4291 §2.4, and IANA's allocations).
        _ => RESERVED,
    })
}

/// Mapped, compatible, translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), Teredo (RFC 4380), 6to4 (RFC 3056).
fn holds_ipv4(ip: Ipv6Addr) -> bool {
    matches!(
        ip.segments(),
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
            | [0, 0, 0, 0, 0xffff, 0, ..]
            | [0x0064, 0xff9b, 0, 0, 0, 0, ..]
            | [0x0064, 0xff9b, 1, ..]
            | [0x2001, 0, ..]
            | [0x2002, ..]
    )
}

/// The IPv4 addresses that an IPv6 address stands for: two with Teredo (server and client).
fn embedded(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let last = |pair: [u16; 2]| Some(pair_to_v4(pair));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        // The /48 form of RFC 6052 §2.2: 16 bits, eight zero bits, 16 bits, and nothing after.
        [0x0064, 0xff9b, 1, a, b, c, 0, 0] if c & 0xff == 0 => {
            [last([a, (b << 8) | (c >> 8)]), None]
        }
        [0x2001, 0, a, b, _, _, c, d] => [last([a, b]), last([!c, !d])],
        [0x2002, a, b, ..] => [last([a, b]), None],
        // ISATAP (RFC 5214 §6.1) has any prefix.
        [.., 0 | 0x0200, 0x5efe, a, b] => [last([a, b]), None],
        [.., a, b] if holds_ipv4(ip) => [last([a, b]), None],
        _ => [None, None],
    }
}

fn pair_to_v4([high, low]: [u16; 2]) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}
