//! How the parts are put together, from the store up to the listeners.

use std::sync::Arc;

use pingora::server::configuration::ServerConf;
use tokio::{runtime::Handle, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use super::{
    Running, Runtimes, StartError,
    faces::Sockets,
    listen::{Connections, Face},
    upstreams::Upstreams,
};
use crate::{
    api,
    config::{Config, Route},
    executor::Hosted,
    plugin::Core,
    proxy::{
        self, Proxy, Way,
        traffic::{InFlight, Traffic},
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
        let mut upstreams = Upstreams::of(&self.config, &Upstreams::default())?;
        let proxy = Proxy::new(parts(&self.config, &self.core, &upstreams, &in_flight));
        let conf = Arc::new(ServerConf {
            threads: self.config.server.threads,
            upstream_keepalive_pool_size: POOL,
            ..ServerConf::default()
        });
        let offered = sockets.offer();
        let connections = Connections::default();
        let faces = sockets.into_faces(&conf, &proxy, &connections)?;
        upstreams.resolve().await;
        let (close, closed) = watch::channel(false);
        let (rest, tasks) = (CancellationToken::new(), TaskTracker::new());
        keep(&mut upstreams, &rest, (&tasks, self.runtimes.back()));
        self.core.begin(&conf, Hosted::new(proxy.clone()));
        for face in faces.application {
            tasks.spawn_on(face.serve(closed.clone()), self.runtimes.front());
        }
        let (reloads, orders) = api::reloads();
        let admin_app = self.core.admin_app(Arc::clone(&readiness), Some(reloads));
        let mut face = Face::new("admin", admin_app.clone(), &connections);
        face.add(faces.admin, None);
        let (close_admin, closed) = watch::channel(false);
        tasks.spawn_on(face.serve(closed), self.runtimes.back());
        readiness.advance(Phase::Ready);
        info!(?listeners, %admin, "ready");
        self.core.config_loaded(&self.config);
        Ok(Running {
            listeners,
            admin,
            config: self.config,
            proxy,
            upstreams,
            certificates: faces.certificates,
            orders: Some(orders),
            admin_app,
            core: self.core,
            readiness,
            in_flight,
            offered,
            connections,
            close,
            close_admin,
            rest,
            tasks,
            runtimes: self.runtimes,
        })
    }
}

/// Keeps upstreams resolved and checked that nobody keeps yet, until they are retired or `rest` is cancelled.
pub(super) fn keep(
    upstreams: &mut Upstreams,
    rest: &CancellationToken,
    (tasks, runtime): (&TaskTracker, &Handle),
) {
    for (upstream, retired) in upstreams.not_kept_yet() {
        let rest = rest.clone();
        let kept = async move {
            tokio::select! {
                () = upstream.keep(retired) => {}
                () = rest.cancelled() => {}
            }
        };
        tasks.spawn_on(kept, runtime);
    }
}

/// What the proxy of a configuration is made of.
pub(super) fn parts(
    config: &Config,
    core: &Core,
    upstreams: &Upstreams,
    in_flight: &Arc<InFlight>,
) -> proxy::Parts {
    // `check` refuses a route whose upstream is not there.
    let way = |route: &Arc<Route>| {
        Some(Arc::new(Way {
            route: Arc::clone(route),
            upstream: Arc::clone(upstreams.get(&route.upstream)?),
            traffic: Traffic::new(&core.metrics, &route.name),
        }))
    };
    let namespaces = config.namespaces.iter();
    proxy::Parts {
        ways: config.routes.iter().filter_map(way).collect(),
        namespaces: namespaces.filter_map(|it| way(&it.route)).collect(),
        gate: core.gate.clone(),
        api: core.api.clone(),
        openwhisk: core.openwhisk.clone(),
        in_flight: Arc::clone(in_flight),
        trusted: config.server.trusted_proxies.clone(),
        public_prefix: config.server.public_prefix.clone(),
        access_log: config.server.access_log,
    }
}
