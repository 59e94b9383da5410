//! The receiver's URL that a caller names: decoded once, read strictly, and judged by the route and the address guard.

use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode;
use url::{Host, Url};

use crate::{
    config::CallerEndpoints,
    model::{
        address_guard::AddressGuard,
        dialect::openfaas::CALLBACK_URL,
        exchange::query::{Parameter, parameters},
        problem::{Code, Problem},
    },
};

/// The longest URL that is taken, in bytes after decoding.
const LONGEST: usize = 2048;

/// Whether a query has the parameter at all: then the request is a run, or wrong.
pub(super) fn is_named(query: Option<&[u8]>, parameter: &str) -> bool {
    query.is_some_and(|query| parameters(query).any(|found| found.is(parameter)))
}

/// Where a request may name its receiver.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Its query.
    pub(super) query: Option<&'a [u8]>,
    /// The query parameter's name on the route.
    pub(super) parameter: &'a str,
    /// The headers, in the dialect that knows `X-Callback-Url`.
    pub(super) callbacks: Option<&'a HeaderMap>,
}

/// A receiver as it was written.
enum Written<'a> {
    /// Percent-encoded.
    Parameter(Parameter<'a>),
    /// As it is.
    Callback(&'a HeaderValue),
}

/// The URL that a request names, as it will be dialled; none if it names none.
///
/// # Errors
/// [`Code::InvalidWebhookEndpoint`], or [`Code::ForbiddenWebhookEndpoint`] for a receiver that may not be named here.
pub(super) fn endpoint(
    asked: Asked<'_>,
    whose: CallerEndpoints,
    guard: &AddressGuard,
) -> Result<Option<String>, Problem> {
    let parameters = asked.query.into_iter().flat_map(parameters);
    let parameters = parameters.filter(|found| found.is(asked.parameter));
    let callbacks = asked.callbacks.into_iter();
    let callbacks = callbacks.flat_map(|headers| headers.get_all(CALLBACK_URL));
    let mut all = parameters
        .map(Written::Parameter)
        .chain(callbacks.map(Written::Callback));
    let Some(first) = all.next() else {
        return Ok(None);
    };
    let (name, text) = match first {
        Written::Parameter(parameter) => (asked.parameter, decoded(parameter)),
        Written::Callback(value) => ("X-Callback-Url", Ok(value.as_bytes().to_vec())),
    };
    if all.next().is_some() {
        return Err(invalid(
            name,
            "is given several times, or beside another receiver; give one, once",
        ));
    }
    let url = text
        .and_then(|text| read(&text))
        .map_err(|wrong| invalid(name, wrong))?;
    permit(&url, name, whose, guard)?;
    Ok(Some(url.into()))
}

fn decoded(parameter: Parameter<'_>) -> Result<Vec<u8>, &'static str> {
    let encoded = parameter.value.unwrap_or_default();
    if !is_well_encoded(encoded) {
        return Err(
            "has a `%` that two hexadecimal digits do not follow; percent-encode the URL once",
        );
    }
    Ok(percent_decode(encoded).collect())
}

fn read(url: &[u8]) -> Result<Url, &'static str> {
    if url.is_empty() {
        return Err("is empty; give an absolute http or https URL");
    }
    if url.len() > LONGEST {
        return Err("is over 2048 bytes; give a shorter URL");
    }
    let text = std::str::from_utf8(url)
        .map_err(|_| "is not UTF-8 once decoded; percent-encode the URL's UTF-8 bytes")?;
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(
            "has white space or control characters once decoded; encode them within the URL",
        );
    }
    let authority = authority(text).ok_or(
        "is no absolute http or https URL once decoded; a query parameter has to be percent-encoded exactly once",
    )?;
    if authority.contains('@') {
        return Err("has user information; leave it out, and use X-Webhook-Secret");
    }
    let url = Url::parse(text).map_err(|_| "is no valid URL once decoded")?;
    match url.host() {
        None => return Err("has no host"),
        Some(Host::Domain(name)) if has_empty_label(name) => {
            return Err("has a host name with an empty label (`..`, or a dot alone)");
        }
        Some(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) => {}
    }
    if url.port() == Some(0) {
        return Err("has port 0, which nothing can listen on");
    }
    Ok(url)
}

/// One dot at the end is the root's (RFC 1034 §3.1).
fn has_empty_label(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.split('.').any(str::is_empty)
}

fn is_well_encoded(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).all(|at| {
        text.get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// What stands between `//` and the path, of a URL that spells its scheme out: the URL standard would forgive more.
fn authority(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) {
        return None;
    }
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

fn permit(
    url: &Url,
    parameter: &str,
    whose: CallerEndpoints,
    guard: &AddressGuard,
) -> Result<(), Problem> {
    let forbidden = |why: String| {
        Problem::new(
            Code::ForbiddenWebhookEndpoint,
            format!("`{parameter}` {why}."),
        )
    };
    match whose {
        CallerEndpoints::Any => {}
        CallerEndpoints::Listed if guard.is_listed(url.host_str().unwrap_or_default()) => {}
        CallerEndpoints::Listed => {
            let why =
                "names a host that is not listed; this route takes those of `webhook.allow_hosts`";
            return Err(forbidden(why.to_owned()));
        }
        CallerEndpoints::Off => {
            let why =
                "is not taken on this route (`webhook.caller_endpoints` is off); leave it out";
            return Err(forbidden(why.to_owned()));
        }
    }
    guard
        .check_url(url)
        .map_err(|refused| forbidden(format!("may not be delivered to: {refused}")))
}

fn invalid(parameter: &str, wrong: &str) -> Problem {
    Problem::new(
        Code::InvalidWebhookEndpoint,
        format!("`{parameter}` {wrong}."),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::address_guard::Rules;

    fn guard() -> AddressGuard {
        AddressGuard::new(Rules {
            allow_hosts: vec!["hooks.example".to_owned()],
            ..Rules::default()
        })
    }

    fn of(query: &[u8], whose: CallerEndpoints) -> Result<Option<String>, Code> {
        in_query(Some(query), whose).map_err(|problem| problem.code)
    }

    fn in_query(query: Option<&[u8]>, whose: CallerEndpoints) -> Result<Option<String>, Problem> {
        let asked = Asked {
            query,
            parameter: "hook",
            callbacks: None,
        };
        endpoint(asked, whose, &guard())
    }

    fn callback(query: Option<&[u8]>, urls: &[&str]) -> Result<Option<String>, Code> {
        let values = urls.iter().map(|url| HeaderValue::from_str(url).unwrap());
        let headers = HeaderMap::from_iter(values.map(|value| (CALLBACK_URL, value)));
        let asked = Asked {
            query,
            parameter: "hook",
            callbacks: Some(&headers),
        };
        endpoint(asked, CallerEndpoints::Any, &guard()).map_err(|problem| problem.code)
    }

    fn any(query: &str) -> Result<Option<String>, Code> {
        of(query.as_bytes(), CallerEndpoints::Any)
    }

    #[test]
    fn a_url_is_decoded_once_and_kept_as_it_will_be_dialled() {
        for (query, url) in [
            (
                "hook=https%3A%2F%2Fa.example%2Fp%3Fq%3D1%2B2",
                "https://a.example/p?q=1+2",
            ),
            ("x=1&hook=http://a.example:81/p", "http://a.example:81/p"),
            ("hook=HTTPS://A.example", "https://a.example/"),
            ("hook=http://a.example/a+b", "http://a.example/a+b"),
            ("hook=http://a.example/%2520", "http://a.example/%20"),
            (
                "hook=http://b%C3%BCcher.example/",
                "http://xn--bcher-kva.example/",
            ),
        ] {
            assert_eq!(any(query), Ok(Some(url.to_owned())), "{query}");
        }
        assert_eq!(any("other=http://a.example"), Ok(None));
        assert_eq!(in_query(None, CallerEndpoints::Off), Ok(None));
    }

    #[test]
    fn what_is_no_absolute_url_given_once_is_invalid() {
        for query in [
            "hook",
            "hook=",
            "hook=http://a.example&hook=http://a.example",
            "hook=https%253A%252F%252Fa.example",
            "hook=a.example/p",
            "hook=//a.example",
            "hook=http:a.example",
            "hook=http:/a.example",
            "hook=http:///a.example",
            "hook=http://",
            "hook=ftp://a.example",
            "hook=javascript:alert(1)",
            "hook=http://user@a.example",
            "hook=http://:p@a.example",
            "hook=http://@a.example",
            "hook=http://a.example/%",
            "hook=http://a.example/%2",
            "hook=http://a.example/%zz",
            "hook=http://a.example/%FF",
            "hook=%20http://a.example",
            "hook=http://a.ex%0Aample",
            "hook=http://a b.example",
            "hook=http://a.example:99999",
            "hook=http://a.example:0/",
            "hook=http://./",
            "hook=http://.../",
            "hook=http://a..b/",
            "hook=http://.a.example/",
        ] {
            assert_eq!(any(query), Err(Code::InvalidWebhookEndpoint), "{query}");
        }
        let long = format!("hook=http://a.example/{}", "x".repeat(10_000));
        assert_eq!(any(&long), Err(Code::InvalidWebhookEndpoint));
        assert_eq!(
            of(b"hook=http://a.example/\xff", CallerEndpoints::Any),
            Err(Code::InvalidWebhookEndpoint)
        );
    }

    #[test]
    fn a_callback_is_taken_as_it_is_and_meets_the_same_checks() {
        let url = "http://a.example/p%20q?x=%2F";
        assert_eq!(callback(None, &[url]), Ok(Some(url.to_owned())));
        assert_eq!(callback(Some(b"x=1"), &[url]), Ok(Some(url.to_owned())));
        assert_eq!(callback(Some(b"x=1"), &[]), Ok(None));
        let long = format!("http://a.example/{}", "x".repeat(LONGEST));
        for urls in [
            &[url, url][..],
            &[""],
            &["http%3A%2F%2Fa.example"],
            &["ftp://a.example"],
            &["http://u:p@a.example"],
            &["http://a.example/ b"],
            &[&long],
        ] {
            assert_eq!(
                callback(None, urls),
                Err(Code::InvalidWebhookEndpoint),
                "{urls:?}"
            );
        }
        assert_eq!(
            callback(Some(b"hook=http://a.example"), &[url]),
            Err(Code::InvalidWebhookEndpoint)
        );
        assert_eq!(
            callback(None, &["http://0x7f.1/"]),
            Err(Code::ForbiddenWebhookEndpoint)
        );
    }

    #[test]
    fn the_longest_url_has_2048_bytes() {
        let path = "x".repeat(LONGEST - "http://a.example/".len());
        assert!(any(&format!("hook=http://a.example/{path}")).is_ok());
        assert!(any(&format!("hook=http://a.example/{path}x")).is_err());
    }

    #[test]
    fn addresses_that_the_guard_refuses_are_forbidden_in_any_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost./",
            "http://x.localhost/",
            "http://169.254.169.254/latest",
            "http://10.0.0.1/",
        ] {
            assert_eq!(
                any(&format!("hook={url}")),
                Err(Code::ForbiddenWebhookEndpoint),
                "{url}"
            );
        }
    }

    #[test]
    fn a_route_says_whose_endpoints_it_takes() {
        let forbidden = Err(Code::ForbiddenWebhookEndpoint);
        let listed = |query: &str| of(query.as_bytes(), CallerEndpoints::Listed);
        assert!(listed("hook=https://hooks.example/x").is_ok());
        assert!(listed("hook=https://HOOKS.example./x").is_ok());
        assert_eq!(listed("hook=https://other.example/x"), forbidden);
        assert_eq!(
            of(b"hook=https://hooks.example", CallerEndpoints::Off),
            forbidden
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(query: Vec<u8>) {
            let query = [b"hook=".as_slice(), &query].concat();
            let _ = of(&query, CallerEndpoints::Any);
        }
    }
}
