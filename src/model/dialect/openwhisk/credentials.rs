//! The credentials of a request: `user:password`, as HTTP Basic (RFC 7617) or as its bare token.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};

/// Takes padding or leaves it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request offers, decoded; none if it has no `Authorization`, several, or one that is neither
/// `Basic <token>` nor the token alone (one vendor documents both).
pub fn offered(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let line = line.as_bytes().trim_ascii();
    let token = match line.split_at_checked(6) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"basic ") => token.trim_ascii(),
        _ => line,
    };
    let decoded = BASE64.decode(token).ok()?;
    decoded.contains(&b':').then_some(decoded)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Option<String> {
        let lines = lines
            .iter()
            .map(|line| (header::AUTHORIZATION, HeaderValue::from_static(line)));
        offered(&lines.collect()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn basic_and_the_bare_token_offer_the_same() {
        for line in ["Basic dXNlcjpwYXNz", "basic  dXNlcjpwYXNz ", "dXNlcjpwYXNz"] {
            assert_eq!(of(&[line]).as_deref(), Some("user:pass"), "{line}");
        }
        assert_eq!(of(&["Basic dTpwYQ=="]).as_deref(), Some("u:pa"));
        assert_eq!(of(&["dTpwYQ"]).as_deref(), Some("u:pa"));
        assert_eq!(of(&["Basic dXNlcjo="]).as_deref(), Some("user:"));
    }

    #[test]
    fn anything_else_offers_nothing() {
        for lines in [
            &[][..],
            &[""],
            &["Basic"],
            &["Basic !!"],
            &["Bearer dXNlcjpwYXNz"],
            &["Basic dXNlcg=="],
            &["Basic dXNlcjpwYXNz", "Basic dXNlcjpwYXNz"],
        ] {
            assert_eq!(of(lines), None, "{lines:?}");
        }
    }
}
