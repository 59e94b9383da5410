//! The guard against IANA's registries, over the whole address space.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// <https://www.iana.org/assignments/iana-ipv4-special-registry> and its IPv6 twin, as of 2025: the entries that are
/// not "Globally Reachable: True", multicast (RFC 5771, RFC 4291) and the deprecated embeddings beside them.
const NOT_PUBLIC: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001:2::/48",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Public by the registries, refused all the same: they are one provider's own services.
const REFUSED_THOUGH_PUBLIC: &[&str] = &["168.63.129.16/32"];

fn table(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|n| n.parse().unwrap()).collect()
}

fn special(ip: IpAddr) -> bool {
    let global_v6 = "2000::/3".parse::<IpNet>().unwrap();
    table(NOT_PUBLIC).iter().any(|n| n.contains(&ip))
        || table(REFUSED_THOUGH_PUBLIC).iter().any(|n| n.contains(&ip))
        || (ip.is_ipv6() && !global_v6.contains(&ip))
}

fn guard(networks: &[&str], hosts: &[&str]) -> AddressGuard {
    AddressGuard::new(Rules {
        allow_networks: table(networks),
        allow_hosts: hosts.iter().map(ToString::to_string).collect(),
        ..Rules::default()
    })
}

fn dial(guard: &AddressGuard, host: &str, ip: &str) -> bool {
    let ip: IpAddr = ip.parse().unwrap();
    guard.check_address(host, (ip, 443).into()).is_ok()
}

fn accepts(guard: &AddressGuard, url: &str) -> bool {
    guard.check_url(&url.parse().unwrap()).is_ok()
}

/// Addresses of every registry entry as often as addresses of anywhere.
fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let nets: Vec<IpNet> = table(NOT_PUBLIC)
        .into_iter()
        .filter(|n| n.addr().is_ipv6())
        .collect();
    let within = (proptest::sample::select(nets), any::<u128>()).prop_map(|(net, random)| {
        let IpAddr::V6(base) = net.addr() else {
            unreachable!("only IPv6 networks are kept")
        };
        let mask = u128::MAX
            .checked_shr(u32::from(net.prefix_len()))
            .unwrap_or(0);
        Ipv6Addr::from(u128::from(base) | (random & mask))
    });
    let global = any::<u128>().prop_map(|n| Ipv6Addr::from((n >> 3) | (1 << 125)));
    prop_oneof![within, global, any::<u128>().prop_map(Ipv6Addr::from)]
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let nets: Vec<IpNet> = table(NOT_PUBLIC)
        .into_iter()
        .filter(|n| n.addr().is_ipv4())
        .collect();
    let within = (proptest::sample::select(nets), any::<u32>()).prop_map(|(net, random)| {
        let IpAddr::V4(base) = net.addr() else {
            unreachable!("only IPv4 networks are kept")
        };
        let mask = u32::MAX
            .checked_shr(u32::from(net.prefix_len()))
            .unwrap_or(0);
        Ipv4Addr::from(u32::from(base) | (random & mask))
    });
    prop_oneof![within, any::<u32>().prop_map(Ipv4Addr::from)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn an_ipv4_address_is_dialled_only_if_the_registry_calls_it_public(ip in v4()) {
        let ip = IpAddr::V4(ip);
        let verdict = guard(&[], &[]).check_address("a.example", (ip, 443).into());
        prop_assert_eq!(verdict.is_err(), special(ip), "{}: {:?}", ip, verdict);
    }

    #[test]
    fn an_ipv6_address_is_dialled_only_if_the_registry_calls_it_public(ip in v6()) {
        let isatap = matches!(ip.segments(), [.., 0 | 0x0200, 0x5efe, _, _]);
        let ip = IpAddr::V6(ip);
        let verdict = guard(&[], &[]).check_address("a.example", (ip, 443).into());
        prop_assert_eq!(verdict.is_err(), special(ip) || isatap, "{}: {:?}", ip, verdict);
    }

    #[test]
    fn an_address_inside_another_is_never_opened_with_the_outer_one(ip in v4()) {
        let [a, b] = [(u32::from(ip) >> 16) as u16, u32::from(ip) as u16];
        let opened = guard(&["::/0"], &["a.example"]);
        let private = opened.check_address("b.example", (ip, 443).into()).is_err();
        for outer in [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, a, b),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, a, b),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
            Ipv6Addr::new(0x64, 0xff9b, 1, 7, 0, 0, a, b | 1),
            Ipv6Addr::new(0x64, 0xff9b, 1, a, b >> 8, b << 8, 0, 0),
            Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, a, b, 0, 0, !0x0808, !0x0808),
            Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0, !a, !b),
            Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, a, b),
        ] {
            // The lowest bit is set in one form, to tell it from the /48 one.
            if u32::from(ip) & 1 == 1 {
                let verdict = opened.check_address("b.example", (outer, 443).into());
                prop_assert_eq!(verdict.is_err(), private, "{}: {:?}", outer, verdict);
            }
        }
    }
}

#[test]
fn a_listed_name_opens_private_addresses_and_no_forbidden_ones() {
    let guard = guard(&[], &["Hooks.Internal."]);
    for private in [
        "10.1.2.3",
        "192.168.0.9",
        "100.64.0.1",
        "fd12::1",
        "198.18.0.1",
    ] {
        assert!(dial(&guard, "hooks.internal", private), "{private}");
        assert!(dial(&guard, "HOOKS.internal.", private), "{private}");
        assert!(!dial(&guard, "x.hooks.internal", private), "{private}");
        assert!(!dial(&guard, "internal", private), "{private}");
    }
    for forbidden in [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "fe80::1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        assert!(!dial(&guard, "hooks.internal", forbidden), "{forbidden}");
    }
}

#[test]
fn a_listed_network_opens_forbidden_addresses_too() {
    let guard = guard(&["127.0.0.0/8", "::1/128", "169.254.169.254/32"], &[]);
    for open in ["127.9.9.9", "::1", "169.254.169.254"] {
        assert!(dial(&guard, "a.example", open), "{open}");
    }
    for closed in ["169.254.169.253", "10.0.0.1", "::ffff:127.0.0.1"] {
        assert!(!dial(&guard, "a.example", closed), "{closed}");
    }
    assert!(accepts(&guard, "http://localhost:9000/"));
}

#[test]
fn every_spelling_of_a_refused_literal_is_refused_at_acceptance() {
    let guard = guard(&[], &[]);
    for url in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http://１２７.０.０.１/",
        "http://⑫7.0.0.1/",
        "http://127。0。0。1/",
        "http://0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://ｌｏｃａｌｈｏｓｔ/",
        "http://a.b.localhost:8080/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "https://192.168.1.1:8443/",
    ] {
        assert!(!accepts(&guard, url), "{url}");
    }
    for url in [
        "https://hooks.example.com/a?b=c",
        "http://8.8.8.8:8080/",
        "http://[2a00:1450:4001::1]/",
        "http://mylocalhost/",
        "http://localhost.example.com/",
        "http://internal/",
    ] {
        assert!(accepts(&guard, url), "{url}");
    }
}

#[test]
fn scheme_and_port_go_by_the_rules() {
    let guard = AddressGuard::new(Rules {
        ports: vec![443],
        https_only: true,
        ..Rules::default()
    });
    let check = |url: &str| guard.check_url(&url.parse().unwrap());
    assert_eq!(check("https://a.example/"), Ok(()));
    assert_eq!(check("http://a.example:443/"), Err(Refused::Scheme));
    assert_eq!(
        check("https://a.example:8443/"),
        Err(Refused::Port { port: 8443 })
    );
    assert_eq!(check("ftp://a.example/"), Err(Refused::NotHttp));
    let public: IpAddr = [8, 8, 8, 8].into();
    assert_eq!(
        guard.check_address("a.example", (public, 80).into()),
        Err(Refused::Port { port: 80 })
    );
}

#[test]
fn the_proxys_own_listeners_are_refused_wherever_they_listen() {
    let public: IpAddr = [8, 8, 8, 8].into();
    let with = |networks: &[&str], own: &str| {
        AddressGuard::new(Rules {
            allow_networks: table(networks),
            own_listeners: vec![(own.parse().unwrap(), 8080)],
            ..Rules::default()
        })
    };
    let exact = with(&[], "8.8.8.8");
    assert!(
        exact
            .check_address("a.example", (public, 8080).into())
            .is_err()
    );
    assert!(
        exact
            .check_address("a.example", (public, 8081).into())
            .is_ok()
    );
    assert!(exact.check_local((public, 8080).into()).is_ok());
    for any in ["0.0.0.0", "::"] {
        let everywhere = with(&[], any);
        assert!(everywhere.listens_everywhere(8080));
        assert!(everywhere.check_local((public, 8080).into()).is_err());
        assert!(everywhere.check_local((public, 8081).into()).is_ok());
        let opened = with(&["8.8.8.8/32"], any);
        assert!(opened.check_local((public, 8080).into()).is_ok());
    }
}

#[test]
fn a_refusal_says_what_it_is_and_what_opens_it() {
    let text = |host: &str| {
        let url = format!("http://{host}/").parse().unwrap();
        guard(&[], &[]).check_url(&url).unwrap_err().to_string()
    };
    assert_eq!(
        text("10.0.0.1"),
        "10.0.0.1 is a private address (RFC 1918); `webhook.allow_hosts` opens it for one name, \
         `webhook.allow_networks` for all"
    );
    assert_eq!(
        text("[::ffff:127.0.0.1]"),
        "127.0.0.1 is a loopback address; only `webhook.allow_networks` opens it"
    );
    assert_eq!(
        text("localhost"),
        "127.0.0.1 is a loopback address; only `webhook.allow_networks` opens it"
    );
}
