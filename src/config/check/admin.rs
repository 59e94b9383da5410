//! `[admin]`.

use super::listener;
use crate::{
    config::{
        Admin,
        file::Section,
        secret::secret,
        value::{host_name, list},
    },
    model::secret::Secret,
};

/// The shortest token: what takes longer to guess than an operator waits.
const TOKEN: usize = 16;

pub(super) fn read(section: &Section<'_>) -> Admin {
    let address = section.get("address", listener::address);
    let token = section.optional("token", secret(section.reading));
    if let Some(token) = &token
        && token.len() < TOKEN
    {
        let message = format!(
            "the token has fewer than {TOKEN} characters; write a longer one, `openssl rand -hex 32` makes one"
        );
        section.complain("token", message);
    }
    if !section.has("token") && !listener::is_loopback(&address) {
        let message = format!(
            "is missing, and {address} is not loopback; write token = {{ env = \"RAINCHECK_ADMIN_TOKEN\" }}, or address = \"127.0.0.1:9180\""
        );
        section.complain("token", message);
    }
    Admin {
        address,
        hosts: section.get("hosts", list(host_name)),
        token: token.map(|token| Secret::new(token.into_bytes())),
    }
}
