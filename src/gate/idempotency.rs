//! Idempotency keys: how they are written, whose they are, and what they stand for.

use http::{HeaderMap, HeaderName, header};
use ring::digest::{Context, SHA256};

use crate::model::{
    problem::{Code, Problem},
    run::Access,
};

/// The key of a request, quoted or bare; none if it is absent or empty.
///
/// # Errors
/// [`Code::BadRequest`] if it is given several times, differently.
pub(super) fn key_of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Vec<u8>>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != first) {
        let detail = format!("The request has several different `{name}` headers; send one.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let key = bare(first.as_bytes().trim_ascii());
    Ok((!key.is_empty()).then_some(key))
}

/// The key within its quotes (a string of RFC 9651 §3.3.3), if it has any.
fn bare(value: &[u8]) -> Vec<u8> {
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let Some(quoted) = quoted else {
        return value.to_vec();
    };
    let mut key = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        let literal = if byte == b'\\' { bytes.next() } else { None };
        key.push(*literal.unwrap_or(&byte));
    }
    key
}

/// SHA-256 of the key within its route and its owner: the owner headers, else the cookie.
pub(super) fn scope(route: &str, access: &Access, headers: &HeaderMap, key: &[u8]) -> [u8; 32] {
    let mut hash = Hash::new();
    hash.piece(route.as_bytes());
    match access {
        Access::Owner(owner) => hash.piece(owner),
        Access::TokenOnly | Access::Anybody => {
            for cookie in headers.get_all(header::COOKIE) {
                hash.piece(cookie.as_bytes());
            }
        }
    }
    hash.piece(key);
    hash.end()
}

/// A SHA-256 over pieces, each with its length in front: two different lists never read alike.
pub(super) struct Hash(Context);

impl Hash {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn piece(&mut self, piece: &[u8]) {
        self.0.update(&(piece.len() as u64).to_be_bytes());
        self.0.update(piece);
    }

    /// Adds a part of the last piece, whose length is not known.
    pub(super) fn stream(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    pub(super) fn end(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("idempotency-key");

    fn keyed(values: &[&'static str]) -> Result<Option<Vec<u8>>, Code> {
        let headers: HeaderMap = values
            .iter()
            .map(|value| (NAME, HeaderValue::from_static(value)))
            .collect();
        key_of(&headers, &NAME).map_err(|problem| problem.code)
    }

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        for value in ["abc", "\"abc\"", " abc ", "\"a\\bc\""] {
            assert_eq!(keyed(&[value]), Ok(Some(b"abc".to_vec())), "{value}");
        }
        assert_eq!(keyed(&["\"a\\\"b\""]), Ok(Some(b"a\"b".to_vec())));
        assert_eq!(keyed(&["a", "a"]), Ok(Some(b"a".to_vec())));
        assert_eq!(keyed(&["a", "b"]), Err(Code::BadRequest));
        for none in [&[][..], &[""], &["\"\""]] {
            assert_eq!(keyed(none), Ok(None));
        }
    }

    #[test]
    fn a_key_belongs_to_its_route_and_owner() {
        let cookie =
            |value| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(value))]);
        let scopes = [
            scope("a", &Access::Anybody, &HeaderMap::new(), b"k"),
            scope("b", &Access::Anybody, &HeaderMap::new(), b"k"),
            scope("a", &Access::Anybody, &HeaderMap::new(), b"l"),
            scope("a", &Access::Owner([1; 32]), &HeaderMap::new(), b"k"),
            scope("a", &Access::Owner([2; 32]), &cookie("s=1"), b"k"),
            scope("a", &Access::TokenOnly, &cookie("s=1"), b"k"),
            scope("a", &Access::TokenOnly, &cookie("s=2"), b"k"),
        ];
        for (index, one) in scopes.iter().enumerate() {
            assert!(!scopes[index + 1..].contains(one), "{index}");
        }
        let again = scope("a", &Access::Owner([2; 32]), &cookie("other"), b"k");
        assert_eq!(scopes[4], again);
    }
}
