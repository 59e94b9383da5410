//! What listens: the application's listeners and the admin listener, and the HTTP settings of each.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use pingora::{
    apps::HttpServerOptions,
    protocols::http::v2::server::H2Options,
    proxy::{HttpProxy, http_proxy},
    server::configuration::ServerConf,
};

use super::{
    StartError,
    certificates::{self, Shown},
    listen::{BindError, Bound, Connections, Face, Inherited},
    upgrade::Offered,
};
use crate::{
    config::{Config, Listener},
    proxy::Proxy,
};

/// The largest list of headers of an HTTP/2 request, in bytes.
const H2_HEADERS: u32 = 64 * 1024;
/// Requests at a time on one HTTP/2 connection.
const H2_STREAMS: u32 = 256;
/// How long an HTTP/2 connection without requests is kept.
const H2_IDLE: Duration = Duration::from_secs(60);

/// The application's faces, and the socket of the admin listener.
pub(super) struct Faces {
    /// Served on the front runtime.
    pub(super) application: Vec<Face<HttpProxy<Proxy>>>,
    /// Not served yet.
    pub(super) admin: Bound,
    /// What the listeners show, by their addresses as configured.
    pub(super) certificates: Vec<(String, Arc<Shown>)>,
}

/// All listening sockets, in the order of the configuration.
pub(super) struct Sockets {
    listeners: Vec<(Listener, Bound)>,
    /// That of the admin listener.
    pub(super) admin: Bound,
}

impl Sockets {
    /// Opens them, or takes them from those that were inherited.
    pub(super) fn open(config: &Config, mut inherited: Inherited) -> Result<Self, BindError> {
        let mut bound = |address: &str| Bound::open(address, &mut inherited);
        let listeners = config
            .listeners
            .iter()
            .map(|listener| Ok((listener.clone(), bound(&listener.address)?)))
            .collect::<Result<_, BindError>>()?;
        let admin = bound(&config.admin.address)?;
        Ok(Self { listeners, admin })
    }

    /// All of them once more, for a newer process.
    pub(super) fn offer(&self) -> io::Result<Vec<Offered>> {
        let listeners = self.listeners.iter().map(|(_, bound)| bound);
        listeners.chain([&self.admin]).map(Bound::offer).collect()
    }

    /// Where the application's listeners are.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let bound = self.listeners.iter();
        bound.map(|(_, bound)| bound.address()).collect()
    }

    /// Where this process listens at all.
    pub(super) fn own(&self) -> impl Iterator<Item = (IpAddr, u16)> {
        let all = self.addresses().into_iter().chain([self.admin.address()]);
        all.map(|address| (address.ip(), address.port()))
    }

    /// The faces of the application: one for all ordinary listeners, one for those that take cleartext HTTP/2 too. (It
    /// is a setting of Pingora's proxy and not of a socket; and with it on, the first request of an HTTP/1 client
    /// waits until 24 bytes have come.) The admin listener's socket is left.
    pub(super) fn into_faces(
        self,
        conf: &Arc<ServerConf>,
        proxy: &Proxy,
        connections: &Connections,
    ) -> Result<Faces, StartError> {
        let face = |name, h2c| Face::new(name, configured(conf, proxy, h2c), connections);
        let mut plain = face("listeners", false);
        let mut h2c = face("h2c listeners", true);
        let mut shows = Vec::new();
        for (listener, socket) in self.listeners {
            let mut tls = None;
            if let Some(files) = &listener.tls {
                let shown = Shown::of(files)?;
                tls = Some(certificates::settings(files, &shown)?);
                shows.push((listener.address, shown));
            }
            let face = if listener.h2c { &mut h2c } else { &mut plain };
            face.add(socket, tls);
        }
        let mut faces = vec![plain, h2c];
        faces.retain(|face| !face.is_empty());
        Ok(Faces {
            application: faces,
            admin: self.admin,
            certificates: shows,
        })
    }
}

fn configured(conf: &Arc<ServerConf>, proxy: &Proxy, h2c: bool) -> HttpProxy<Proxy> {
    let mut configured = http_proxy(conf, proxy.clone());
    let mut options = HttpServerOptions::default();
    options.h2c = h2c;
    options.h2_idle_timeout = Some(H2_IDLE);
    configured.server_options = Some(options);
    let mut h2 = H2Options::new();
    h2.max_header_list_size(H2_HEADERS);
    h2.max_concurrent_streams(H2_STREAMS);
    configured.h2_options = Some(h2);
    configured
}
