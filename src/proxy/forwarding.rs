//! What the proxy changes in heads on their way: `X-Forwarded-*` on requests, `Raincheck-*` on both.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::{RequestHeader, ResponseHeader};

const FORWARDED_FOR: &str = "X-Forwarded-For";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED_HOST: &str = "X-Forwarded-Host";
const OURS: &[u8] = b"raincheck-";

/// Who sent a request, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    /// The connection's other end.
    pub(super) address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub(super) tls: bool,
}

/// Sets `X-Forwarded-For`, `-Proto` and `-Host`. Received ones are appended to, or kept, only if the sender is in
/// `trusted`; else they are replaced.
///
/// # Errors
/// Never: the values are valid.
pub(super) fn forward(
    request: &mut RequestHeader,
    sender: Sender,
    trusted: &[IpNet],
) -> pingora::Result<()> {
    let ip = sender.address.map(|address| address.ip().to_canonical());
    let trust = ip.is_some_and(|ip| trusted.iter().any(|network| network.contains(&ip)));
    set_for(request, ip, trust)?;
    if !(trust && request.headers.contains_key(FORWARDED_PROTO_KEY)) {
        let scheme = if sender.tls { "https" } else { "http" };
        request.insert_header(FORWARDED_PROTO, HeaderValue::from_static(scheme))?;
    }
    if !(trust && request.headers.contains_key(FORWARDED_HOST_KEY)) {
        match host(request) {
            Some(host) => request.insert_header(FORWARDED_HOST, host)?,
            None => drop(request.remove_header(FORWARDED_HOST_KEY)),
        }
    }
    Ok(())
}

const FORWARDED_FOR_KEY: &str = "x-forwarded-for";
const FORWARDED_PROTO_KEY: &str = "x-forwarded-proto";
const FORWARDED_HOST_KEY: &str = "x-forwarded-host";

fn set_for(request: &mut RequestHeader, ip: Option<IpAddr>, trust: bool) -> pingora::Result<()> {
    let Some(ip) = ip else {
        if !trust {
            request.remove_header(FORWARDED_FOR_KEY);
        }
        return Ok(());
    };
    let mut list = Vec::with_capacity(40);
    if trust {
        for received in request.headers.get_all(FORWARDED_FOR_KEY) {
            list.extend_from_slice(received.as_bytes());
            list.extend_from_slice(b", ");
        }
    }
    write_ip(&mut list, ip);
    request.insert_header(FORWARDED_FOR, list)
}

fn write_ip(list: &mut Vec<u8>, ip: IpAddr) {
    use std::io::Write;
    // Writing to memory does not fail.
    let _ = write!(list, "{ip}");
}

/// The request's authority as it was sent: the `Host` header, or HTTP/2's `:authority`.
pub(super) fn host(request: &RequestHeader) -> Option<HeaderValue> {
    match request.headers.get(http::header::HOST) {
        Some(host) => Some(host.clone()),
        None => HeaderValue::from_str(request.uri.authority()?.as_str()).ok(),
    }
}

/// Takes a caller's `Raincheck-*` headers out of a request.
pub(super) fn strip_request(request: &mut RequestHeader) {
    while let Some(name) = ours(&request.headers) {
        request.remove_header(&name);
    }
}

/// Takes an upstream's `Raincheck-*` headers out of a response: they are ours to set.
pub(super) fn strip_response(response: &mut ResponseHeader) {
    while let Some(name) = ours(&response.headers) {
        response.remove_header(&name);
    }
}

fn ours(headers: &HeaderMap) -> Option<HeaderName> {
    headers
        .keys()
        .find(|name| name.as_str().as_bytes().starts_with(OURS))
        .cloned()
}

#[cfg(test)]
mod tests;
