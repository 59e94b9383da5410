//! Which route a request takes: by host, then by the longest path prefix in whole segments, on the raw bytes.

use std::collections::HashMap;

/// The longest host name that there is (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 255;

/// The routes, laid out for look-ups that allocate nothing.
#[derive(Debug)]
pub(super) struct RouteTable<T> {
    by_host: HashMap<Box<[u8]>, Prefixes<T>>,
    any_host: Prefixes<T>,
}

/// Prefixes, the longest first.
#[derive(Debug)]
struct Prefixes<T>(Vec<(Box<[u8]>, T)>);

impl<T> RouteTable<T> {
    /// Lays out routes given as host (lower case, without port), path prefix, and what lies there.
    pub(super) fn new(routes: impl IntoIterator<Item = (Option<String>, String, T)>) -> Self {
        let mut table = Self {
            by_host: HashMap::new(),
            any_host: Prefixes(Vec::new()),
        };
        for (host, path, target) in routes {
            let prefixes = match host {
                Some(host) => table
                    .by_host
                    .entry(host.into_bytes().into())
                    .or_insert_with(|| Prefixes(Vec::new())),
                None => &mut table.any_host,
            };
            prefixes.0.push((path.into_bytes().into(), target));
        }
        for prefixes in table.by_host.values_mut().chain([&mut table.any_host]) {
            prefixes
                .0
                .sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
        table
    }

    /// The route of a request with this `Host` (port and case do not matter) and this path. Routes with a host come
    /// before routes without one.
    pub(super) fn find(&self, host: &[u8], path: &[u8]) -> Option<&T> {
        if !self.by_host.is_empty()
            && let Some(target) = self.for_host(without_port(host)).and_then(|p| p.find(path))
        {
            return Some(target);
        }
        self.any_host.find(path)
    }

    fn for_host(&self, host: &[u8]) -> Option<&Prefixes<T>> {
        let mut lower = [0; LONGEST_HOST];
        let lower = lower.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        self.by_host.get(&*lower)
    }
}

impl<T> Prefixes<T> {
    fn find(&self, path: &[u8]) -> Option<&T> {
        self.0
            .iter()
            .find(|(prefix, _)| covers(prefix, path))
            .map(|(_, target)| target)
    }
}

/// Whether `path` begins with `prefix`, ending at a segment's end.
fn covers(prefix: &[u8], path: &[u8]) -> bool {
    path.starts_with(prefix)
        && (prefix.ends_with(b"/") || matches!(path.get(prefix.len()), None | Some(b'/')))
}

/// A `Host` value without its port. A dot at the end of a name is taken off too.
fn without_port(host: &[u8]) -> &[u8] {
    let name = match host {
        [b'[', ..] => memchr::memchr(b']', host).map_or(host, |end| &host[..=end]),
        _ => memchr::memchr(b':', host).map_or(host, |colon| &host[..colon]),
    };
    name.strip_suffix(b".").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(routes: &[(Option<&str>, &str)]) -> RouteTable<usize> {
        RouteTable::new(
            routes.iter().enumerate().map(|(index, (host, path))| {
                (host.map(ToOwned::to_owned), (*path).to_owned(), index)
            }),
        )
    }

    #[test]
    fn prefixes_end_where_segments_end() {
        let table = table(&[
            (None, "/"),
            (None, "/api"),
            (None, "/api/v1"),
            (None, "/files/"),
        ]);
        for (path, route) in [
            ("/", 0),
            ("/apis", 0),
            ("/api", 1),
            ("/api/", 1),
            ("/api/v10", 1),
            ("/api/v1", 2),
            ("/api/v1/x", 2),
            ("/files", 0),
            ("/files/", 3),
            ("/files/a", 3),
        ] {
            assert_eq!(table.find(b"x", path.as_bytes()), Some(&route), "{path}");
        }
    }

    #[test]
    fn a_host_of_its_own_comes_first_and_its_port_and_case_do_not_matter() {
        let table = table(&[
            (None, "/a/b"),
            (Some("one.example"), "/a"),
            (Some("[::1]"), "/"),
        ]);
        assert_eq!(table.find(b"ONE.example:8080", b"/a/b"), Some(&1));
        assert_eq!(table.find(b"one.example.", b"/a"), Some(&1));
        assert_eq!(table.find(b"one.example", b"/b"), None);
        assert_eq!(table.find(b"two.example", b"/a/b/c"), Some(&0));
        assert_eq!(table.find(b"[::1]:80", b"/x"), Some(&2));
        assert_eq!(table.find(&[b'x'; 300], b"/a/b"), Some(&0));
    }

    /// The longest prefix by comparing lists of segments.
    fn naive(prefixes: &[String], path: &str) -> Option<usize> {
        let segments: Vec<_> = path.split('/').collect();
        let covered = |prefix: &str| {
            let wanted: Vec<_> = prefix
                .strip_suffix('/')
                .unwrap_or(prefix)
                .split('/')
                .collect();
            segments.len() >= wanted.len() + usize::from(prefix.ends_with('/'))
                && segments[..wanted.len()] == wanted[..]
        };
        (0..prefixes.len())
            .filter(|&index| covered(&prefixes[index]))
            .max_by_key(|&index| (prefixes[index].len(), std::cmp::Reverse(index)))
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec!["/", "/a", "/ab", "/a%2f", "b"]),
            0..5,
        )
        .prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins(prefixes in prop::collection::vec(path(), 1..6), path in path()) {
            let routes: Vec<_> = prefixes.iter().map(|prefix| (None, prefix.as_str())).collect();
            prop_assert_eq!(table(&routes).find(b"h", path.as_bytes()).copied(), naive(&prefixes, &path));
        }
    }
}
