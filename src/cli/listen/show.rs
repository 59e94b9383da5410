//! A delivery as a person reads it.

use std::net::SocketAddr;

use super::{arrived::Arrived, body};
use crate::model::signature::Checks;

/// What is said before the first delivery.
pub(super) fn greeting(address: SocketAddr, checks: &Checks) -> String {
    let hint = if checks.is_empty() {
        "; nothing is verified: give --secret, --public-key or --webhook-secret"
    } else {
        ""
    };
    format!("listening on http://{address}{hint}")
}

/// Some lines. Nothing that came can end a line, move the cursor or look like a line of ours: all of it is escaped,
/// and the body's lines are marked.
pub(super) fn text(arrived: &Arrived) -> String {
    let (at, method, from) = (arrived.at, arrived.method.as_str(), arrived.from);
    let target = body::escaped(&arrived.target.to_string());
    let mut lines = vec![format!(
        "{at} {} {target} from {from}",
        body::escaped(method)
    )];
    lines.extend(about_run(arrived));
    lines.push(format!("  signature: {}", arrived.verdict));
    let length = arrived.body.len();
    if length == 0 {
        lines.push("  no body".to_owned());
    } else {
        let kind = arrived.header("content-type");
        let kind = kind.map_or_else(|| "no content-type".to_owned(), |kind| body::escaped(&kind));
        let coding = arrived.header("content-encoding");
        let coding = coding.map_or_else(String::new, |coding| {
            format!(", {}", body::escaped(&coding))
        });
        lines.push(format!("  {kind}{coding}, {length} bytes"));
        lines.extend(body::lines(&arrived.body).map(|line| format!("  | {line}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn about_run(arrived: &Arrived) -> Option<String> {
    let header = |name: &str| arrived.header(name).map(|text| body::escaped(&text));
    let run = header("raincheck-run-id")?;
    let mut line = format!("  run {run}");
    if let Some(state) = header("raincheck-run-state") {
        line += &format!(" {state}");
    }
    if let Some(reason) = header("raincheck-run-reason") {
        line += &format!(" ({reason})");
    }
    if let Some(status) = header("raincheck-upstream-status") {
        line += &format!(", upstream status {status}");
    }
    if let Some(attempt) = header("raincheck-delivery-attempt") {
        line += &format!(", attempt {attempt}");
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::model::{signature::Verdict, time::Timestamp};

    fn arrived(headers: &[(&'static str, &[u8])], body: &'static [u8]) -> Arrived {
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        Arrived {
            at: Timestamp::from_millis(1_700_000_000_123),
            from: "127.0.0.1:5000".parse().unwrap(),
            method: "POST".parse().unwrap(),
            target: "/hook?a=1".parse().unwrap(),
            headers: HeaderMap::from_iter(headers),
            body: body.into(),
            verdict: Verdict::Verified("v1"),
            trusted: true,
        }
    }

    #[test]
    fn a_delivery_is_shown_with_its_run_its_verdict_and_its_body() {
        let headers: [(_, &[u8]); 6] = [
            ("raincheck-run-id", b"0199"),
            ("raincheck-run-state", b"failed"),
            ("raincheck-run-reason", b"upstream_status"),
            ("raincheck-upstream-status", b"500"),
            ("raincheck-delivery-attempt", b"2"),
            ("content-type", b"application/json"),
        ];
        let expected = "2023-11-14T22:13:20.123Z POST /hook?a=1 from 127.0.0.1:5000\n\
                        \x20 run 0199 failed (upstream_status), upstream status 500, attempt 2\n\
                        \x20 signature: verified (v1)\n\
                        \x20 application/json, 7 bytes\n\
                        \x20 | {\n\
                        \x20 |   \"a\": 1\n\
                        \x20 | }\n";
        assert_eq!(text(&arrived(&headers, b"{\"a\":1}")), expected);
    }

    #[test]
    fn nothing_hostile_reaches_the_terminal() {
        let headers: [(_, &[u8]); 2] = [
            ("raincheck-run-id", b"a\xc2\x9b31mb"),
            ("content-type", b"text/\xe2\x80\xaeplain"),
        ];
        let body = b"\x1b]0;owned\x07\r\n  signature: verified (v1)\nover\rwritten\x7f\n";
        let shown = text(&arrived(&headers, body));
        let wild = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(wild), "{shown:?}");
        let verdicts = shown
            .lines()
            .filter(|line| line.starts_with("  signature:"));
        assert_eq!(verdicts.count(), 1, "{shown}");
    }

    #[test]
    fn what_came_is_one_line_of_json() {
        let headers: [(_, &[u8]); 1] = [("x-any", b"\xff")];
        let line = arrived(&headers, b"\x00\xff").json();
        assert_eq!(line.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["body_base64"], "AP8=");
        assert_eq!(json["headers"]["x-any"], "\u{fffd}");
        assert_eq!(json["signature"]["verdict"], "verified");
        assert_eq!(json["run_id"], serde_json::Value::Null);
    }
}
