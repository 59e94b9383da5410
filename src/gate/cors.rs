//! Cross-origin headers for what we answer ourselves (Fetch standard, "CORS protocol"): the application is not asked
//! before a 202 and cannot add its own.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::Cors;

/// Header lines to be added to an answer.
pub type Lines = Vec<(HeaderName, HeaderValue)>;

/// What a page's script may read of our answers.
const EXPOSED: &str = "location, retry-after, x-request-id, preference-applied, idempotent-replayed, raincheck-error, \
    raincheck-run-id, raincheck-run-state, raincheck-run-reason, raincheck-upstream-status, raincheck-durability, \
    x-openwhisk-activation-id";

/// Whether `origin` (as browsers write it) is one that the route names; a `*` names nobody.
pub fn names(cors: &Cors, origin: &[u8]) -> bool {
    origin != b"*" && cors.origins.iter().any(|named| named.as_bytes() == origin)
}

/// Whether a page of `origin` may read our answers.
pub fn allows(cors: &Cors, origin: &[u8]) -> bool {
    is_open(cors) || names(cors, origin)
}

fn is_open(cors: &Cors) -> bool {
    cors.origins.iter().any(|named| named == "*")
}

/// The lines for an answer on a route, to a request with these headers. None without `cors`; without a known `Origin`
/// only `Vary`.
pub fn lines(cors: Option<&Cors>, request: &HeaderMap) -> Lines {
    let Some(cors) = cors else {
        return Lines::new();
    };
    let mut lines = granted(cors, request);
    if lines.len() > 1 {
        lines.push((
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        ));
    }
    lines
}

/// The lines for the answer (204) to a preflight for a run's resources.
pub fn preflight(cors: &Cors, request: &HeaderMap, owner_headers: &[HeaderName]) -> Lines {
    let mut lines = granted(cors, request);
    if lines.len() == 1 {
        return lines;
    }
    let mut names = String::from("prefer, range, raincheck-run-token, raincheck-replay");
    for name in owner_headers {
        names.push_str(", ");
        names.push_str(name.as_str());
    }
    lines.push((
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, DELETE"),
    ));
    lines.extend(
        HeaderValue::from_str(&names)
            .ok()
            .map(|names| (header::ACCESS_CONTROL_ALLOW_HEADERS, names)),
    );
    lines.push((
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from(cors.max_age.as_secs()),
    ));
    lines
}

/// `Vary`, and if the request's origin is allowed, who may read the answer.
fn granted(cors: &Cors, request: &HeaderMap) -> Lines {
    let mut lines = Lines::with_capacity(5);
    lines.push((header::VARY, HeaderValue::from_static("origin")));
    let Some(origin) = request.get(header::ORIGIN) else {
        return lines;
    };
    if !allows(cors, origin.as_bytes()) {
        return lines;
    }
    // With credentials a `*` is no answer (Fetch: "CORS protocol and credentials").
    let anybody = !cors.credentials && is_open(cors);
    let allowed = if anybody {
        HeaderValue::from_static("*")
    } else {
        origin.clone()
    };
    lines.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed));
    if cors.credentials {
        lines.push((
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        Cors {
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            credentials,
            max_age: Duration::from_secs(600),
        }
    }

    fn from(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])
    }

    fn value(lines: &Lines, name: &HeaderName) -> Option<String> {
        let (_, value) = lines.iter().find(|(line, _)| line == name)?;
        value.to_str().ok().map(str::to_owned)
    }

    #[test]
    fn a_known_origin_may_read_the_answer_and_a_foreign_one_may_not() {
        let cors = cors(&["https://app.example"], true);
        let known = lines(Some(&cors), &from("https://app.example"));
        let allow = &header::ACCESS_CONTROL_ALLOW_ORIGIN;
        assert_eq!(value(&known, allow).unwrap(), "https://app.example");
        assert_eq!(
            value(&known, &header::ACCESS_CONTROL_ALLOW_CREDENTIALS).unwrap(),
            "true"
        );
        assert!(value(&known, &header::ACCESS_CONTROL_EXPOSE_HEADERS).is_some());
        for other in [
            from("https://app.example.evil"),
            from("null"),
            HeaderMap::new(),
        ] {
            let lines = lines(Some(&cors), &other);
            assert_eq!(lines.len(), 1);
            assert_eq!(value(&lines, &header::VARY).unwrap(), "origin");
        }
    }

    #[test]
    fn a_star_is_answered_as_star_unless_credentials_go_with_it() {
        let allow = &header::ACCESS_CONTROL_ALLOW_ORIGIN;
        let star = lines(Some(&cors(&["*"], false)), &from("https://x.example"));
        assert_eq!(value(&star, allow).unwrap(), "*");
        let echo = lines(Some(&cors(&["*"], true)), &from("https://x.example"));
        assert_eq!(value(&echo, allow).unwrap(), "https://x.example");
    }

    #[test]
    fn a_route_without_cors_adds_nothing() {
        assert!(lines(None, &from("https://x.example")).is_empty());
    }

    #[test]
    fn a_preflight_names_what_a_script_may_send() {
        let cors = cors(&["https://app.example"], false);
        let owner = [header::AUTHORIZATION];
        let lines = preflight(&cors, &from("https://app.example"), &owner);
        assert!(
            value(&lines, &header::ACCESS_CONTROL_ALLOW_HEADERS)
                .unwrap()
                .ends_with(", authorization")
        );
        assert_eq!(
            value(&lines, &header::ACCESS_CONTROL_MAX_AGE).unwrap(),
            "600"
        );
        assert_eq!(
            preflight(&cors, &from("https://evil.example"), &owner).len(),
            1
        );
    }
}
