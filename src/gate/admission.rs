//! Whether a request asks for a run, and whether it may have one: every check that needs no body.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, header};
use ipnet::IpNet;
use pingora::{http::RequestHeader, protocols::http::ServerSession};

use super::{
    Inner, endpoint,
    function::{self, Function},
    idempotency, origin,
    patience::Patience,
    trigger::{self, Asked},
};
use crate::{
    config::{Config, Limits, OnSlow, RunSettings},
    model::{
        address_guard::AddressGuard,
        dialect::{Dialect, Head, Place},
        problem::{Code, Problem},
    },
    store::Unwritable,
};

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Seconds after which a caller may try again that met a full store or a full route.
const AGAIN: u32 = 5;

/// What is done with a request.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It asks for no run.
    Pass,
    /// It becomes a run, if it is not answered in time.
    Watch(Order, Patience),
    /// It becomes a run.
    Run(Order),
}

/// A run that may be made, once its body is there.
#[derive(Debug)]
pub(super) struct Order {
    /// Whose 202 it gets; none for a synchronous call with a webhook.
    pub(super) dialect: Option<&'static Dialect>,
    /// Where it was asked for; none if its caller asked for no run.
    pub(super) place: Option<Place>,
    /// What is known of it as a call of a function.
    pub(super) function: Function,
    /// The receiver that the caller names.
    pub(super) endpoint: Option<String>,
    /// How often it has passed through this store's proxies.
    pub(super) depth: u32,
    /// Its idempotency key.
    pub(super) key: Option<Vec<u8>>,
    /// Whether the caller waits for `100 Continue`.
    pub(super) expects_continue: bool,
    /// The declared length of its body.
    pub(super) length: Option<u64>,
    /// Who sent it.
    pub(super) client: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub(super) tls: bool,
    /// How long its caller waits for the response itself; none for one that gets its 202 at once, and for a
    /// synchronous call that waits as long as it takes.
    pub(super) patience: Option<Patience>,
    /// Whether it is passed on before it is a run: a repeat is then the same request, to the byte.
    pub(super) passed_on: bool,
}

/// What requests are judged by: all of it is in the configuration.
pub(super) struct Rules {
    guard: AddressGuard,
    pub(super) limits: Limits,
    trusted_proxies: Vec<IpNet>,
}

/// What else counts, and is only known while the proxy runs.
#[derive(Clone, Copy)]
pub(super) struct House<'a> {
    /// Our mark in `CDN-Loop`.
    pub(super) loop_id: &'a str,
    /// Whether a route takes another run.
    pub(super) room: &'a dyn Fn(&str) -> Result<(), Problem>,
}

impl Rules {
    /// Those of `config`.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            guard: config.webhook.guard(),
            limits: config.limits.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
        }
    }

    /// Whether the request asks for a run, or may become one.
    pub(super) fn admit(
        &self,
        session: &ServerSession,
        settings: &RunSettings,
        house: House<'_>,
    ) -> Result<Admitted, Problem> {
        let upgrades = upgrades(session);
        let (dialect, place) = match trigger::asked(&head_of(session.req_header()), settings)? {
            Asked::Nothing | Asked::Always(_) if upgrades => return Ok(Admitted::Pass),
            Asked::Nothing if trigger::is_preflight(&head_of(session.req_header())) => {
                return Ok(Admitted::Pass);
            }
            Asked::Nothing => return Ok(self.admit_plain(session, settings, house)),
            Asked::Always(dialect) => (Some(dialect), None),
            Asked::Run(dialect) => (Some(dialect), Some(dialect.place)),
            Asked::Told => (None, None),
        };
        if upgrades {
            return Err(no_upgrade());
        }
        let order = self.check(session, settings, (dialect, place), house)?;
        let is_told = order.endpoint.is_some() || settings.webhook.endpoint.is_some();
        Ok(match order.patience {
            // Without a webhook, one that is answered in time need not be a run at all, if the route does not say so.
            Some(patience) if order.dialect.is_some() && !is_told && !settings.always => {
                let passed_on = true;
                Admitted::Watch(Order { passed_on, ..order }, patience)
            }
            Some(_) | None => Admitted::Run(order),
        })
    }

    /// A request that asks for no run: it becomes one only if its route converts slow ones.
    fn admit_plain(
        &self,
        session: &ServerSession,
        settings: &RunSettings,
        house: House<'_>,
    ) -> Admitted {
        let request = session.req_header();
        let Some(patience) = Patience::of_plain(&request.headers, settings) else {
            return Admitted::Pass;
        };
        let order = Order {
            dialect: Some(patience.dialect),
            place: None,
            function: Function::default(),
            endpoint: None,
            depth: marks(&request.headers, house.loop_id),
            key: None,
            expects_continue: expects_continue(&request.headers),
            length: declared_length(&request.headers),
            client: client(session),
            tls: is_tls(session),
            patience: Some(patience),
            passed_on: true,
        };
        if patience.then == OnSlow::GatewayTimeout || self.may_convert(&order) {
            Admitted::Watch(order, patience)
        } else {
            Admitted::Pass
        }
    }

    /// The checks on a request that asks for a run, in the order of the contract.
    pub(super) fn check(
        &self,
        session: &ServerSession,
        settings: &RunSettings,
        (dialect, place): (Option<&'static Dialect>, Option<Place>),
        house: House<'_>,
    ) -> Result<Order, Problem> {
        let request = session.req_header();
        let headers = &request.headers;
        let (client, tls) = (client(session), is_tls(session));
        let head = head_of(request);
        let function = function::of(&head, settings, dialect)?;
        let asked = endpoint::Asked {
            query: head.query(),
            parameter: &settings.webhook_parameter,
            callbacks: function::is_spoken(dialect).then_some(headers),
        };
        let endpoint = endpoint::endpoint(asked, settings.webhook.caller_endpoints, &self.guard)?;
        if endpoint.is_some() {
            let trusted = self.trusts(client.map(|address| address.ip()));
            origin::check(headers, own(request, tls, trusted), settings.cors.as_ref())?;
        }
        let length = self.check_length(headers)?;
        let depth = self.check_depth(headers, house.loop_id)?;
        (house.room)(&settings.policy.route)?;
        // A synchronous call's key is the application's own matter: its caller waits for the application's answer.
        let key = match dialect {
            Some(_) => idempotency::key_of(headers, &settings.idempotency_header)?,
            None => None,
        };
        let patience = match dialect {
            Some(asked) if place.is_some() => {
                Patience::of_run(headers, settings, asked, key.is_some())
            }
            // Nobody asked: the route makes it a run.
            Some(_) => None,
            None => Patience::of_plain(headers, settings)
                .filter(|patience| patience.then == OnSlow::Convert),
        };
        Ok(Order {
            dialect,
            place,
            function,
            endpoint,
            depth,
            key,
            expects_continue: expects_continue(headers),
            length,
            client,
            tls,
            patience,
            passed_on: false,
        })
    }

    fn check_length(&self, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
        match declared_length(headers) {
            Some(length) if length > self.limits.request_body => Err(self.too_large(Some(length))),
            length => Ok(length),
        }
    }

    /// The body is over the limit; `length` is its declared length.
    pub(super) fn too_large(&self, length: Option<u64>) -> Problem {
        let limit = self.limits.request_body;
        let body = length.map_or_else(
            || "The body is larger than".to_owned(),
            |length| format!("The body is {length} bytes;"),
        );
        let detail = match length {
            Some(_) => format!("{body} runs accept at most {limit} (`limits.request_body`)."),
            None => format!("{body} the {limit} bytes that runs accept (`limits.request_body`)."),
        };
        Problem::new(Code::RequestTooLarge, detail)
    }

    fn check_depth(&self, headers: &HeaderMap, loop_id: &str) -> Result<u32, Problem> {
        let depth = marks(headers, loop_id);
        if depth > self.limits.max_depth {
            let detail = format!(
                "The request has come through this proxy {depth} times already (`CDN-Loop`); at most {} are \
                 allowed (`limits.max_depth`). Look for an upstream or webhook that leads back here.",
                self.limits.max_depth
            );
            return Err(Problem::new(Code::LoopDetected, detail));
        }
        Ok(depth)
    }

    /// Whether a request may become a run at all: what it is too large or too deep for is not worth watching.
    fn may_convert(&self, order: &Order) -> bool {
        order
            .length
            .is_none_or(|length| length <= self.limits.request_body)
            && order.depth <= self.limits.max_depth
    }

    fn trusts(&self, sender: Option<IpAddr>) -> bool {
        sender.is_some_and(|ip| {
            let ip = ip.to_canonical();
            self.trusted_proxies
                .iter()
                .any(|network| network.contains(&ip))
        })
    }
}

impl Inner {
    /// Whether the request asks for a run, or may become one.
    pub(super) fn admit(
        &self,
        session: &ServerSession,
        settings: &RunSettings,
    ) -> Result<Admitted, Problem> {
        let room = |route: &str| self.check_room(route);
        self.rules.admit(session, settings, self.house(&room))
    }

    /// The checks on an invocation, which asks by its path.
    pub(super) fn check(
        &self,
        session: &ServerSession,
        settings: &RunSettings,
        dialect: &'static Dialect,
    ) -> Result<Order, Problem> {
        if upgrades(session) {
            return Err(no_upgrade());
        }
        let asked = (Some(dialect), Some(dialect.place));
        let room = |route: &str| self.check_room(route);
        self.rules
            .check(session, settings, asked, self.house(&room))
    }

    fn house<'a>(&'a self, room: &'a dyn Fn(&str) -> Result<(), Problem>) -> House<'a> {
        House {
            loop_id: &self.parts.store.identity().loop_id,
            room,
        }
    }

    /// Whether the route and the store take another run.
    pub(super) fn check_room(&self, route: &str) -> Result<(), Problem> {
        let store = &self.parts.store;
        let limit = self.rules.limits.unfinished_runs;
        if store.unfinished(route) >= limit {
            let detail = format!(
                "The route has {limit} unfinished runs, as many as it may have (`limits.unfinished_runs`); try again later."
            );
            return Err(Problem::new(Code::TooManyRuns, detail).retry_after(AGAIN));
        }
        store.ready().map_err(unavailable)
    }
}

/// The store takes no run now.
pub(super) fn unavailable(why: Unwritable) -> Problem {
    let detail = format!("The run was not stored: {why}. Try again later.");
    Problem::new(Code::StoreUnavailable, detail).retry_after(AGAIN)
}

/// What dialects see of a request.
pub(super) fn head_of(request: &RequestHeader) -> Head<'_> {
    Head {
        method: &request.method,
        target: request.raw_path(),
        headers: &request.headers,
    }
}

/// Whether an `Upgrade` only offers HTTP/2 without TLS, as some clients do with each request: a server may go on without
/// it (RFC 9110 §7.8), and does here.
fn only_offers_http2(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::UPGRADE)
        .iter()
        .all(|offer| offer.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

/// Whether the request asks for another protocol or a tunnel: neither is one request with one response.
fn upgrades(session: &ServerSession) -> bool {
    let request = session.req_header();
    request.method == Method::CONNECT
        || session.is_upgrade_req() && !only_offers_http2(&request.headers)
}

fn no_upgrade() -> Problem {
    let detail =
        "An upgrade (WebSocket) or CONNECT cannot be a run; ask without the run's parameters.";
    Problem::new(Code::UpgradeNotARun, detail)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}

fn client(session: &ServerSession) -> Option<SocketAddr> {
    session.client_addr()?.as_inet().copied()
}

fn is_tls(session: &ServerSession) -> bool {
    session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some())
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The origin that the request was sent to; `X-Forwarded-*` count from a trusted proxy.
fn own(request: &RequestHeader, tls: bool, trusted: bool) -> origin::Own<'_> {
    let forwarded = |name| {
        let value = request.headers.get(name).filter(|_| trusted)?.as_bytes();
        let end = memchr::memchr(b',', value).unwrap_or(value.len());
        Some(value[..end].trim_ascii())
    };
    let host = request
        .headers
        .get(header::HOST)
        .map(|host| host.as_bytes())
        .or_else(|| request.uri.authority().map(|host| host.as_str().as_bytes()));
    origin::Own {
        secure: forwarded(FORWARDED_PROTO)
            .map_or(tls, |scheme| scheme.eq_ignore_ascii_case(b"https")),
        authority: forwarded(FORWARDED_HOST).or(host).unwrap_or_default(),
    }
}

/// How often our mark is in `CDN-Loop` (RFC 8586 §2: a comma list of ids with parameters).
fn marks(headers: &HeaderMap, mark: &str) -> u32 {
    let entries = headers
        .get_all(CDN_LOOP)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let ours = entries.filter(|entry| {
        let end = memchr::memchr(b';', entry).unwrap_or(entry.len());
        entry[..end].trim_ascii() == mark.as_bytes()
    });
    u32::try_from(ours.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn our_marks_are_counted_among_those_of_others() {
        let mut headers = HeaderMap::new();
        for line in ["ours", "other, ours;v=1 , xours", "ours2,ours,"] {
            headers.append(CDN_LOOP, HeaderValue::from_static(line));
        }
        assert_eq!(marks(&headers, "ours"), 3);
        assert_eq!(marks(&HeaderMap::new(), "ours"), 0);
    }

    #[test]
    fn forwarded_names_count_only_from_a_trusted_proxy() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in [
            ("Host", "inner:8080"),
            ("X-Forwarded-Proto", "https, http"),
            ("X-Forwarded-Host", "outer.example"),
        ] {
            request.insert_header(name, value).unwrap();
        }
        let trusted = own(&request, false, true);
        assert!(trusted.secure);
        assert_eq!(trusted.authority, b"outer.example");
        let direct = own(&request, false, false);
        assert!(!direct.secure);
        assert_eq!(direct.authority, b"inner:8080");
    }
}
