//! Who calls: whose credentials a request has, and which namespaces are open to it.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use ring::hmac;

use crate::{
    config::Namespace,
    model::{
        dialect::openwhisk::{credentials, refusal::Refusal},
        secret::Secret,
    },
};

/// The namespace of whoever asks.
const OWN: &str = "_";

/// All namespaces, and how their credentials are compared.
pub(super) struct Callers {
    namespaces: Vec<Arc<Namespace>>,
    key: hmac::Key,
}

impl Callers {
    pub(super) fn new(namespaces: &[Arc<Namespace>], key: &Secret) -> Self {
        Self {
            namespaces: namespaces.to_vec(),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.reveal()),
        }
    }

    /// All of them, in the order of the configuration.
    pub(super) fn namespaces(&self) -> &[Arc<Namespace>] {
        &self.namespaces
    }

    /// The namespace of this name, or the caller's own one, if these headers open it.
    ///
    /// # Errors
    /// 401 without credentials that open any; 403 with those of another namespace, and for a name that is nobody's.
    pub(super) fn namespace(
        &self,
        name: &str,
        headers: &HeaderMap,
    ) -> Result<&Arc<Namespace>, Refusal> {
        let own = self.with_credentials_of(headers);
        let unauthorized = || Refusal::unauthorized(headers.contains_key(AUTHORIZATION));
        if name == OWN {
            let mut own = own.into_iter().chain(self.open());
            return own.next().ok_or_else(unauthorized);
        }
        let named = self.namespaces.iter().find(|known| known.name == name);
        let opened =
            named.filter(|named| is_open(named) || own.iter().any(|own| Arc::ptr_eq(own, named)));
        opened.ok_or_else(|| {
            let is_caller = !own.is_empty() || self.namespaces.iter().all(is_open);
            if is_caller {
                Refusal::forbidden(name)
            } else {
                unauthorized()
            }
        })
    }

    /// The namespaces of the caller; if it is nobody, those that are open to everybody.
    ///
    /// # Errors
    /// 401 if there are none.
    pub(super) fn own(&self, headers: &HeaderMap) -> Result<Vec<&Arc<Namespace>>, Refusal> {
        let mut own = self.with_credentials_of(headers);
        if own.is_empty() {
            own.extend(self.open());
        }
        if own.is_empty() {
            return Err(Refusal::unauthorized(headers.contains_key(AUTHORIZATION)));
        }
        Ok(own)
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces
            .iter()
            .filter(|namespace| is_open(namespace))
    }

    /// The namespaces whose credentials a request offers. All are compared, in a time that tells none of them.
    fn with_credentials_of(&self, headers: &HeaderMap) -> Vec<&Arc<Namespace>> {
        let Some(offered) = credentials::offered(headers) else {
            return Vec::new();
        };
        let offered = hmac::sign(&self.key, &offered);
        let has = |namespace: &&Arc<Namespace>| {
            let same = namespace
                .credentials
                .iter()
                .filter(|known| hmac::verify(&self.key, known.reveal(), offered.as_ref()).is_ok());
            same.count() > 0
        };
        self.namespaces.iter().filter(has).collect()
    }
}

fn is_open(namespace: &Arc<Namespace>) -> bool {
    namespace.credentials.is_empty()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;
    use crate::config::Config;

    fn callers(namespaces: &[(&str, &str)]) -> Callers {
        let mut text = "[upstream.app]\npeers = [\"a:1\"]\n".to_owned();
        for (name, credentials) in namespaces {
            text += &format!(
                "[openwhisk.namespaces.{name}]\nupstream = \"app\"\ncredentials = {credentials}\n"
            );
        }
        let config = Config::read(&text, Path::new("")).unwrap();
        Callers::new(&config.namespaces, &Secret::new(*b"key"))
    }

    fn headers(credentials: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !credentials.is_empty() {
            let line = format!("Basic {}", STANDARD.encode(credentials));
            headers.insert(AUTHORIZATION, line.parse().unwrap());
        }
        headers
    }

    /// What is asked for by whom, and what that opens.
    fn opened(callers: &Callers, asks: &[(&str, &str, &str)]) {
        for (credentials, name, expected) in asks {
            let said = match callers.namespace(name, &headers(credentials)) {
                Ok(namespace) => namespace.name.clone(),
                Err(refusal) => refusal.status.to_string(),
            };
            assert_eq!(said, *expected, "{credentials} {name}");
        }
    }

    #[test]
    fn each_namespace_opens_to_its_own_credentials() {
        let callers = callers(&[
            ("one", "[\"a:1\", \"b:2\"]"),
            ("two", "[\"b:2\"]"),
            ("all", "[]"),
        ]);
        opened(
            &callers,
            &[
                ("a:1", "one", "one"),
                ("a:1", "_", "one"),
                ("a:1", "two", "403"),
                ("a:1", "all", "all"),
                ("a:1", "none", "403"),
                ("b:2", "one", "one"),
                ("b:2", "two", "two"),
                ("b:2", "_", "one"),
                ("a:2", "one", "401"),
                ("a:1 ", "one", "401"),
                ("x:y", "none", "401"),
                ("x:y", "_", "all"),
                ("", "one", "401"),
                ("", "all", "all"),
                ("", "_", "all"),
                ("", "none", "401"),
            ],
        );
        let own = |credentials| {
            let own = callers.own(&headers(credentials)).unwrap();
            own.iter().map(|own| own.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(own("b:2"), ["one", "two"]);
        assert_eq!(own("x:y"), ["all"]);
        assert_eq!(own(""), ["all"]);
    }

    #[test]
    fn where_all_is_protected_nobody_sees_anything_and_where_all_is_open_everybody_does() {
        let protected = callers(&[("one", "[\"a:1\"]")]);
        opened(&protected, &[("", "_", "401"), ("x:y", "_", "401")]);
        assert_eq!(protected.own(&headers("x:y")).unwrap_err().status, 401);
        let open = callers(&[("one", "[]")]);
        opened(
            &open,
            &[("", "_", "one"), ("x:y", "one", "one"), ("", "none", "403")],
        );
    }
}
