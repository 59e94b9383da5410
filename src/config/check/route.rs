//! `[[route]]`.

use super::{Reader, run, webhook::Common};
use crate::{
    config::{
        Limits, Route, Server, Upstream, WebhookClient,
        file::Section,
        value::{Converted, Value, host_name, mistyped, name, text, wrong},
    },
    model::dialect::openfaas,
};

/// What the routes need of the rest.
pub(super) struct Shared<'a> {
    pub(super) reader: Reader,
    pub(super) server: &'a Server,
    pub(super) limits: &'a Limits,
    pub(super) client: &'a WebhookClient,
    pub(super) common: &'a Common,
    /// None if they are wrong as a whole, which is complained about already.
    pub(super) upstreams: Option<&'a [Upstream]>,
}

/// All routes; none if there was none, and no namespace either.
pub(super) fn read(root: &Section<'_>, shared: &Shared<'_>) -> Option<Vec<Route>> {
    let sections = root.list("route");
    if sections.is_empty() {
        if root.has("openwhisk") && !root.has("route") {
            return Some(Vec::new());
        }
        if !root.has("route") {
            root.complain(
                "route",
                "there is none; write [[route]] and upstream = \"app\"",
            );
        }
        return None;
    }
    let mut routes: Vec<Route> = Vec::new();
    for section in &sections {
        let Some(route) = one(section, shared) else {
            continue;
        };
        if routes.iter().any(|other| other.name == route.name) {
            section.complain(
                "name",
                format!(
                    "{:?} is the name of two routes; give each its own `name`",
                    route.name
                ),
            );
        }
        let right = section.is_right("path") && section.is_right("host");
        if right
            && routes
                .iter()
                .any(|other| other.host == route.host && other.path == route.path)
        {
            let host = route.host.as_deref().unwrap_or("any host");
            section.complain(
                "path",
                format!(
                    "two routes answer to {host} and {:?}; write another `host` or `path`",
                    route.path
                ),
            );
        }
        routes.push(route);
    }
    Some(routes)
}

fn one(section: &Section<'_>, shared: &Shared<'_>) -> Option<Route> {
    let upstream = upstream(section, shared);
    let written = section.optional("name", name);
    let name = written.or_else(|| upstream.clone().filter(|name| !name.is_empty()));
    if name.is_none() && shared.reader == Reader::Host && !section.has("name") {
        section.complain("name", "is missing; write name = \"app\"");
    }
    let path = section.get("path", path);
    let prefix = &shared.server.public_prefix;
    if !prefix.is_empty() && (path == *prefix || path.starts_with(&format!("{prefix}/"))) {
        section.complain("path", format!("{path:?} is below `server.public_prefix`, where runs are looked at; write another path, or another prefix"));
    }
    let asynchronous = section.child("async");
    let webhook = section.child("webhook");
    if asynchronous.is_none() && !section.has("async") && webhook.is_some() {
        section.complain(
            "webhook",
            "has no effect on a route without runs; write [route.async] too",
        );
    }
    let common = webhook.map(|webhook| {
        shared
            .common
            .of_route(&webhook, shared.client, shared.server)
    });
    let run = asynchronous.map(|section| {
        let label = name.clone().unwrap_or_default();
        run::read(
            &section,
            label,
            common.as_ref().unwrap_or(shared.common),
            shared.limits,
        )
    });
    let functions = run
        .as_ref()
        .is_some_and(|run| run::is_spoken(&run.dialects, openfaas::NAME));
    if functions && !has_functions(&path) {
        section.complain(
            "path",
            format!("{path:?} is never met by calls of functions, which are below \"/async-function\"; write \"/\" or \"/async-function\", or leave \"openfaas\" out"),
        );
    }
    let host = section.optional("host", host_name);
    Some(Route {
        name: name?,
        host,
        path,
        upstream: upstream?,
        run: run.map(Into::into),
    })
}

/// Whether requests of the openfaas dialect come by a route with this path.
fn has_functions(path: &str) -> bool {
    path == "/"
        || path
            .strip_prefix(openfaas::PREFIX)
            .is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// The upstream's name; empty where a host may leave it out.
pub(super) fn upstream(section: &Section<'_>, shared: &Shared<'_>) -> Option<String> {
    if shared.reader == Reader::Host {
        return Some(section.optional("upstream", name).unwrap_or_default());
    }
    let known = shared.upstreams.unwrap_or_default();
    let example = known.first().map_or("app", |upstream| &upstream.name);
    let upstream = section.required("upstream", &format!("{example:?}"), name)?;
    if shared.upstreams.is_some() && known.iter().all(|other| other.name != upstream) {
        let all: Vec<_> = known
            .iter()
            .map(|other| format!("{:?}", other.name))
            .collect();
        section.complain(
            "upstream",
            format!(
                "there is no [upstream.{upstream}]; write {}",
                all.join(" or ")
            ),
        );
    }
    Some(upstream)
}

/// A path prefix, without a slash at the end unless it is all.
fn path(value: &Value<'_>) -> Converted<String> {
    let path = text(value)?;
    let plain = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
    let decoded = path.to_ascii_lowercase().replace("%2e", ".");
    let dots = decoded
        .split('/')
        .any(|segment| matches!(segment, "." | ".."));
    if !path.starts_with('/') || !plain || dots || path.contains("//") {
        let write = "a path that begins with a slash, \"/api\", percent-encoded as in requests, without \"..\", query or fragment";
        return wrong(value, mistyped(value, "a path prefix", write));
    }
    match path.trim_end_matches('/') {
        "" => Ok("/".to_owned()),
        path => Ok(path.to_owned()),
    }
}
