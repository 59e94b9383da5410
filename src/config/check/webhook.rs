//! `[webhook]`, and `[route.webhook]` over it.

use std::time::Duration;

use url::Url;

use super::server::HALF_A_DAY;
use crate::{
    config::{
        CallerEndpoints, RouteWebhook, Server, WebhookClient,
        file::Section,
        secret::secret,
        value::{
            Converted, LONGEST, Value, boolean, count, duration, host_name, list, network, one_of,
            port, size, some, wrong,
        },
    },
    model::{
        policy::{WebhookBody, WebhookPolicy},
        run::RunState,
        secret::Secret,
        signature::{SigningKey, read_secret},
    },
};

/// The longest endpoint, in bytes.
const ENDPOINT: usize = 2048;

/// The keys that hold for all routes.
const GENERAL: [&str; 9] = [
    "connect_timeout",
    "timeout",
    "concurrency",
    "per_host",
    "ports",
    "allow_networks",
    "allow_hosts",
    "https_only",
    "ed25519_keys",
];

/// `[webhook]`, but for what a route may override.
pub(super) fn client(section: &Section<'_>) -> WebhookClient {
    let wait = || duration(Duration::from_millis(1)..=HALF_A_DAY);
    let client = WebhookClient {
        connect_timeout: section.get("connect_timeout", wait()),
        timeout: section.get("timeout", wait()),
        concurrency: section.get("concurrency", count(1..=100_000)),
        per_host: section.get("per_host", count(1..=100_000)),
        ports: section.get("ports", list(port)),
        allow_networks: section.get("allow_networks", list(network)),
        allow_hosts: section.get("allow_hosts", list(allowed_host)),
        https_only: section.get("https_only", boolean),
        ed25519_keys: section.get("ed25519_keys", list(ed25519_key(section))),
        own_addresses: Vec::new(),
    };
    if client.connect_timeout > client.timeout {
        section.complain("connect_timeout", "is longer than `webhook.timeout`, which is for the whole attempt; write less here or more there");
    }
    client
}

fn allowed_host(value: &Value<'_>) -> Converted<String> {
    let name = host_name(value)?;
    if super::listener::looks_like_ip(&name) {
        return wrong(
            value,
            "is an address; write it into `webhook.allow_networks`",
        );
    }
    Ok(name)
}

/// What `[route.webhook]` may override.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) policy: WebhookPolicy,
    /// What `body = "auto"` goes by.
    thin_above: u64,
    pub(super) webhook: RouteWebhook,
}

impl Common {
    /// As `[webhook]` has it.
    pub(super) fn general(section: &Section<'_>, client: &WebhookClient, server: &Server) -> Self {
        let thin_above = section.get("thin_above", size(0));
        let common = Self {
            policy: WebhookPolicy {
                on: section.get("on", states()),
                schedule: section.get("schedule", schedule),
                body: with_size(section.get("body", one_of(BODIES)), thin_above),
            },
            thin_above,
            webhook: RouteWebhook {
                endpoint: None,
                caller_endpoints: section.get("caller_endpoints", one_of(CALLERS)),
                signing_secrets: section.get("signing_secrets", list(signing_secret(section))),
            },
        };
        common.check(section, client, server);
        common
    }

    /// As a route has it: `[route.webhook]` over `[webhook]`.
    pub(super) fn of_route(
        &self,
        section: &Section<'_>,
        client: &WebhookClient,
        server: &Server,
    ) -> Self {
        let mut common = self.clone();
        if let Some(on) = section.optional("on", states()) {
            common.policy.on = on;
        }
        if let Some(schedule) = section.optional("schedule", schedule) {
            common.policy.schedule = schedule;
        }
        if let Some(callers) = section.optional("caller_endpoints", one_of(CALLERS)) {
            common.webhook.caller_endpoints = callers;
        }
        if let Some(secrets) = section.optional("signing_secrets", list(signing_secret(section))) {
            common.webhook.signing_secrets = secrets;
        }
        if let Some(thin_above) = section.optional("thin_above", size(0)) {
            common.thin_above = thin_above;
        }
        if let Some(body) = section.optional("body", one_of(BODIES)) {
            common.policy.body = body;
        }
        common.policy.body = with_size(common.policy.body, common.thin_above);
        common.webhook.endpoint = section.optional("endpoint", |value| endpoint(value, client));
        for key in GENERAL {
            if section.written(key) {
                section.complain(
                    key,
                    format!("holds for all routes; write it in [webhook], `webhook.{key}`"),
                );
            }
        }
        common.check(section, client, server);
        common
    }

    fn check(&self, section: &Section<'_>, client: &WebhookClient, server: &Server) {
        let links = self.policy.body.links() && section.has("body");
        if links && server.public_prefix.is_empty() {
            section.complain("body", "links to responses below `server.public_prefix`, which is off; write a prefix there, or \"raw\" or \"envelope\" here");
        }
        let listed = self.webhook.caller_endpoints == CallerEndpoints::Listed;
        if listed && client.allow_hosts.is_empty() && section.has("caller_endpoints") {
            section.complain("caller_endpoints", "\"listed\" allows the names in `webhook.allow_hosts`, and there are none; write some there, or \"off\"");
        }
    }
}

const CALLERS: &[(&str, CallerEndpoints)] = &[
    ("any", CallerEndpoints::Any),
    ("listed", CallerEndpoints::Listed),
    ("off", CallerEndpoints::Off),
];

const BODIES: &[(&str, WebhookBody)] = &[
    ("raw", WebhookBody::Raw),
    ("envelope", WebhookBody::Envelope),
    ("thin", WebhookBody::Thin),
    ("auto", WebhookBody::Auto { thin_above: 0 }),
];

/// The size is a key of its own, which a route may override alone.
fn with_size(body: WebhookBody, thin_above: u64) -> WebhookBody {
    match body {
        WebhookBody::Auto { .. } => WebhookBody::Auto { thin_above },
        WebhookBody::Raw | WebhookBody::Envelope | WebhookBody::Thin => body,
    }
}

fn states() -> impl Fn(&Value<'_>) -> Converted<Vec<RunState>> {
    some(
        "\"succeeded\"",
        one_of(&[
            ("succeeded", RunState::Succeeded),
            ("failed", RunState::Failed),
            ("cancelled", RunState::Cancelled),
        ]),
    )
}

fn schedule(value: &Value<'_>) -> Converted<Vec<Duration>> {
    match value.get_ref().as_str() {
        // Three attempts, at most 5 s apart.
        Some("cerebrium") => Ok([0, 5, 5].map(Duration::from_secs).to_vec()),
        Some(_) => wrong(
            value,
            "is no schedule; write a list of delays, [\"0s\", \"5s\", \"5m\"], or \"cerebrium\"",
        ),
        None => some("\"0s\"", duration(Duration::ZERO..=LONGEST / 100))(value),
    }
}

fn signing_secret<'s>(section: &'s Section<'_>) -> impl Fn(&Value<'_>) -> Converted<Secret> + 's {
    let secret = secret(section.reading);
    move |value| {
        read_secret(&secret(value)?)
            .or_else(|error| wrong(value, format!("is no signing secret; {error}")))
    }
}

fn ed25519_key<'s>(section: &'s Section<'_>) -> impl Fn(&Value<'_>) -> Converted<SigningKey> + 's {
    let secret = secret(section.reading);
    move |value| {
        SigningKey::read(&secret(value)?)
            .or_else(|error| wrong(value, format!("is no signing key; {error}")))
    }
}

fn endpoint(value: &Value<'_>, client: &WebhookClient) -> Converted<String> {
    const WRITE: &str = "write an absolute URL, \"https://hooks.example.com/runs\"";
    let written = crate::config::value::text(value)?;
    let url = Url::parse(written).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && written.len() <= ENDPOINT
    });
    // What was written is not shown: its path or query may be a secret.
    let Some(url) = url else {
        return wrong(
            value,
            format!(
                "is no http or https URL of at most {ENDPOINT} bytes and without user info; {WRITE}"
            ),
        );
    };
    match client.guard().check_url(&url) {
        Ok(()) => Ok(written.to_owned()),
        Err(refused) => wrong(
            value,
            format!(
                "would be refused by the address guard: {refused}; {WRITE}, or open the address"
            ),
        ),
    }
}
