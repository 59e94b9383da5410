//! Where calls of functions go at the upstream: a path with `{name}` and `{path}` in it.

use std::str::FromStr;

use super::Call;
use crate::model::{
    exchange::path::has_dot_segments,
    problem::{Code, Problem},
};

/// The route's `openfaas_path`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamPath(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Function,
    /// What follows the function's name, with the slash before it.
    Rest,
}

/// Why a text is no such path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstreamPath {
    /// It would be no path of a request.
    #[error("is not a path")]
    NoPath,
    /// All functions would be one.
    #[error("has no {{name}}, so that all functions would be one")]
    NoName,
    /// `{path}` brings its own slash, if there is a path.
    #[error("has a {{path}} without a slash before it")]
    NoSlash,
    /// Something else in braces.
    #[error("has braces around something else than name or path")]
    Braces,
}

impl FromStr for UpstreamPath {
    type Err = InvalidUpstreamPath;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreamPath> {
        if !text.starts_with('/') || !is_plain(text) || has_dot_segments(text.as_bytes()) {
            return Err(InvalidUpstreamPath::NoPath);
        }
        let mut pieces = Vec::new();
        let mut left = text;
        while let Some((before, after)) = left.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(InvalidUpstreamPath::Braces)?;
            let (before, piece) = match name {
                "name" => (before, Piece::Function),
                "path" => {
                    let before = before.strip_suffix('/');
                    (before.ok_or(InvalidUpstreamPath::NoSlash)?, Piece::Rest)
                }
                _ => return Err(InvalidUpstreamPath::Braces),
            };
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(piece);
            left = after;
        }
        if left.contains('}') {
            return Err(InvalidUpstreamPath::Braces);
        }
        if !pieces.contains(&Piece::Function) {
            return Err(InvalidUpstreamPath::NoName);
        }
        pieces.push(Piece::Text(left.to_owned()));
        Ok(Self(pieces))
    }
}

/// Visible ASCII without query or fragment, percent-encoded rightly: half a code could be completed by a name.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'))
        && text.split('%').skip(1).all(|code| {
            code.as_bytes()
                .get(..2)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

impl UpstreamPath {
    /// The target of a call at the upstream, with the query as it was sent. Every byte of the call stays as it was.
    ///
    /// # Errors
    /// [`Code::NoRoute`] for a path below a function where there is no `{path}`; [`Code::AmbiguousPath`] for dot
    /// segments, which would lead out of the function's place.
    pub fn target(&self, call: &Call<'_>, query: Option<&[u8]>) -> Result<Vec<u8>, Problem> {
        if !matches!(call.rest, b"" | b"/") && !self.0.contains(&Piece::Rest) {
            let detail = "Functions have no paths below them here; ask for /async-function/NAME.";
            return Err(Problem::new(Code::NoRoute, detail));
        }
        let mut target = Vec::with_capacity(64 + call.rest.len() + query.map_or(0, <[u8]>::len));
        for piece in &self.0 {
            target.extend_from_slice(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Function => call.function,
                Piece::Rest => call.rest,
            });
        }
        if has_dot_segments(&target) {
            let detail = "The path has `.` or `..` segments, plain or percent-encoded; send the path that they lead to.";
            return Err(Problem::new(Code::AmbiguousPath, detail));
        }
        if let Some(query) = query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::model::{dialect::Head, problem::Code};

    fn at(template: &str, target: &str) -> Result<String, Code> {
        let head = Head {
            method: &Method::POST,
            target: target.as_bytes(),
            headers: &HeaderMap::new(),
        };
        let call = Call::of(&head).map_err(|problem| problem.code)?.unwrap();
        let template: UpstreamPath = template.parse().unwrap();
        let target = template.target(&call, head.query());
        let target = target.map_err(|problem| problem.code)?;
        Ok(target.escape_ascii().to_string())
    }

    #[test]
    fn calls_go_where_the_route_says() {
        const DEFAULT: &str = "/{name}/{path}";
        for (template, target, upstream) in [
            (DEFAULT, "/async-function/echo", "/echo"),
            (DEFAULT, "/async-function/echo/", "/echo/"),
            (DEFAULT, "/async-function/echo?", "/echo?"),
            (
                DEFAULT,
                "/async-function/echo/a//b/?q=/x&y=%20",
                "/echo/a//b/?q=/x&y=%20",
            ),
            (DEFAULT, "/async-function/e%63ho.ns/%2Fa", "/e%63ho.ns/%2Fa"),
            (DEFAULT, "/async-function/a?b/../c", "/a?b/../c"),
            ("/fn/{name}", "/async-function/echo", "/fn/echo"),
            ("/fn/{name}", "/async-function/echo/?q", "/fn/echo?q"),
            (
                "/function/{name}/{path}",
                "/async-function/echo/x",
                "/function/echo/x",
            ),
            (
                "/v1/{name}/call/{path}",
                "/async-function/echo",
                "/v1/echo/call",
            ),
            (
                "/{path}/{name}.{name}",
                "/async-function/echo/a/b",
                "/a/b/echo.echo",
            ),
            ("/{path}/{name}", "/async-function/echo", "/echo"),
        ] {
            assert_eq!(at(template, target), Ok(upstream.to_owned()), "{target}");
        }
    }

    #[test]
    fn calls_without_a_place_are_refused() {
        for (target, code) in [
            ("/async-function", Code::NoRoute),
            ("/async-function/", Code::NoRoute),
            ("/async-function?x", Code::NoRoute),
            ("/async-function//echo", Code::NoRoute),
            ("/async-function/echo/x", Code::NoRoute),
            ("/async-function/%2e", Code::AmbiguousPath),
            ("/async-function/a%2f", Code::AmbiguousPath),
        ] {
            assert_eq!(at("/fn/{name}.", target), Err(code), "{target}");
        }
        for target in ["echo/..", "echo/..%2fx", "%2e%2e/x"] {
            let target = format!("/async-function/{target}");
            assert_eq!(at("/{name}/{path}", &target), Err(Code::AmbiguousPath));
        }
    }

    #[test]
    fn a_path_that_is_wrong_says_why() {
        use InvalidUpstreamPath::*;
        for (text, why) in [
            ("", NoPath),
            ("{name}", NoPath),
            ("/{name}?x", NoPath),
            ("/{name}/é", NoPath),
            ("/{name} x", NoPath),
            ("/../{name}", NoPath),
            ("/%2{name}", NoPath),
            ("/%zz/{name}", NoPath),
            ("/", NoName),
            ("/{path}", NoName),
            ("/{name}{path}", NoSlash),
            ("/{name}-{path}", NoSlash),
            ("/{Name}/{name}", Braces),
            ("/{name", Braces),
            ("/{name}}", Braces),
            ("/{}", Braces),
        ] {
            assert_eq!(text.parse::<UpstreamPath>(), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_of_a_call_is_touched(
            function in "[!$-.0-9:->@-~]{1,20}", rest in "(/[ -~]{0,20})?", query: Option<Vec<u8>>,
            before in "(/[a-z.]{2,5}[a-z]){0,2}",
        ) {
            let rest = rest.replace(['?', '#'], "_");
            prop_assume!(!has_dot_segments(format!("/{function}{rest}").as_bytes()));
            let query_text = query.as_ref().map(|query| [b"?", &query[..]].concat()).unwrap_or_default();
            let target = [format!("/async-function/{function}{rest}").as_bytes(), &query_text].concat();
            let head = Head { method: &Method::GET, target: &target, headers: &HeaderMap::new() };
            let call = Call::of(&head).unwrap().unwrap();
            let template: UpstreamPath = format!("{before}/{{name}}/{{path}}").parse().unwrap();
            let expected = [format!("{before}/{function}{rest}").as_bytes(), &query_text].concat();
            prop_assert_eq!(template.target(&call, head.query()), Ok(expected));
        }

        #[test]
        fn no_call_leads_out_of_its_place(pieces in proptest::collection::vec(
            select(vec!["/", ".", "..", "%2e", "%2F", "a", "%", "2e", "{path}"]), 0..8),
            template in select(vec!["/{name}/{path}", "/.{name}/{path}/b", "/{path}/{name}.", "/x/{name}"])) {
            let target = format!("/async-function/{}", pieces.concat());
            let head = Head { method: &Method::GET, target: target.as_bytes(), headers: &HeaderMap::new() };
            if let Ok(Some(call)) = Call::of(&head) {
                let template: UpstreamPath = template.parse().unwrap();
                if let Ok(target) = template.target(&call, None) {
                    prop_assert!(!has_dot_segments(&target), "{}", target.escape_ascii());
                }
            }
        }
    }
}
