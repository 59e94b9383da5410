//! `[route.async]`.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use url::Url;

use super::{server::HALF_A_DAY, webhook::Common};
use crate::{
    config::{
        Cors, DialectName, Limits, OnSlow, RunSettings,
        file::Section,
        value::{
            Converted, LONGEST, Value, boolean, count, duration, header, list, mistyped, name,
            one_of, shown, some, status, text, wrong,
        },
    },
    model::policy::{Policy, Repeat, StatusSet},
};

/// Dialects that a later version speaks.
const LATER: [&str; 3] = ["ubidots", "openwhisk", "openfaas"];

pub(super) fn read(
    section: &Section<'_>,
    route: String,
    common: &Common,
    limits: &Limits,
) -> RunSettings {
    section.later("always");
    let dialects = section.get("dialects", some("\"cerebrium\"", dialect));
    for (index, dialect) in dialects.iter().enumerate() {
        if dialects[..index].contains(dialect) {
            section.complain_of_element(
                "dialects",
                index,
                "is there twice; write each dialect once".to_owned(),
            );
        }
    }
    let (async_parameter, webhook_parameter) = parameters(&section.section("parameters"));
    let policy = policy(section, route, common, limits);
    RunSettings {
        convert_after: convert_after(section, policy.response_grace_period),
        on_slow: section.get(
            "on_slow",
            one_of(&[
                ("convert", OnSlow::Convert),
                ("504", OnSlow::GatewayTimeout),
            ]),
        ),
        max_wait: section.get("max_wait", duration(Duration::ZERO..=HALF_A_DAY)),
        policy: Arc::new(policy),
        dialects,
        concurrency: section.get("concurrency", count(1..=1_000_000)),
        owner_headers: section.get("owner_headers", list(header)),
        idempotency_header: section.get("idempotency_header", header),
        forward_control_params: section.get("forward_control_params", boolean),
        async_parameter,
        webhook_parameter,
        cors: section.child("cors").map(|section| cors(&section)),
        webhook: common.webhook.clone(),
    }
}

/// "off", or a duration that leaves the run some of its grace period: that began when the request was sent.
fn convert_after(section: &Section<'_>, grace: Duration) -> Option<Duration> {
    let key = "convert_after";
    let after = section.get(key, |value: &Value<'_>| match value.get_ref().as_str() {
        Some("off") => Ok(None),
        _ => duration(Duration::from_millis(1)..=HALF_A_DAY)(value).map(Some),
    })?;
    if section.is_right(key) && section.is_right("response_grace_period") && after >= grace {
        let [after, grace] = [after, grace].map(humantime::format_duration);
        section.complain(
            key,
            format!(
                "{after} is not shorter than response_grace_period, {grace}, so no run would be left to convert to; \
                 write less, or a longer response_grace_period"
            ),
        );
    }
    Some(after)
}

fn policy(section: &Section<'_>, route: String, common: &Common, limits: &Limits) -> Policy {
    let second = Duration::from_secs(1);
    let attempts = section.get("attempts", count(1..=100));
    Policy {
        route,
        response_grace_period: section.get(
            "response_grace_period",
            duration(Duration::from_millis(1)..=HALF_A_DAY),
        ),
        max_queue_time: section.get("max_queue_time", duration(second..=LONGEST)),
        repeat: section.get(
            "repeat",
            one_of(&[
                ("idempotent", Repeat::Idempotent),
                ("with_key", Repeat::WithKey),
                ("always", Repeat::Always),
                ("never", Repeat::Never),
            ]),
        ),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        retry_statuses: section.get("retry_statuses", list(status)),
        success_statuses: StatusSet(section.get("success_statuses", some("\"200-399\"", statuses))),
        response_body: limits.response_body,
        webhook: common.policy.clone(),
    }
}

fn dialect(value: &Value<'_>) -> Converted<DialectName> {
    const WRITE: &str = "write \"cerebrium\" or \"prefer\"";
    match text(value)? {
        "cerebrium" => Ok(DialectName::Cerebrium),
        "prefer" => Ok(DialectName::Prefer),
        known if LATER.contains(&known) => wrong(
            value,
            format!("{known:?} is a dialect that this version does not speak yet; {WRITE}"),
        ),
        _ => wrong(value, format!("{} is no dialect; {WRITE}", shown(value))),
    }
}

/// One status, or a range of them.
fn statuses(value: &Value<'_>) -> Converted<RangeInclusive<u16>> {
    let Some(written) = value.get_ref().as_str() else {
        let status = status(value)?;
        return Ok(status..=status);
    };
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    let status = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|status| (100..=599).contains(status))
    };
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => wrong(
            value,
            mistyped(value, "a range of statuses", "\"200-399\" or 204"),
        ),
    }
}

fn parameters(section: &Section<'_>) -> (String, String) {
    let asks = section.get("async", name);
    let webhook = section.get("webhook", name);
    if asks == webhook {
        section.complain(
            "webhook",
            format!("{webhook:?} is the name of both parameters; write two names"),
        );
    }
    (asks, webhook)
}

fn cors(section: &Section<'_>) -> Cors {
    let origins = section.required(
        "origins",
        "[\"https://app.example.com\"]",
        some("\"https://app.example.com\"", origin),
    );
    let cors = Cors {
        origins: origins.unwrap_or_default(),
        credentials: section.get("credentials", boolean),
        max_age: section.get("max_age", duration(Duration::ZERO..=HALF_A_DAY * 2)),
    };
    if cors.credentials && cors.origins.iter().any(|origin| origin == "*") {
        section.complain(
            "credentials",
            "no browser takes credentials for \"*\"; write the origins one by one, or false",
        );
    }
    cors
}

fn origin(value: &Value<'_>) -> Converted<String> {
    let written = text(value)?;
    if written == "*" {
        return Ok(written.to_owned());
    }
    let origin = Url::parse(written).ok().map(|url| url.origin());
    match origin.filter(url::Origin::is_tuple) {
        Some(origin) if origin.ascii_serialization() == written => Ok(written.to_owned()),
        Some(origin) => {
            let origin = origin.ascii_serialization();
            wrong(
                value,
                format!(
                    "{} is not as browsers write an origin; write {origin:?}",
                    shown(value)
                ),
            )
        }
        None => wrong(
            value,
            mistyped(
                value,
                "an origin",
                "scheme and host, \"https://app.example.com\", or \"*\"",
            ),
        ),
    }
}
