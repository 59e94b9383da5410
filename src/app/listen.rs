//! Listening sockets, bound before anything is served: an address in use is an error at once, and port 0 is learnt.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::IntoRawFd,
    sync::Arc,
};

use parking_lot::Mutex;
use pingora::{
    apps::ServerApp,
    listeners::{ListenerConfig, tls::TlsSettings},
    server::{Fds, ShutdownWatch},
    services::{Service as _, listening::Service},
};

/// A listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {error}; choose another address, or end the process that has it"
)]
pub struct BindError {
    address: String,
    error: io::Error,
}

/// A socket that listens already, but that nothing is accepted from yet.
#[derive(Debug)]
pub(super) struct Bound {
    socket: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Listens on `host:port`.
    ///
    /// # Errors
    /// When the address is in use, or not ours.
    pub(super) fn bind(address: &str) -> Result<Self, BindError> {
        let failed = |error| BindError {
            address: address.to_owned(),
            error,
        };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An application and the sockets that it serves.
pub(super) struct Face<A> {
    service: Service<A>,
    sockets: Vec<Bound>,
}

impl<A: ServerApp + Send + Sync + 'static> Face<A> {
    /// An application without sockets.
    pub(super) fn new(name: &str, app: A) -> Self {
        Self {
            service: Service::new(name.to_owned(), app),
            sockets: Vec::new(),
        }
    }

    /// Serves this socket too.
    pub(super) fn add(&mut self, socket: Bound, tls: Option<TlsSettings>) {
        let mut endpoint = ListenerConfig::tcp(socket.address.to_string());
        if let Some(tls) = tls {
            endpoint = endpoint.tls(tls);
        }
        self.service.add_listener(endpoint);
        self.sockets.push(socket);
    }

    /// Whether there is nothing to serve.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Accepts connections on the present runtime until `stop` turns true; then closes the sockets and idle
    /// connections. Requests under way go on.
    pub(super) async fn serve(mut self, stop: ShutdownWatch) {
        // Pingora takes sockets that an older process left it from this table; it becomes their owner.
        let mut table = Fds::new();
        for socket in self.sockets {
            table.add(socket.address.to_string(), socket.socket.into_raw_fd());
        }
        let table = Arc::new(Mutex::new(table));
        self.service.start_service(Some(table), stop, 1).await;
    }
}
