//! `[openwhisk.namespaces.*]`: each is a route of its own, to which the API leads and no path does.

use std::{sync::Arc, time::Duration};

use super::{route, run};
use crate::{
    config::{
        Namespace, Route,
        file::Section,
        secret::secret,
        value::{Converted, NAME_RULE, Value, duration, is_name, list, text, wrong},
    },
    model::{
        dialect::openwhisk::{
            PREFIX,
            action_path::{ActionPath, InvalidActionPath},
            resource,
        },
        secret::Secret,
    },
};

/// The longest that a blocking invocation may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

pub(super) fn read(root: &Section<'_>, shared: &route::Shared<'_>) -> Vec<Arc<Namespace>> {
    let Some(section) = root.child("openwhisk") else {
        return Vec::new();
    };
    let prefix = &shared.server.public_prefix;
    if prefix == "/api" || resource::owns(prefix.as_bytes()) {
        let message = format!(
            "its API is at {PREFIX}, and `server.public_prefix` is {prefix:?}; write another prefix"
        );
        root.complain("openwhisk", message);
    }
    let routes = root.example("route");
    let keys = routes.example("async");
    let mut namespaces = Vec::new();
    for (name, namespace) in section.named("namespaces") {
        if !is_name(&name) || matches!(name.as_str(), "_" | "." | "..") {
            let message =
                format!("is no name of a namespace; write {NAME_RULE}, and not only \"_\"");
            section.complain_at_name("namespaces", &name, &message);
        }
        namespaces.extend(one(name, &namespace.with_keys_of(&keys), shared));
    }
    namespaces
}

fn one(name: String, section: &Section<'_>, shared: &route::Shared<'_>) -> Option<Arc<Namespace>> {
    let upstream = route::upstream(section, shared);
    let label = format!("openwhisk/{name}");
    let webhook = section.child("webhook");
    let common = webhook.map(|webhook| {
        shared
            .common
            .of_route(&webhook, shared.client, shared.server)
    });
    let common = common.as_ref().unwrap_or(shared.common);
    let settings = Arc::new(run::read(section, label.clone(), common, shared.limits));
    let path = section.get("path", path);
    let credentials = section.optional("credentials", list(credential(section)));
    let blocking_wait = section.get(
        "blocking_wait",
        duration(Duration::from_millis(1)..=LONGEST_WAIT),
    );
    let route = Route {
        name: label,
        host: None,
        path: String::new(),
        upstream: upstream?,
        run: Some(Arc::clone(&settings)),
    };
    Some(Arc::new(Namespace {
        name,
        route: Arc::new(route),
        settings,
        path,
        credentials: credentials.unwrap_or_default(),
        blocking_wait,
    }))
}

fn path(value: &Value<'_>) -> Converted<ActionPath> {
    let written = text(value)?.parse();
    written.or_else(|error: InvalidActionPath| wrong(value, error.to_string()))
}

fn credential<'s>(section: &'s Section<'_>) -> impl Fn(&Value<'_>) -> Converted<Secret> + 's {
    let secret = secret(section.reading);
    move |value| {
        let written = secret(value)?;
        match written.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                Ok(Secret::new(written.into_bytes()))
            }
            _ => wrong(
                value,
                "is no user and password; write \"user:password\", as clients have it as their key",
            ),
        }
    }
}
