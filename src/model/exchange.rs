//! What we keep of a request and of a response: heads as HTTP/1.1 text, bodies in memory or in a spool file.

use std::net::SocketAddr;

use bytes::Bytes;

use super::secret::Secret;

pub mod json;
pub mod path;
pub mod preferences;
pub mod query;
pub mod request_head;
mod response_head;
pub mod utf8;

pub use response_head::{InvalidHead, OF_THE_ORIGIN, ResponseHead};

/// A request as it will be sent to the upstream.
#[derive(Debug, Clone)]
pub struct StoredRequest {
    /// Request line and header lines as HTTP/1.1 text, up to and with the empty line; control parameters and
    /// hop-by-hop headers are gone, `Content-Length` says the body's length if there is a body.
    pub head: Bytes,
    /// Its body.
    pub body: Body,
    /// Who sent it.
    pub client: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The caller's `X-Webhook-Secret`, which is never sent upstream.
    pub webhook_secret: Option<Secret>,
}

/// A response as it came from the upstream.
#[derive(Debug, Clone)]
pub struct StoredResponse {
    /// Status line and header lines as HTTP/1.1 text, up to and with the empty line; hop-by-hop headers are gone.
    pub head: Bytes,
    /// Its body.
    pub body: Body,
}

/// The bytes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In memory, and in the store's own row: at most [`INLINE_MAX`] bytes.
    Inline(Bytes),
    /// In a spool file.
    Spooled {
        /// The file's name below the spool folder.
        name: String,
        /// Its length in bytes.
        len: u64,
    },
}

/// The longest body that is kept in a row; longer ones are spooled (measured in DESIGN.md: larger rows hold up the
/// commits of all others).
pub const INLINE_MAX: usize = 128 * 1024;

impl Body {
    /// No bytes.
    pub const EMPTY: Self = Self::Inline(Bytes::new());

    /// Its length in bytes.
    pub const fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Spooled { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
