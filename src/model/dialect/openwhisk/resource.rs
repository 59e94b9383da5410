//! What a path of the API names.

use percent_encoding::percent_decode;

use super::{PREFIX, refusal::Refusal};

/// The longest segment of an action's name, in characters.
const LONGEST: usize = 256;

/// What a request is about. Namespaces are as the caller writes them; `_` is its own one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The caller's namespaces.
    Namespaces,
    /// An action, to be invoked.
    Action {
        /// Whose.
        namespace: String,
        /// `name` or `package/name`, decoded.
        action: String,
    },
    /// The activations of a namespace.
    Activations {
        /// Whose.
        namespace: String,
    },
    /// One of them.
    Activation {
        /// Whose.
        namespace: String,
        /// Its id, as the caller writes it.
        id: String,
        /// What of it.
        part: Part,
    },
    /// Where a namespace's logs are sent to.
    LogForwarding {
        /// Whose.
        namespace: String,
    },
}

/// What of an activation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All.
    Record,
    /// Its result.
    Result,
    /// Its logs.
    Logs,
}

/// Whether a raw path is one of the API's.
pub fn owns(path: &[u8]) -> bool {
    let below = path.strip_prefix(PREFIX.as_bytes());
    below.is_some_and(|below| matches!(below.first(), None | Some(b'/')))
}

/// The namespace of `/runtime/namespaces/{namespace}/logForwarding`: the one path elsewhere that a client (Adobe's command
/// line) asks for before it shows logs.
pub fn of_log_forwarding(path: &[u8]) -> Option<String> {
    let namespace = path.strip_prefix(b"/runtime/namespaces/")?;
    let namespace = namespace.strip_suffix(b"/logForwarding")?;
    text(namespace).filter(|name| !name.contains('/'))
}

impl Resource {
    /// What a raw path names.
    ///
    /// # Errors
    /// A path that names nothing, or an action that cannot be one.
    pub fn of(path: &[u8]) -> Result<Self, Refusal> {
        if let Some(namespace) = of_log_forwarding(path) {
            return Ok(Self::LogForwarding { namespace });
        }
        let below = path
            .strip_prefix(PREFIX.as_bytes())
            .and_then(|below| below.strip_prefix(b"/"))
            .ok_or_else(Refusal::nothing)?;
        let below = below.strip_suffix(b"/").unwrap_or(below);
        let mut segments = below.splitn(4, |&byte| byte == b'/');
        let (first, namespace, kind, rest) = (
            segments.next().unwrap_or_default(),
            segments.next(),
            segments.next(),
            segments.next(),
        );
        if first != b"namespaces" {
            return Err(Refusal::nothing());
        }
        let Some(namespace) = namespace else {
            return Ok(Self::Namespaces);
        };
        let namespace = text(namespace).ok_or_else(Refusal::nothing)?;
        match (kind, rest) {
            (Some(b"activations"), None) => Ok(Self::Activations { namespace }),
            (Some(b"activations"), Some(rest)) => activation(namespace, rest),
            (Some(b"actions"), Some(rest)) => Ok(Self::Action {
                namespace,
                action: action(rest)?,
            }),
            _ => Err(Refusal::nothing()),
        }
    }

    /// The methods that it takes.
    pub const fn methods(&self) -> &'static str {
        match self {
            Self::Action { .. } => "POST, OPTIONS",
            Self::Namespaces
            | Self::Activations { .. }
            | Self::Activation { .. }
            | Self::LogForwarding { .. } => "GET, HEAD, OPTIONS",
        }
    }

    /// The namespace that it is in; none for the list of them.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Namespaces => None,
            Self::Action { namespace, .. }
            | Self::Activations { namespace }
            | Self::LogForwarding { namespace }
            | Self::Activation { namespace, .. } => Some(namespace),
        }
    }
}

fn activation(namespace: String, rest: &[u8]) -> Result<Resource, Refusal> {
    let mut segments = rest.split(|&byte| byte == b'/');
    let id = segments.next().and_then(text);
    let part = match (segments.next(), segments.next()) {
        (None, None) => Some(Part::Record),
        (Some(b"result"), None) => Some(Part::Result),
        (Some(b"logs"), None) => Some(Part::Logs),
        _ => None,
    };
    let (id, part) = id.zip(part).ok_or_else(Refusal::nothing)?;
    Ok(Resource::Activation {
        namespace,
        id,
        part,
    })
}

/// `name` or `package/name`: the slash may be encoded.
fn action(rest: &[u8]) -> Result<String, Refusal> {
    let invalid = || {
        Refusal::no_action(
            "No action can have this name: it is `name` or `package/name`, each of 1 to 256 characters and none of them a \
             control character.",
        )
    };
    let name = text(rest).ok_or_else(invalid)?;
    let segments: Vec<_> = name.split('/').collect();
    let right = |segment: &&str| {
        !matches!(*segment, "" | "." | "..")
            && segment.chars().count() <= LONGEST
            && !segment.chars().any(char::is_control)
    };
    if segments.len() > 2 {
        return Err(Refusal::nothing());
    }
    if segments.iter().all(right) {
        Ok(name)
    } else {
        Err(invalid())
    }
}

/// A piece of a path, decoded; none if it is no text, or empty.
fn text(piece: &[u8]) -> Option<String> {
    let text = percent_decode(piece).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(path: &str) -> String {
        match Resource::of(path.as_bytes()) {
            Ok(resource) => format!("{resource:?}"),
            Err(refusal) => refusal.status.to_string(),
        }
    }

    #[test]
    fn paths_name_resources() {
        let cases = [
            "/api/v1/namespaces",
            "/api/v1/namespaces/",
            "/api/v1/namespaces/_/actions/hello",
            "/api/v1/namespaces/guest/actions/sample/hello",
            "/api/v1/namespaces/guest/actions/sample%2Fhello%20you/",
            "/api/v1/namespaces/a%40b/activations",
            "/api/v1/namespaces/guest/activations/",
            "/api/v1/namespaces/guest/activations/0199f00c5e2a7c3b8d4e5f60718293a4",
            "/api/v1/namespaces/guest/activations/x/result",
            "/api/v1/namespaces/guest/activations/x/logs",
            "/runtime/namespaces/guest/logForwarding",
        ];
        let said: Vec<_> = cases
            .iter()
            .map(|path| format!("{path}\n  {}", named(path)))
            .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "/api/v1",
            "/api/v1/",
            "/api/v1/rules",
            "/api/v1/namespaces/guest",
            "/api/v1/namespaces/guest/actions",
            "/api/v1/namespaces/guest/actions/a/b/c",
            "/api/v1/namespaces//activations",
            "/api/v1/namespaces/%ff/activations",
            "/api/v1/namespaces/guest/activations/x/y",
            "/api/v1/namespaces/guest/activations/x/logs/y",
            "/api/v1/namespaces/guest/triggers/t",
            "/runtime/namespaces/a/b/logForwarding",
            "/runtime/namespaces//logForwarding",
        ] {
            assert_eq!(named(path), "404", "{path}");
        }
    }

    #[test]
    fn names_that_no_action_can_have_name_nothing() {
        let long = "x".repeat(257);
        for name in ["a%00", "%0a", "%2e%2e", "%2Fa", "a%2F", "%ff", &long] {
            let path = format!("/api/v1/namespaces/guest/actions/{name}");
            assert_eq!(named(&path), "404", "{name}");
        }
    }

    #[test]
    fn only_the_prefix_and_what_is_below_it_belongs_to_the_api() {
        for path in ["/api/v1", "/api/v1/", "/api/v1/x"] {
            assert!(owns(path.as_bytes()), "{path}");
        }
        for path in ["/api/v10", "/api", "/", "/API/v1", "/api/v2/namespaces"] {
            assert!(!owns(path.as_bytes()), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path: Vec<u8>) {
            let _ = Resource::of(&path);
            let _ = Resource::of(&[b"/api/v1/namespaces/", path.as_slice()].concat());
        }
    }
}
