//! Where a request would go: its face or its route, by the configuration alone.

use std::sync::Arc;

use pingora::protocols::http::ServerSession;

use super::{forwarding, head, routes::RouteTable};
use crate::{
    config::{Config, Route},
    model::{dialect::openwhisk::resource, exchange::path, problem::Problem},
};

/// Where a request would go.
#[derive(Debug)]
pub enum Way {
    /// To the resources below the public prefix.
    Public,
    /// To OpenWhisk's API.
    OpenWhisk,
    /// To a route.
    Route(Arc<Route>),
    /// Nowhere.
    NoRoute,
}

/// Finds a request's way, in the order in which the proxy looks.
///
/// # Errors
/// The problem that its caller would be told.
pub fn way(config: &Config, session: &mut ServerSession) -> Result<Way, Problem> {
    head::check(session)?;
    let request = session.req_header();
    let host = forwarding::host(request);
    let host = host.as_ref().map_or(&b""[..], |host| host.as_bytes());
    let path = path::of_target(request.raw_path());
    let below = |prefix: &str| {
        let rest = path.strip_prefix(prefix.as_bytes());
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    };
    let prefix = &config.server.public_prefix;
    if !prefix.is_empty() && below(prefix) {
        return Ok(Way::Public);
    }
    if !config.namespaces.is_empty() && resource::owns(path) {
        return Ok(Way::OpenWhisk);
    }
    let routes = config.routes.iter();
    let table = RouteTable::new(
        routes.map(|route| (route.host.clone(), route.path.clone(), Arc::clone(route))),
    );
    let found = table.find(host, path).map(Arc::clone);
    Ok(found.map_or(Way::NoRoute, Way::Route))
}
