//! The steps of an explanation, in words.

use std::{fmt::Write, time::Duration};

use humantime::format_duration;
use pingora::protocols::http::ServerSession;

use super::problem;
use crate::{
    cli::plain,
    config::{Config, OnSlow, Route, RunSettings},
    gate::rehearsal::{Foreseen, Run, Watched},
    model::{
        policy::{Policy, Repeat, WebhookBody, WebhookPolicy},
        problem::Problem,
        retry,
        run::Access,
    },
};

/// Steps, each a name and what it means here.
pub(super) fn steps(steps: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, meaning) in steps {
        // Writing to memory does not fail.
        let _ = writeln!(text, "{name:<16}{}", plain::line(meaning));
    }
    text
}

pub(super) fn refused(refusal: &Problem) -> String {
    steps(&[("refused", problem(refusal))])
}

pub(super) fn no_route(config: &Config) -> String {
    let routes: Vec<_> = config.routes.iter().map(|route| place(route)).collect();
    steps(&[
        (
            "refused",
            "404 no-route: no route has this host and path".to_owned(),
        ),
        ("routes", routes.join(", ")),
    ])
}

pub(super) fn route(config: &Config, route: &Route) -> String {
    let upstream = config
        .upstreams
        .iter()
        .find(|one| one.name == route.upstream);
    let peers = upstream.map_or(0, |upstream| upstream.peers.len());
    steps(&[
        ("route", format!("{} ({})", route.name, place(route))),
        ("upstream", format!("{}, peers: {peers}", route.upstream)),
    ])
}

fn place(route: &Route) -> String {
    format!(
        "{}{}",
        route.host.as_deref().unwrap_or("any host, "),
        route.path
    )
}

pub(super) fn foreseen(
    config: &Config,
    settings: &RunSettings,
    session: &ServerSession,
    foreseen: &Foreseen,
) -> String {
    match foreseen {
        Foreseen::Pass => {
            let dialects: Vec<_> = settings
                .dialects
                .iter()
                .map(|dialect| dialect.name)
                .collect();
            let spoken = dialects.join(", ");
            steps(&[
                (
                    "asks for",
                    "nothing, in none of the route's dialects".to_owned(),
                ),
                ("dialects", spoken),
                ("passed through", "body and query byte for byte".to_owned()),
            ])
        }
        Foreseen::Watched(watched) => self::watched(settings, watched),
        Foreseen::Run(run) => self::run(config, settings, session, run),
    }
}

fn watched(settings: &RunSettings, watched: &Watched) -> String {
    let after = format_duration(watched.patience);
    let then = match watched.then {
        OnSlow::Convert => format!(
            "202 in the dialect {}; the same upstream call goes on as a run, within {}",
            watched.dialect,
            format_duration(settings.policy.response_grace_period)
        ),
        OnSlow::GatewayTimeout => "504 gateway-timeout; the upstream call is ended".to_owned(),
    };
    steps(&[
        (
            "passed on",
            format!("at once; answered in time if the response begins within {after}"),
        ),
        ("after that", then),
    ])
}

fn run(config: &Config, settings: &RunSettings, session: &ServerSession, run: &Run) -> String {
    let policy = &settings.policy;
    let method = session.req_header().method.as_str();
    let endpoint = run.endpoint.as_ref().or(settings.webhook.endpoint.as_ref());
    let mut told = vec![
        ("becomes", becomes(run)),
        ("who may look", who(&run.access).to_owned()),
        ("limits", limits(config, settings)),
        ("repeated", repeated(policy, method, run.has_key)),
        ("sent upstream", sent(&run.head)),
    ];
    match endpoint {
        None => told.push(("webhook", "none".to_owned())),
        Some(endpoint) => {
            told.push(("webhook", receiver(endpoint)));
            told.push(("delivery", delivery(config, settings)));
            told.push(("attempts", attempts(&policy.webhook)));
        }
    }
    steps(&told)
}

fn becomes(run: &Run) -> String {
    match run.dialect {
        Some(dialect) if run.has_key => format!(
            "a run, asked for as {dialect}: 202 once it is on disk; the first run's 202 again for the same key"
        ),
        Some(dialect) => format!("a run, asked for as {dialect}: 202 once it is on disk"),
        None => "a run whose caller gets the response as it comes; its webhook is told".to_owned(),
    }
}

fn who(access: &Access) -> &'static str {
    match access {
        Access::Anybody => "whoever knows its id: neither owner header nor cookie",
        Access::TokenOnly => "whoever has the token of Location: a cookie and no owner header",
        Access::Owner(_) => "whoever sends the same owner headers, or has the token of Location",
    }
}

fn limits(config: &Config, settings: &RunSettings) -> String {
    let policy = &settings.policy;
    format!(
        "request {} bytes, response {} bytes, at most {} attempts at a time, {} in the queue, {} for the upstream, {} unfinished runs",
        config.limits.request_body,
        policy.response_body,
        settings.concurrency,
        format_duration(policy.max_queue_time),
        format_duration(policy.response_grace_period),
        config.limits.unfinished_runs,
    )
}

fn repeated(policy: &Policy, method: &str, has_key: bool) -> String {
    let rule = match policy.repeat {
        Repeat::Idempotent => "idempotent",
        Repeat::WithKey => "with_key",
        Repeat::Always => "always",
        Repeat::Never => "never",
    };
    let unsent = "an attempt of which nothing was sent always is, within the grace period";
    if retry::repeats(policy.repeat, method, has_key) {
        format!(
            "yes ({method}, repeat = {rule:?}): after an interruption, and on {:?} up to {} attempts in all; {unsent}",
            policy.retry_statuses, policy.attempts
        )
    } else {
        format!(
            "no ({method}, repeat = {rule:?}): it reaches the application once at most; {unsent}"
        )
    }
}

/// The request line, and the names of the headers.
fn sent(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let request = lines
        .next()
        .unwrap_or_default()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let names: Vec<_> = lines
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    format!("{request}, with {}", names.join(", "))
}

fn receiver(endpoint: &str) -> String {
    let host = crate::store::ending::receiver_address(endpoint);
    format!(
        "{host}: the address guard allows what is known of it; each address is judged again when it is dialled"
    )
}

fn delivery(config: &Config, settings: &RunSettings) -> String {
    let policy = &settings.policy.webhook;
    let on: Vec<_> = policy.on.iter().map(|state| state.as_str()).collect();
    let body = match policy.body {
        WebhookBody::Raw => "raw body".to_owned(),
        WebhookBody::Envelope => "envelope".to_owned(),
        WebhookBody::Thin => "thin body".to_owned(),
        WebhookBody::Auto { thin_above } => format!("raw body, thin above {thin_above} bytes"),
    };
    let signed = settings.webhook.signing_secrets.len() + config.webhook.ed25519_keys.len();
    format!(
        "on {}; {body}; signatures: {signed}; {} for an attempt, {} at a time to one receiver",
        on.join(", "),
        format_duration(config.webhook.timeout),
        config.webhook.per_host,
    )
}

/// When each attempt comes, counted from the run's end.
fn attempts(policy: &WebhookPolicy) -> String {
    let mut at = Duration::ZERO;
    let times: Vec<_> = policy
        .schedule
        .iter()
        .map(|step| {
            at += *step;
            format_duration(at).to_string()
        })
        .collect();
    format!("after {} (each step ±20 %), then dead", times.join(", "))
}
