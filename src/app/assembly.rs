//! How the parts are put together, from the store up to the listeners.

use std::{collections::HashMap, sync::Arc};

use pingora::server::configuration::ServerConf;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use super::{
    Running, Runtimes, StartError,
    faces::Sockets,
    listen::{Connections, Face},
};
use crate::{
    config::{Config, Route},
    executor::Hosted,
    plugin::Core,
    proxy::{
        self, Proxy, Way,
        traffic::{InFlight, Traffic},
        upstream::{CaError, Upstream},
    },
    worker::readiness::{Phase, Readiness},
};

/// Unused connections to peers that are kept, for each thread.
const POOL: usize = 512;

/// All that is there before anything is served.
pub(super) struct Assembly {
    pub(super) config: Config,
    pub(super) core: Core,
    pub(super) runtimes: Runtimes,
}

impl Assembly {
    /// Puts everything together and lets it run.
    pub(super) async fn run(self, sockets: Sockets) -> Result<Running, StartError> {
        let (listeners, admin) = (sockets.addresses(), sockets.admin.address());
        let readiness = Arc::new(Readiness::default());
        let in_flight = Arc::new(InFlight::default());
        let upstreams = self.upstreams()?;
        let proxy = self.proxy(&upstreams, &in_flight);
        let conf = Arc::new(ServerConf {
            threads: self.config.server.threads,
            upstream_keepalive_pool_size: POOL,
            ..ServerConf::default()
        });
        let offered = sockets.offer();
        let connections = Connections::default();
        let faces = sockets.into_faces(&conf, &proxy, &connections)?;
        let resolved = upstreams.values().map(|upstream| upstream.resolve());
        futures::future::join_all(resolved).await;
        let (close, closed) = watch::channel(false);
        let (rest, tasks) = (CancellationToken::new(), TaskTracker::new());
        for upstream in upstreams.into_values() {
            let stop = rest.clone();
            let kept = async move { upstream.keep(stop).await };
            tasks.spawn_on(kept, self.runtimes.back());
        }
        self.core.begin(&conf, Hosted::new(proxy));
        for face in faces.application {
            tasks.spawn_on(face.serve(closed.clone()), self.runtimes.front());
        }
        let admin_app = self.core.admin_app(Arc::clone(&readiness));
        let mut face = Face::new("admin", admin_app, &connections);
        face.add(faces.admin, None);
        let (close_admin, closed) = watch::channel(false);
        tasks.spawn_on(face.serve(closed), self.runtimes.back());
        readiness.advance(Phase::Ready);
        info!(?listeners, %admin, "ready");
        Ok(Running {
            listeners,
            admin,
            shutdown_delay: self.config.server.shutdown_delay,
            drain_timeout: self.config.server.drain_timeout,
            core: self.core,
            readiness,
            in_flight,
            offered,
            store_folder: self.config.store.path,
            connections,
            close,
            close_admin,
            rest,
            tasks,
            runtimes: self.runtimes,
        })
    }

    fn upstreams(&self) -> Result<HashMap<String, Arc<Upstream>>, CaError> {
        let upstreams = self.config.upstreams.iter();
        upstreams
            .map(|upstream| {
                let live = Arc::new(Upstream::new(upstream.clone())?);
                Ok((upstream.name.clone(), live))
            })
            .collect()
    }

    fn proxy(
        &self,
        upstreams: &HashMap<String, Arc<Upstream>>,
        in_flight: &Arc<InFlight>,
    ) -> Proxy {
        // `check` refuses a route whose upstream is not there.
        let way = |route: &Arc<Route>| {
            Some(Arc::new(Way {
                route: Arc::clone(route),
                upstream: Arc::clone(upstreams.get(&route.upstream)?),
                traffic: Traffic::new(&self.core.metrics, &route.name),
            }))
        };
        let namespaces = self.config.namespaces.iter();
        Proxy::new(proxy::Parts {
            ways: self.config.routes.iter().filter_map(way).collect(),
            namespaces: namespaces.filter_map(|it| way(&it.route)).collect(),
            gate: self.core.gate.clone(),
            api: self.core.api.clone(),
            openwhisk: self.core.openwhisk.clone(),
            in_flight: Arc::clone(in_flight),
            trusted: self.config.server.trusted_proxies.clone(),
            public_prefix: self.config.server.public_prefix.clone(),
        })
    }
}
