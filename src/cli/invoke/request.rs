//! The request that a run is asked for, from the arguments of the command line.

use std::{
    fs,
    io::{self, Read},
    time::Duration,
};

use clap::Args;
use http::{
    HeaderName, HeaderValue, Method,
    header::{CONTENT_TYPE, HeaderMap},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Body, Request};
use url::Url;

use crate::cli::{Exit, Failure, body};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What to ask for.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The URL; its query goes to the application as it is.
    #[arg(value_parser = url)]
    url: Url,
    /// The method [default: GET, with --data POST].
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// A header line, any number of them.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body: text, @FILE, or @- for stdin. Without a Content-Type of your own it is application/json if it is
    /// JSON, otherwise application/x-www-form-urlencoded.
    #[arg(short, long)]
    data: Option<String>,
    /// Have the response sent to this URL too.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Print the run's id and leave.
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Wait no longer than this; the run goes on.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
    /// No spinner, and no word of how it ended but the exit code.
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Print the run's record and the response as one JSON document.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) to: body::To,
}

impl Arguments {
    /// The request. Reads the body's file or stdin.
    pub(super) fn request(&self) -> Result<Request, Failure> {
        let default = if self.data.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let method = self.method.clone().unwrap_or(default);
        let mut request = Request::new(method, self.target());
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        headers.append("prefer", HeaderValue::from_static("respond-async"));
        if let Some(data) = &self.data {
            let body = read(data)?;
            headers.entry(CONTENT_TYPE).or_insert_with(|| kind(&body));
            *request.body_mut() = Some(Body::from(body));
        }
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Whether the caller's own preference leaves time for an answer in place of a 202.
    pub(super) fn gives_time(&self) -> bool {
        let mut lines = self.headers.iter().filter(|(name, _)| name == "prefer");
        lines.any(|(_, line)| line.to_str().is_ok_and(|line| line.contains("wait=")))
    }

    fn target(&self) -> Url {
        let mut url = self.url.clone();
        if let Some(webhook) = &self.webhook {
            let parameter = format!("webhookEndpoint={}", utf8_percent_encode(webhook, RESERVED));
            let query = match url.query() {
                None | Some("") => parameter,
                Some(query) => format!("{query}&{parameter}"),
            };
            url.set_query(Some(&query));
        }
        url
    }
}

fn read(data: &str) -> Result<Vec<u8>, Failure> {
    let Some(file) = data.strip_prefix('@') else {
        return Ok(data.as_bytes().to_vec());
    };
    let mut body = Vec::new();
    let read = if file == "-" {
        io::stdin().lock().read_to_end(&mut body).map(|_| body)
    } else {
        fs::read(file)
    };
    read.map_err(|error| Exit::Usage.because(format!("--data {data} cannot be read: {error}")))
}

fn kind(body: &[u8]) -> HeaderValue {
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    HeaderValue::from_static(if json {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    })
}

fn url(text: &str) -> Result<Url, &'static str> {
    const WRONG: &str = "it must be a whole URL, like http://127.0.0.1:8080/report";
    let url = Url::parse(text).map_err(|_| WRONG)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(WRONG)
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text
        .split_once(':')
        .ok_or("it must be like 'Name: value'")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| "its name is no header name")?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| "its value has characters that no header can hold")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        let line = Line::try_parse_from([&["invoke"], words].concat());
        line.map(|line| line.arguments)
            .map_err(|error| error.to_string())
    }

    fn request(words: &[&str]) -> Request {
        parse(words).unwrap().request().unwrap()
    }

    fn sent(words: &[&str]) -> (String, String, Vec<u8>) {
        let request = request(words);
        let body = request
            .body()
            .and_then(Body::as_bytes)
            .unwrap_or_default()
            .to_vec();
        (
            request.method().to_string(),
            request.url().to_string(),
            body,
        )
    }

    #[test]
    fn methods_and_bodies_are_as_curl_has_them() {
        let url = "http://x/y?a=%20b+c&async";
        assert_eq!(sent(&[url]), ("GET".into(), url.into(), vec![]));
        assert_eq!(
            sent(&[url, "-d", "{}"]),
            ("POST".into(), url.into(), b"{}".to_vec())
        );
        let put = sent(&["-X", "PUT", "-d", "", url]);
        assert_eq!(put, ("PUT".into(), url.into(), vec![]));
        let kinds = ["{}", "a=b", ""].map(|data| {
            request(&[url, "-d", data]).headers()[CONTENT_TYPE]
                .to_str()
                .unwrap()
                .to_owned()
        });
        let form = "application/x-www-form-urlencoded";
        assert_eq!(kinds, ["application/json", form, form]);
        let own = request(&[url, "-d", "{}", "-H", "content-type:text/x"]);
        assert_eq!(
            own.headers()
                .get_all(CONTENT_TYPE)
                .iter()
                .collect::<Vec<_>>(),
            ["text/x"]
        );
    }

    #[test]
    fn a_file_is_sent_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("body");
        fs::write(&file, b"\xff\r\n\0").unwrap();
        let data = format!("@{}", file.display());
        assert_eq!(sent(&["http://x", "--data", &data]).2, b"\xff\r\n\0");
        let failure = parse(&["http://x", "-d", "@/no/such/file"])
            .unwrap()
            .request()
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.message.contains("/no/such/file"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn the_preference_stands_beside_the_callers_own() {
        let request = request(&[
            "http://x",
            "-H",
            "Prefer: wait=2",
            "-H",
            "A: 1",
            "-H",
            "a:2",
            "-H",
            "e:",
        ]);
        let all = |name: &str| request.headers().get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("prefer"), ["wait=2", "respond-async"]);
        assert_eq!(all("a"), ["1", "2"]);
        assert_eq!(all("e"), [""]);
    }

    #[test]
    fn a_webhook_is_encoded_and_the_query_left_alone() {
        let encoded = "webhookEndpoint=https%3A%2F%2Fh.example%2F%3Fa%3D1%26b%2B~";
        for (query, whole) in [
            ("", format!("?{encoded}")),
            ("?", format!("?{encoded}")),
            ("?a=%2f&b", format!("?a=%2f&b&{encoded}")),
        ] {
            let url = format!("http://x/{query}");
            let (_, sent, _) = sent(&[&url, "--webhook", "https://h.example/?a=1&b+~"]);
            assert_eq!(sent, format!("http://x/{whole}"));
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_an_example() {
        for (words, hint) in [
            (&["x"][..], "http://127.0.0.1"),
            (&["/report"], "http://127.0.0.1"),
            (&["ftp://x"], "http://127.0.0.1"),
            (&["http://x", "-H", "a"], "Name: value"),
            (&["http://x", "-H", "a b: c"], "header name"),
            (&["http://x", "-H", "a: b\nc: d"], "no header can hold"),
            (&["http://x", "-X", "A B"], "A B"),
            (&["http://x", "--timeout", "soon"], "soon"),
            (&["http://x", "--json", "-i"], "cannot be used with"),
            (&["http://x", "-d", "a", "-d", "b"], "multiple times"),
            (&[], "required"),
        ] {
            let said = parse(words).unwrap_err();
            assert!(said.contains(hint), "{words:?}: {said}");
        }
    }
}
