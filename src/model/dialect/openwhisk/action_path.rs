//! What an action's name becomes at the application: `[openwhisk.namespaces.*] path`.

use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Where the name is put.
const PLACE: &str = "{action}";

/// What is encoded in a segment of a path: all but unreserved characters, sub-delims, `:` and `@` (RFC 3986 §3.3). The
/// slash between package and name stays.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A path with `{action}` in it, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionPath {
    before: String,
    after: String,
}

/// Why a text is no such path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no path of an action; write a path from the root with {{action}} in it once, \"/{{action}}\""
)]
pub struct InvalidActionPath;

impl FromStr for ActionPath {
    type Err = InvalidActionPath;

    fn from_str(text: &str) -> Result<Self, InvalidActionPath> {
        let (before, after) = text.split_once(PLACE).ok_or(InvalidActionPath)?;
        let plain = |piece: &str| {
            piece.bytes().all(|byte| {
                byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'{' | b'}' | b'\\')
            })
        };
        let dots = ["/../", "/./", "//"];
        let whole = format!("{before}x{after}/");
        if before.starts_with('/')
            && plain(before)
            && plain(after)
            && !dots.iter().any(|dots| whole.contains(dots))
        {
            let (before, after) = (before.to_owned(), after.to_owned());
            Ok(Self { before, after })
        } else {
            Err(InvalidActionPath)
        }
    }
}

impl ActionPath {
    /// The path of this action, `name` or `package/name`.
    pub fn of(&self, action: &str) -> String {
        let name = utf8_percent_encode(action, ENCODED);
        format!("{}{name}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_put_in_its_place_and_encoded() {
        for (path, action, expected) in [
            ("/{action}", "hello", "/hello"),
            ("/{action}", "sample/hello", "/sample/hello"),
            ("/fn/{action}/run", "a b", "/fn/a%20b/run"),
            ("/x-{action}", "50%?#é@x.y", "/x-50%25%3F%23%C3%A9@x.y"),
        ] {
            assert_eq!(path.parse::<ActionPath>().unwrap().of(action), expected);
        }
    }

    #[test]
    fn what_is_no_path_of_an_action_is_refused() {
        for path in [
            "",
            "/",
            "/fn",
            "{action}",
            "/{action}/{action}",
            "/{name}",
            "/a?b={action}",
            "/../{action}",
            "//{action}",
            "/a b/{action}",
        ] {
            assert_eq!(path.parse::<ActionPath>(), Err(InvalidActionPath), "{path}");
        }
    }
}
