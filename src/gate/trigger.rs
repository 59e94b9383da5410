//! What a request asks for on its route: the dialects decide, then `always`.

use http::{Method, header};

use super::endpoint;
use crate::{
    config::RunSettings,
    model::{
        dialect::{self, Dialect, Errors, Head, Parameters},
        problem::Problem,
    },
};

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// To be passed through.
    Nothing,
    /// A run, in the words of this dialect.
    Run(&'static Dialect),
    /// Nothing; but every request on the route is a run, answered in this dialect.
    Always(&'static Dialect),
    /// A synchronous call whose webhook is told.
    Told,
}

/// What a request asks for, on a route with these settings. It is called for every request, and does not allocate for
/// one that asks for nothing.
///
/// # Errors
/// When it asks in a way that contradicts itself.
pub fn asked(head: &Head<'_>, settings: &RunSettings) -> Result<Asked, Problem> {
    if is_preflight(head) {
        return Ok(Asked::Nothing);
    }
    let dialects = settings.dialects.iter().copied();
    if let Some(dialect) = dialect::trigger(head, &parameters(settings), dialects)? {
        return Ok(Asked::Run(dialect));
    }
    Ok(match unasked(settings) {
        Some(dialect) => Asked::Always(dialect),
        None if endpoint::is_named(head.query(), &settings.webhook_parameter) => Asked::Told,
        None => Asked::Nothing,
    })
}

/// The names of a route's control parameters.
pub(super) fn parameters(settings: &RunSettings) -> Parameters<'_> {
    Parameters {
        asynchronous: &settings.async_parameter,
        blocking: &settings.blocking_parameter,
        webhook: &settings.webhook_parameter,
    }
}

/// How a request on the route is told what is wrong with it: as the dialect does that it asks in.
pub(super) fn errors(head: &Head<'_>, settings: &RunSettings) -> Errors {
    let dialects = || settings.dialects.iter().copied();
    dialect::of_path(head, dialects())
        .or_else(|| dialect::trigger(head, &parameters(settings), dialects()).ok()?)
        .or_else(|| unasked(settings))
        .map_or(Errors::Document, |dialect| dialect.errors)
}

/// The dialect of a run that nobody asked for.
fn unasked(settings: &RunSettings) -> Option<&'static Dialect> {
    let first = settings.dialects.first().filter(|_| settings.always);
    first.copied()
}

/// A CORS preflight: browsers send it with the same URL, and never ask for a run with it.
pub(super) fn is_preflight(head: &Head<'_>) -> bool {
    *head.method == Method::OPTIONS
        && head
            .headers
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::config::Config;

    /// What a request with this head asks for on a route with these keys.
    fn ask(keys: &str, method: Method, target: &str, prefer: bool) -> String {
        let text = format!("[[route]]\nname = \"a\"\n[route.async]\n{keys}");
        let config = Config::embedded(&text).unwrap();
        let mut headers = HeaderMap::new();
        if prefer {
            headers.insert("prefer", HeaderValue::from_static("respond-async"));
        }
        if method == Method::OPTIONS {
            let method = header::ACCESS_CONTROL_REQUEST_METHOD;
            headers.insert(method, HeaderValue::from_static("POST"));
        }
        let head = Head {
            method: &method,
            target: target.as_bytes(),
            headers: &headers,
        };
        let settings = config.routes[0].run.as_ref().unwrap();
        let errors = errors(&head, settings);
        let asked = match asked(&head, settings) {
            Ok(asked) => format!("{asked:?}"),
            Err(problem) => problem.code.as_str().to_owned(),
        };
        format!("{asked} {errors:?}")
    }

    #[test]
    fn a_request_asks_in_one_of_the_routes_dialects_or_the_route_asks_for_it() {
        const ALL: &str = "dialects = [\"cerebrium\", \"ubidots\", \"prefer\", \"openfaas\"]\n";
        const OPENFAAS: &str = "dialects = [\"openfaas\", \"cerebrium\"]\nalways = true\n";
        const NAMED: &str = "dialects = [\"ubidots\", \"cerebrium\"]\n\
            parameters = { async = \"bg\", blocking = \"wait\", webhook = \"hook\" }\n";
        let always = format!("{ALL}always = true\n");
        for (keys, target, prefer, asked) in [
            (ALL, "/", false, "Nothing Document"),
            (
                ALL,
                "/?async=false&_blocking=true",
                false,
                "Nothing Document",
            ),
            (ALL, "/?async=true", true, "Run(cerebrium) Document"),
            (ALL, "/?_blocking=False", true, "Run(ubidots) Document"),
            (ALL, "/async-function/f", true, "Run(openfaas) Text"),
            (
                ALL,
                "/async-function/f?async=0",
                false,
                "Run(openfaas) Text",
            ),
            (ALL, "/", true, "Run(prefer) Document"),
            (ALL, "/?webhookEndpoint=x", false, "Told Document"),
            (
                ALL,
                "/?async=true&_blocking=false",
                false,
                "conflicting-triggers Document",
            ),
            (
                ALL,
                "/async-function/f?async=true",
                false,
                "conflicting-triggers Text",
            ),
            (
                ALL,
                "/async-function/f?_blocking=false",
                true,
                "conflicting-triggers Text",
            ),
            (ALL, "/async-function/", false, "no-route Text"),
            (ALL, "/async-functions/f", false, "Nothing Document"),
            (
                ALL,
                "/?_blocking=false&_blocking=1",
                false,
                "repeated-parameter Document",
            ),
            (&always, "/", false, "Always(cerebrium) Document"),
            (
                &always,
                "/?async=false&webhookEndpoint=x",
                false,
                "Always(cerebrium) Document",
            ),
            (&always, "/?_blocking=false", false, "Run(ubidots) Document"),
            (&always, "/", true, "Run(prefer) Document"),
            (OPENFAAS, "/", true, "Always(openfaas) Text"),
            (OPENFAAS, "/?async=true", true, "Run(cerebrium) Document"),
            ("", "/?_blocking=false", false, "Nothing Document"),
            ("", "/async-function/f", false, "Nothing Document"),
            (
                NAMED,
                "/?async=true&_blocking=false&webhookEndpoint=x",
                true,
                "Nothing Document",
            ),
            (NAMED, "/?wait=false&hook=x", false, "Run(ubidots) Document"),
            (NAMED, "/?bg=true", false, "Run(cerebrium) Document"),
        ] {
            assert_eq!(
                ask(keys, Method::PUT, target, prefer),
                asked,
                "{keys}{target}"
            );
            let preflight = ask(keys, Method::OPTIONS, target, prefer);
            assert!(preflight.starts_with("Nothing "), "{keys}{target}");
        }
    }
}
