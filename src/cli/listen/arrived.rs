//! One delivery as it came, and what the program says of it as JSON.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, Uri},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::model::{signature::Verdict, time::Timestamp};

/// One delivery.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) at: Timestamp,
    pub(super) from: SocketAddr,
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) verdict: Verdict,
    /// Whether it is genuine, or nothing was given to verify by.
    pub(super) trusted: bool,
}

impl Arrived {
    /// A header's value as text; none if it is not there.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.get_all(name).iter().peekable();
        values.peek()?;
        let texts: Vec<_> = values
            .map(|v| String::from_utf8_lossy(v.as_bytes()))
            .collect();
        Some(texts.join(", "))
    }

    /// One line: everything that came, nothing cut.
    pub(super) fn json(&self) -> String {
        let names = self.headers.keys().map(|name| name.as_str());
        let headers: BTreeMap<_, _> = names.map(|name| (name, self.header(name))).collect();
        let (verdict, detail) = match self.verdict {
            Verdict::Verified(kind) => ("verified", kind.to_owned()),
            Verdict::Wrong(why) => ("wrong", why.to_string()),
            Verdict::Unchecked => ("unchecked", String::new()),
            Verdict::Unsigned => ("unsigned", String::new()),
        };
        let number = |name| self.header(name).and_then(|text| text.parse::<u32>().ok());
        let mut line = json!({
            "time": self.at,
            "from": self.from,
            "method": self.method.as_str(),
            "target": self.target.to_string(),
            "run_id": self.header("raincheck-run-id"),
            "state": self.header("raincheck-run-state"),
            "reason": self.header("raincheck-run-reason"),
            "upstream_status": number("raincheck-upstream-status"),
            "attempt": number("raincheck-delivery-attempt"),
            "signature": { "verdict": verdict, "detail": detail },
            "headers": headers,
            "bytes": self.body.len(),
        });
        match str::from_utf8(&self.body) {
            Ok(text) => line["body"] = text.into(),
            Err(_) => line["body_base64"] = BASE64_STANDARD.encode(&self.body).into(),
        }
        format!("{line}\n")
    }
}
