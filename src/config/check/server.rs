//! `[server]`.

use std::{num::NonZero, time::Duration};

use url::Url;

use crate::config::{
    Server,
    file::Section,
    value::{Converted, Value, boolean, count, duration, list, mistyped, network, text, wrong},
};

/// The longest that anything which is under way may take.
pub(super) const HALF_A_DAY: Duration = Duration::from_secs(12 * 3600);

pub(super) fn read(section: &Section<'_>) -> Server {
    let threads = match section.get("threads", count(0..=1024)) {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    Server {
        threads,
        public_prefix: section.get("public_prefix", prefix),
        public_url: section.get("public_url", public_url),
        trusted_proxies: section.get("trusted_proxies", list(network)),
        drain_timeout: section.get("drain_timeout", duration(Duration::ZERO..=HALF_A_DAY)),
        shutdown_delay: section.get("shutdown_delay", duration(Duration::ZERO..=HALF_A_DAY)),
        access_log: section.get("access_log", boolean),
    }
}

fn prefix(value: &Value<'_>) -> Converted<String> {
    let prefix = text(value)?;
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    match prefix.strip_prefix('/') {
        None if prefix.is_empty() => Ok(String::new()),
        Some(rest) if rest.split('/').all(segment) => Ok(prefix.to_owned()),
        Some(_) | None => {
            let write = "\"/_raincheck\" or the like, without a slash at the end, or \"\" for none";
            wrong(value, mistyped(value, "a path of its own", write))
        }
    }
}

fn public_url(value: &Value<'_>) -> Converted<String> {
    let written = text(value)?;
    if written.is_empty() {
        return Ok(String::new());
    }
    let origin = Url::parse(written).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    match origin {
        Some(url) => Ok(url.origin().ascii_serialization()),
        None => {
            let write = "scheme and host, \"https://api.example.com\", without a path, or \"\"";
            wrong(value, mistyped(value, "a base for links", write))
        }
    }
}
