//! What systemd is told (sd_notify(3)): one datagram to `$NOTIFY_SOCKET`, if there is one.

use std::os::{
    linux::net::SocketAddrExt as _,
    unix::{
        ffi::OsStrExt as _,
        net::{SocketAddr, UnixDatagram},
    },
};

/// Tells the service manager `state`: `READY=1`, `STOPPING=1`, `MAINPID=…`, one assignment a line.
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let told = address(socket.as_bytes())
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = told {
        tracing::warn!(%error, state, "systemd could not be told");
    }
}

/// A path, or with `@` in front an abstract name (unix(7)).
fn address(socket: &[u8]) -> std::io::Result<SocketAddr> {
    match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket)),
    }
}
