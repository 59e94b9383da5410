//! The configuration that `serve --upstream URL` stands for.

use std::path::Path;

use url::{Host, Url};

use super::complaint::Complaint;

/// Its text, as somebody would have written it.
pub(super) fn text(url: &str) -> Result<String, Vec<Complaint>> {
    let wrong = |message: &str| {
        let write =
            "write \"http://127.0.0.1:8000\", \"https://app.internal\" or \"unix:/run/app.sock\"";
        let message = format!("{url:?} {message}; {write}");
        Err(vec![Complaint::about(Path::new("--upstream"), message)])
    };
    if url.starts_with("unix:/") {
        return Ok(around(&format!("peers = [{}]", quoted(url))));
    }
    let Ok(parsed) = Url::parse(url) else {
        return wrong("is no URL");
    };
    let (Some(host), "http" | "https") = (parsed.host(), parsed.scheme()) else {
        return wrong("is no http or https URL");
    };
    if parsed.path() != "/" || parsed.query().is_some() || parsed.fragment().is_some() {
        return wrong("has more than scheme, host and port: paths are passed on as they come");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return wrong("has user info: credentials are the callers'");
    }
    let port = parsed.port_or_known_default().unwrap_or(80);
    let peers = format!("peers = [{}]", quoted(&format!("{host}:{port}")));
    Ok(around(&match (parsed.scheme(), host) {
        ("https", Host::Domain(name)) => format!("{peers}\ntls = {{ sni = {} }}", quoted(name)),
        ("https", _) => format!("{peers}\ntls = {{}}"),
        _ => peers,
    }))
}

fn around(upstream: &str) -> String {
    format!("[upstream.app]\n{upstream}\n[[route]]\nupstream = \"app\"\n[route.async]\n")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
