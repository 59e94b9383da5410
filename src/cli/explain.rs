//! `raincheck explain`: what would happen to a request, step by step. The program's own checks judge it; nothing is
//! sent, resolved or stored.

mod told;

use std::path::PathBuf;

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use url::Url;

use super::{Exit, Failure, Screen, check};
use crate::{
    config::Config,
    executor::upstream::session_of,
    gate::rehearsal,
    model::problem::Problem,
    proxy::rehearsal::{self as ways, Way},
};

/// The request, as for curl.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = check::DEFAULT_FILE)]
    config: PathBuf,
    /// The method; POST with a body, else GET.
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// A header line, `Name: value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,
    /// The body; only its length counts.
    #[arg(short = 'd', long, value_name = "TEXT")]
    data: Option<String>,
    /// The length of a body that is too long to write, in bytes.
    #[arg(long, value_name = "BYTES", conflicts_with = "data")]
    length: Option<u64>,
    /// The address that the request comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "203.0.113.7")]
    from: std::net::IpAddr,
    /// Where the caller sends it: `https://api.example.com/report?async=true`, or the path alone.
    url: String,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let config = check::load(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed.because(format!("no thread can be started: {error}")))?;
    let request = Request::of(arguments)?;
    let session = session_of(request.head, (arguments.from, 50_000).into(), request.tls);
    let Some(mut session) = runtime.block_on(session) else {
        let why =
            "the request is malformed: a proxy would answer a bare 400 and close the connection";
        return Err(Exit::Failed.because(why));
    };
    write!(screen.out, "{}", explain(&config, &mut session))?;
    Ok(())
}

/// The request as its caller would write it.
struct Request {
    head: Bytes,
    tls: bool,
}

impl Request {
    fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let wrong = |message: String| Exit::Usage.because(message);
        let (tls, host, target) = split(&arguments.url).map_err(wrong)?;
        let length = match &arguments.data {
            Some(data) => Some(data.len() as u64),
            None => arguments.length,
        };
        let method = arguments.method.as_deref();
        let method = method.unwrap_or(if length.is_some() { "POST" } else { "GET" });
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        let mut has_host = false;
        for line in &arguments.headers {
            let Some((name, value)) = line.split_once(':') else {
                return Err(wrong(format!(
                    "{line:?} is no header line; write 'Name: value'"
                )));
            };
            if line.contains(['\r', '\n']) {
                return Err(wrong(
                    "a header line has a line break in it; write one -H for each".into(),
                ));
            }
            has_host |= name.eq_ignore_ascii_case("host");
            head += &format!("{name}: {}\r\n", value.trim());
        }
        if !has_host {
            head += &format!("Host: {host}\r\n");
        }
        if let Some(length) = length {
            head += &format!("Content-Length: {length}\r\n");
        }
        head += "\r\n";
        Ok(Self {
            head: head.into(),
            tls,
        })
    }
}

/// Scheme, authority and target of a URL; the target stays as it was written.
fn split(url: &str) -> Result<(bool, String, String), String> {
    let wrong =
        || format!("{url:?} is no http or https URL and no path; write \"/report?async=true\"");
    if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!(
            "{url:?} has white space or control characters; percent-encode them"
        ));
    }
    if url.starts_with('/') {
        return Ok((false, "localhost".to_owned(), url.to_owned()));
    }
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let tls = match parsed.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(wrong()),
    };
    let rest = url
        .split_once("://")
        .map(|(_, rest)| rest)
        .ok_or_else(wrong)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    let target = target.split('#').next().unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((tls, host.to_owned(), format!("{slash}{target}")))
}

fn explain(config: &Config, session: &mut ServerSession) -> String {
    let way = match ways::way(config, session) {
        Ok(way) => way,
        Err(problem) => return told::refused(&problem),
    };
    match way {
        Way::Public => told::steps(&[(
            "answered here",
            format!(
                "{} is where runs are looked at",
                config.server.public_prefix
            ),
        )]),
        Way::OpenWhisk => told::steps(&[(
            "answered here",
            "OpenWhisk's API: /api/v1 belongs to the namespaces of the configuration".to_owned(),
        )]),
        Way::NoRoute => told::no_route(config),
        Way::Route(route) => {
            let mut text = told::route(config, &route);
            let Some(settings) = &route.run else {
                text += &told::steps(&[(
                    "passed through",
                    "the route has no [route.async]".to_owned(),
                )]);
                return text;
            };
            text += &match rehearsal::foresee(config, session, settings) {
                Ok(foreseen) => told::foreseen(config, settings, session, &foreseen),
                Err(problem) => told::refused(&problem),
            };
            text
        }
    }
}

/// The code and the sentence of a problem.
fn problem(problem: &Problem) -> String {
    format!(
        "{} {}: {}",
        problem.code.status(),
        problem.code.as_str(),
        problem.detail
    )
}
