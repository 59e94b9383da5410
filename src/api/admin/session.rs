//! A browser's session: a cookie that says until when, signed; never the token itself.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use ring::hmac;

use crate::model::{secret::Secret, time::Timestamp};

/// How long a session lasts.
const LIFE: Duration = Duration::from_secs(12 * 3600);
const NAME: &str = "raincheck_session";
const PURPOSE: &[u8] = b"raincheck admin session\0";

/// Makes and checks sessions. Their key is made of the store's and of the token: another token ends them all, a
/// restart does not.
pub(super) struct Sessions(hmac::Key);

impl Sessions {
    pub(super) fn new(store_key: &Secret, token: &Secret) -> Self {
        let mut context = hmac::Context::with_key(&hmac_key(store_key.reveal()));
        context.update(PURPOSE);
        context.update(token.reveal());
        Self(hmac_key(context.sign().as_ref()))
    }

    /// The line that begins a session. `secure`: the browser is to send it over TLS only.
    pub(super) fn begin(&self, now: Timestamp, secure: bool) -> HeaderValue {
        let until = now.after(LIFE).seconds().to_string();
        let tag = BASE64.encode(hmac::sign(&self.0, until.as_bytes()));
        line(&format!("{until}.{tag}"), LIFE, secure)
    }

    /// Whether a request is one of a session.
    pub(super) fn holds(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let lines = headers.get_all(COOKIE).iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
            .any(|value| self.is_valid(value, now))
    }

    fn is_valid(&self, value: &str, now: Timestamp) -> bool {
        let Some((until, tag)) = value.split_once('.') else {
            return false;
        };
        let Ok(tag) = BASE64.decode(tag) else {
            return false;
        };
        hmac::verify(&self.0, until.as_bytes(), &tag).is_ok()
            && until
                .parse::<u64>()
                .is_ok_and(|until| now.seconds() < until)
    }
}

/// The line that ends a session.
pub(super) fn end(secure: bool) -> HeaderValue {
    line("", Duration::ZERO, secure)
}

/// No script can read it, and no other site's page has it sent.
fn line(value: &str, life: Duration, secure: bool) -> HeaderValue {
    let (life, secure) = (life.as_secs(), if secure { "; Secure" } else { "" });
    let line = format!("{NAME}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(line).expect("digits, base64 and attributes are a header value")
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn sessions(token: &str) -> Sessions {
        Sessions::new(&Secret::new(*b"key"), &Secret::new(token.as_bytes()))
    }

    fn sent(line: &HeaderValue) -> String {
        let line = line.to_str().unwrap();
        line.split(';').next().unwrap().to_owned()
    }

    fn holds(sessions: &Sessions, cookie: &str, now: Timestamp) -> bool {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).unwrap())]);
        sessions.holds(&headers, now)
    }

    #[test]
    fn a_session_holds_until_its_time_is_over() {
        let ours = sessions("s3cret");
        let cookie = sent(&ours.begin(NOW, false));
        assert!(!cookie.contains("s3cret"));
        assert!(holds(&ours, &cookie, NOW));
        assert!(holds(&ours, &format!("a=b;{cookie}; c=d"), NOW));
        let wrong = format!("raincheck_session=1.AA; {cookie}");
        assert!(holds(&ours, &wrong, NOW));
        assert!(holds(
            &ours,
            &cookie,
            NOW.after(LIFE - Duration::from_secs(1))
        ));
        assert!(!holds(&ours, &cookie, NOW.after(LIFE)));
    }

    #[test]
    fn another_token_or_key_ends_all_sessions() {
        let cookie = sent(&sessions("s3cret").begin(NOW, false));
        assert!(!holds(&sessions("other"), &cookie, NOW));
        let other_store = Sessions::new(&Secret::new(*b"yek"), &Secret::new(*b"s3cret"));
        assert!(!holds(&other_store, &cookie, NOW));
    }

    #[test]
    fn a_forged_session_does_not_hold() {
        let ours = sessions("s3cret");
        let cookie = sent(&ours.begin(NOW, false));
        let (until, tag) = cookie.split_once('.').unwrap();
        let later = format!("raincheck_session=9999999999.{tag}");
        for forged in [
            &cookie[..cookie.len() - 1],
            &later,
            until,
            "raincheck_session=",
            "raincheck_session",
            "",
        ] {
            assert!(!holds(&ours, forged, NOW), "{forged}");
        }
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_other_sites_and_plain_connections() {
        let line = sessions("s3cret").begin(NOW, true);
        let line = line.to_str().unwrap();
        for attribute in [
            "Path=/",
            "Max-Age=43200",
            "HttpOnly",
            "SameSite=Strict",
            "Secure",
        ] {
            assert!(line.split("; ").any(|one| one == attribute), "{line}");
        }
        assert!(
            !sessions("s3cret")
                .begin(NOW, false)
                .to_str()
                .unwrap()
                .contains("Secure")
        );
        assert!(
            end(true)
                .to_str()
                .unwrap()
                .starts_with("raincheck_session=; Path=/; Max-Age=0;")
        );
    }
}
