//! Who may look at a run: its token, the hash of its owner's headers, and the decision.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::{HeaderMap, HeaderName, header};
use ring::hmac;

use super::{id::RunId, run::Access, secret::Secret};

/// What is signed begins with its purpose, so that a token is never taken for a hash or the other way round.
const TOKEN: &[u8] = b"raincheck run token\0";
const OWNER: &[u8] = b"raincheck run owner\0";

/// What a request offers to be shown a run.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// `?token=` or `Raincheck-Run-Token`.
    pub token: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The names of the route's owner headers.
    pub owner_headers: &'a [HeaderName],
}

/// The token of a run's `Location`: HMAC-SHA256 of its id under the store's key, as base64url without padding.
pub fn token(key: &Secret, id: RunId) -> String {
    BASE64.encode(sign(key, TOKEN, [id.as_bytes().as_slice()]))
}

/// Whether `offered` is the run's token. Takes the same time whatever is wrong with it.
pub fn token_is_valid(key: &Secret, id: RunId, offered: &str) -> bool {
    let Ok(offered) = BASE64.decode(offered) else {
        return false;
    };
    let mut message = [0; TOKEN.len() + 16];
    message[..TOKEN.len()].copy_from_slice(TOKEN);
    message[TOKEN.len()..].copy_from_slice(id.as_bytes());
    hmac::verify(&hmac_key(key), &message, &offered).is_ok()
}

/// The keyed hash of a request's owner headers, names and values; none if it has none of them.
pub fn owner_hash(key: &Secret, headers: &HeaderMap, names: &[HeaderName]) -> Option<[u8; 32]> {
    if !names.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let lines = names.iter().flat_map(|name| {
        headers
            .get_all(name)
            .iter()
            .map(move |value| (name, value.as_bytes()))
    });
    let mut context = context(key, OWNER);
    for (name, value) in lines {
        // The value's length keeps two headers from reading like another two.
        context.update(name.as_str().as_bytes());
        context.update(&(value.len() as u64).to_be_bytes());
        context.update(value);
    }
    Some(bytes_of(context))
}

/// Who may look at a run that is made by a request with these headers.
pub fn access_of(key: &Secret, headers: &HeaderMap, owner_headers: &[HeaderName]) -> Access {
    match owner_hash(key, headers, owner_headers) {
        Some(hash) => Access::Owner(hash),
        None if headers.contains_key(header::COOKIE) => Access::TokenOnly,
        None => Access::Anybody,
    }
}

/// Whether a request that offers this may look at run `id` and cancel it.
pub fn may_look(key: &Secret, id: RunId, access: &Access, offer: Offer<'_>) -> bool {
    if offer
        .token
        .is_some_and(|token| token_is_valid(key, id, token))
    {
        return true;
    }
    match access {
        Access::Anybody => true,
        Access::TokenOnly => false,
        Access::Owner(hash) => owner_hash(key, offer.headers, offer.owner_headers)
            .is_some_and(|offered| are_equal(key, hash, &offered)),
    }
}

/// Compares two hashes in constant time, as HMACs of themselves.
fn are_equal(key: &Secret, one: &[u8; 32], other: &[u8; 32]) -> bool {
    let key = hmac_key(key);
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

fn sign<'a>(key: &Secret, purpose: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = context(key, purpose);
    for piece in pieces {
        context.update(piece);
    }
    bytes_of(context)
}

fn context(key: &Secret, purpose: &[u8]) -> hmac::Context {
    let mut context = hmac::Context::with_key(&hmac_key(key));
    context.update(purpose);
    context
}

fn bytes_of(context: hmac::Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.sign().as_ref());
    bytes
}

fn hmac_key(key: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.reveal())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key() -> Secret {
        Secret::new(*b"0123456789abcdef0123456789abcdef")
    }

    fn id(n: u64) -> RunId {
        RunId::from_parts(77, n)
    }

    fn names() -> Vec<HeaderName> {
        vec![header::AUTHORIZATION, HeaderName::from_static("x-api-key")]
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn may(access: &Access, token: Option<&str>, offered: &[(&'static str, &'static str)]) -> bool {
        let offer = Offer {
            token,
            headers: &headers(offered),
            owner_headers: &names(),
        };
        may_look(&key(), id(1), access, offer)
    }

    #[test]
    fn a_token_opens_its_own_run_only() {
        let token = token(&key(), id(1));
        assert_eq!(token.len(), 43);
        assert!(token_is_valid(&key(), id(1), &token));
        assert!(!token_is_valid(&key(), id(2), &token));
        assert!(!token_is_valid(&Secret::new(*b"another"), id(1), &token));
        for wrong in ["", "?", &token[1..], &format!("{token}A")] {
            assert!(!token_is_valid(&key(), id(1), wrong), "{wrong}");
        }
    }

    #[test]
    fn who_sends_the_same_owner_headers_may_look_and_nobody_else() {
        let owner = [("authorization", "Bearer a"), ("x-api-key", "k")];
        let access = access_of(&key(), &headers(&owner), &names());
        assert!(may(&access, None, &owner));
        assert!(may(&access, Some(&token(&key(), id(1))), &[]));
        for other in [
            &[("authorization", "Bearer a")][..],
            &[("authorization", "Bearer b"), ("x-api-key", "k")],
            &[("authorization", "k"), ("x-api-key", "Bearer a")],
            &[("cookie", "a=b")],
            &[],
        ] {
            assert!(!may(&access, None, other), "{other:?}");
            assert!(!may(&access, Some("wrong"), other), "{other:?}");
        }
    }

    #[test]
    fn a_run_with_a_cookie_and_no_owner_is_opened_by_its_token_only() {
        let cookie = [("cookie", "session=1")];
        let access = access_of(&key(), &headers(&cookie), &names());
        assert_eq!(access, Access::TokenOnly);
        assert!(!may(&access, None, &cookie));
        assert!(may(&access, Some(&token(&key(), id(1))), &[]));
    }

    #[test]
    fn a_run_without_owner_and_cookie_is_shown_to_anybody() {
        let access = access_of(&key(), &headers(&[("accept", "*/*")]), &names());
        assert_eq!(access, Access::Anybody);
        assert!(may(&access, None, &[("authorization", "Bearer x")]));
    }
}
