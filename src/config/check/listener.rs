//! `[[listener]]`.

use std::net::{IpAddr, SocketAddr};

use crate::config::{
    Admin, CertificateFiles, Listener,
    file::Section,
    secret::{certificates, private_key},
    value::{Converted, Value, boolean, is_host_name, mistyped, text, wrong},
};

/// All listeners; where none is written, the default one.
pub(super) fn read(root: &Section<'_>, admin: &Admin) -> Vec<Listener> {
    let mut sections = root.list("listener");
    if !root.has("listener") {
        sections.push(root.section("listener"));
    }
    let mut taken = vec![(admin.address.clone(), "the admin listener")];
    let mut listeners = Vec::new();
    for section in &sections {
        let listener = one(section);
        if section.is_right("address")
            && let Some((other, whose)) = taken
                .iter()
                .find(|(other, _)| collide(other, &listener.address))
        {
            let message = format!(
                "{} is taken by {whose} on {other}; write another port",
                listener.address
            );
            section.complain("address", message);
        }
        taken.push((listener.address.clone(), "another listener"));
        listeners.push(listener);
    }
    listeners
}

fn one(section: &Section<'_>) -> Listener {
    let h2c = section.get("h2c", boolean);
    let tls = section.child("tls");
    if h2c && tls.is_some() {
        section.complain("h2c", "is for listeners without tls; leave it out, over TLS clients choose HTTP/2 by themselves");
    }
    let tls = tls.and_then(|tls| {
        let cert = tls.required("cert", "\"cert.pem\"", certificates(tls.reading));
        let key = tls.required("key", "\"key.pem\"", private_key(tls.reading));
        Some(CertificateFiles {
            cert: cert?,
            key: key?,
        })
    });
    Listener {
        address: section.get("address", address),
        tls,
        h2c,
    }
}

/// `host:port`, where the host is an IP literal or a name.
pub(super) fn address(value: &Value<'_>) -> Converted<String> {
    let written = text(value)?;
    let is_named = || {
        written.rsplit_once(':').is_some_and(|(host, port)| {
            is_host_name(host) && !looks_like_ip(host) && port.parse::<u16>().is_ok()
        })
    };
    if written.parse::<SocketAddr>().is_ok() || is_named() {
        Ok(written.to_owned())
    } else {
        let write = "an address and a port, \"0.0.0.0:8080\" or \"[::]:8080\"";
        wrong(value, mistyped(value, "an address to listen on", write))
    }
}

/// Digits and dots alone: no name has them, only a mistyped address.
pub(super) fn looks_like_ip(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

pub(super) fn is_loopback(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => address.starts_with("localhost:"),
    }
}

/// Whether two listeners want the same port of the same address. Port 0 is any that is free.
fn collide(one: &str, other: &str) -> bool {
    match (split(one), split(other)) {
        (Some((ip, port)), Some((other_ip, other_port))) => {
            let same = ip == other_ip
                || (ip.is_ipv4() == other_ip.is_ipv4()
                    && (ip.is_unspecified() || other_ip.is_unspecified()));
            port != 0 && port == other_port && same
        }
        _ => one == other && !one.ends_with(":0"),
    }
}

/// Address and port; `localhost` is the loopback of IPv4.
pub(super) fn split(address: &str) -> Option<(IpAddr, u16)> {
    let address = address.replacen("localhost:", "127.0.0.1:", 1);
    let address: SocketAddr = address.parse().ok()?;
    Some((address.ip(), address.port()))
}
