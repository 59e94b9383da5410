//! Listening sockets, bound before anything is served: an address in use is an error at once, and port 0 is learnt.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::fd::IntoRawFd,
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::{
    apps::ServerApp,
    listeners::{ListenerConfig, tls::TlsSettings},
    protocols::Stream,
    server::{Fds, ShutdownWatch},
    services::{Service as _, listening::Service},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use super::upgrade::Offered;

/// A listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {error}; choose another address, or end the process that has it"
)]
pub struct BindError {
    address: String,
    error: io::Error,
}

/// Sockets that an older process hands over; those that are not taken are closed with it.
#[derive(Debug, Default)]
pub(super) struct Inherited(pub(super) Vec<Offered>);

impl Inherited {
    /// The socket with this address: as it was written, or else where it listens.
    fn take(&mut self, address: &str) -> Option<TcpListener> {
        let as_written = self.0.iter().position(|one| one.configured == address);
        let found = as_written.or_else(|| {
            let wanted: Vec<_> = address.to_socket_addrs().ok()?.collect();
            let is_wanted = |one: &Offered| {
                let bound = one.socket.local_addr();
                bound.is_ok_and(|bound| wanted.contains(&bound))
            };
            self.0.iter().position(is_wanted)
        });
        Some(self.0.remove(found?).socket)
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        for left in &self.0 {
            info!(
                address = left.configured,
                "no longer configured; not served any more"
            );
        }
    }
}

/// A socket that listens already, but that nothing is accepted from yet.
#[derive(Debug)]
pub(super) struct Bound {
    socket: TcpListener,
    address: SocketAddr,
    configured: String,
}

impl Bound {
    /// Listens on `host:port`, with the socket that was inherited if there is one.
    ///
    /// # Errors
    /// When the address is in use, or not ours.
    pub(super) fn open(address: &str, inherited: &mut Inherited) -> Result<Self, BindError> {
        let failed = |error| BindError {
            address: address.to_owned(),
            error,
        };
        let socket = match inherited.take(address) {
            Some(socket) => socket,
            None => TcpListener::bind(address).map_err(failed)?,
        };
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            address: socket.local_addr().map_err(failed)?,
            configured: address.to_owned(),
            socket,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same socket, for a newer process. While it is there, the socket stays open.
    pub(super) fn offer(&self) -> io::Result<Offered> {
        Ok(Offered {
            configured: self.configured.clone(),
            socket: self.socket.try_clone()?,
        })
    }
}

/// The connections of all faces. Clones are the same.
#[derive(Debug, Default, Clone)]
pub(super) struct Connections {
    /// Those that are open.
    pub(super) open: TaskTracker,
    /// Cancelled, it closes those that wait for a request, once nothing more is accepted. Until then they are answered
    /// one last request: whoever sends it on a connection that was open must not find it closed.
    pub(super) close_idle: CancellationToken,
}

/// An application and the sockets that it serves.
pub(super) struct Face<A> {
    service: Service<Counted<A>>,
    sockets: Vec<Bound>,
}

impl<A: ServerApp + Send + Sync + 'static> Face<A> {
    /// An application without sockets.
    pub(super) fn new(name: &str, app: A, connections: &Connections) -> Self {
        let counted = Counted {
            app: Arc::new(app),
            connections: connections.clone(),
        };
        Self {
            service: Service::new(name.to_owned(), counted),
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

    /// Accepts connections on the present runtime until `stop` turns true; then closes the sockets, and idle
    /// connections when [`Connections::close_idle`] says so. Requests under way go on.
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

/// An application whose connections are counted.
struct Counted<A> {
    app: Arc<A>,
    connections: Connections,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Counted<A> {
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let _open = self.connections.open.token();
        self.app.process_new(session, shutdown).await
    }

    /// Pingora's own closes idle connections at once.
    async fn cleanup(&self) {
        self.connections.close_idle.cancelled().await;
        self.app.cleanup().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(configured: &str) -> Offered {
        Offered {
            configured: configured.into(),
            socket: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    #[test]
    fn an_inherited_socket_is_found_as_written_or_by_where_it_listens_and_taken_once() {
        let (one, other) = (offered("127.0.0.1:0"), offered("here"));
        let address = |one: &Offered| one.socket.local_addr().unwrap();
        let (first, second) = (address(&one), address(&other));
        let mut inherited = Inherited(vec![other, one]);
        let taken = Bound::open("127.0.0.1:0", &mut inherited).unwrap();
        assert_eq!(taken.address(), first);
        let taken = Bound::open(&second.to_string(), &mut inherited).unwrap();
        assert_eq!(taken.address(), second);
        let new = Bound::open("127.0.0.1:0", &mut inherited).unwrap();
        assert!(![first, second].contains(&new.address()));
    }

    #[test]
    fn an_inherited_socket_is_not_taken_for_another_address() {
        let mut inherited = Inherited(vec![offered("a")]);
        assert!(inherited.take("127.0.0.1:1").is_none());
        assert!(inherited.take("not an address").is_none());
        assert_eq!(inherited.0.len(), 1);
    }
}
