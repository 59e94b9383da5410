//! How the parts are put together, from the store up to the listeners.

use std::{collections::HashMap, sync::Arc};

use pingora::server::configuration::ServerConf;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use super::{Running, Runtimes, StartError, faces::Sockets, listen::Face};
use crate::{
    api::{AdminApp, PublicApi},
    config::Config,
    courier::{self, Courier, SigningSecrets},
    executor::{self, Executor, Hosted, upstream::Pipeline},
    gate::{self, Gate},
    metrics::Metrics,
    model::{secret::Secret, time::SharedClock},
    proxy::{
        self, Proxy, Way,
        traffic::{InFlight, Traffic},
        upstream::{CaError, Upstream},
    },
    store::{
        Store,
        sqlite::{Settings, SqliteStore},
    },
    worker::{
        janitor,
        readiness::{Phase, Readiness},
    },
};

/// Unused connections to peers that are kept, for each thread.
const POOL: usize = 512;

/// All that is there before anything runs.
pub(super) struct Assembly {
    pub(super) config: Config,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    pub(super) store: Arc<dyn Store>,
    pub(super) runtimes: Runtimes,
}

/// Opens the store of the configuration; blocks while it is read.
pub(super) fn open_store(
    config: &Config,
    clock: &SharedClock,
    metrics: &Metrics,
) -> Result<Arc<dyn Store>, StartError> {
    let settings = Settings::new(&config.store, &config.server.public_prefix);
    Ok(SqliteStore::open(
        settings,
        clock.clone(),
        Arc::new(metrics.clone()),
    )?)
}

impl Assembly {
    /// Puts everything together and lets it run.
    pub(super) async fn run(mut self, sockets: Sockets) -> Result<Running, StartError> {
        let (listeners, admin) = (sockets.addresses(), sockets.admin.address());
        let own = listeners.iter().chain([&admin]);
        let own = own.map(|address| (address.ip(), address.port()));
        self.config.webhook.own_addresses.extend(own);
        let courier = self.courier()?;
        let executor = self.executor(&courier);
        let readiness = Arc::new(Readiness::default());
        let in_flight = Arc::new(InFlight::default());
        let upstreams = self.upstreams()?;
        let proxy = self.proxy(&executor, &upstreams, &in_flight);
        let conf = Arc::new(ServerConf {
            threads: self.config.server.threads,
            upstream_keepalive_pool_size: POOL,
            ..ServerConf::default()
        });
        let (faces, admin_socket) = sockets.into_faces(&conf, &proxy)?;
        let resolved = upstreams.values().map(|upstream| upstream.resolve());
        futures::future::join_all(resolved).await;

        let (close, closed) = watch::channel(false);
        let (rest, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (front, back) = (self.runtimes.front(), self.runtimes.back());
        for upstream in upstreams.into_values() {
            let stop = rest.clone();
            tasks.spawn_on(async move { upstream.keep(stop).await }, back);
        }
        let janitor = janitor::keep(self.store.clone(), self.metrics.clone(), rest.clone());
        tasks.spawn_on(janitor, back);
        let pipeline = Pipeline::new(
            &conf,
            Hosted::new(proxy),
            self.store.clone(),
            self.clock.clone(),
        );
        executor.begin(Arc::new(pipeline));
        for face in faces {
            tasks.spawn_on(face.serve(closed.clone()), front);
        }
        let mut admin_face = Face::new("admin", self.admin_app(&readiness));
        admin_face.add(admin_socket, None);
        let stop = rest.clone();
        let served = async move {
            let (_close, closed) = watch::channel(false);
            tokio::select! {
                () = admin_face.serve(closed) => {}
                () = stop.cancelled() => {}
            }
        };
        tasks.spawn_on(served, back);
        readiness.advance(Phase::Ready);
        info!(?listeners, %admin, "ready");
        Ok(Running {
            listeners,
            admin,
            shutdown_delay: self.config.server.shutdown_delay,
            drain_timeout: self.config.server.drain_timeout,
            store: self.store,
            executor,
            courier,
            readiness,
            in_flight,
            close,
            rest,
            tasks,
            runtimes: self.runtimes,
        })
    }

    fn courier(&self) -> Result<Courier, courier::StartError> {
        Courier::start(courier::Parts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            settings: self.config.webhook.clone(),
            secrets: signing_secrets(&self.config),
            runtime: self.runtimes.back().clone(),
        })
    }

    fn executor(&self, courier: &Courier) -> Executor {
        let parts = executor::Parts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            handoff: courier.handoff(),
            runtime: self.runtimes.back().clone(),
        };
        let routes = self.config.routes.iter().filter_map(|route| {
            let run = route.run.as_ref()?;
            Some((route.name.clone(), run.concurrency))
        });
        Executor::new(parts, routes)
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
        executor: &Executor,
        upstreams: &HashMap<String, Arc<Upstream>>,
        in_flight: &Arc<InFlight>,
    ) -> Proxy {
        // `check` refuses a route whose upstream is not there.
        let ways = self.config.routes.iter().filter_map(|route| {
            let dialects = route
                .run
                .as_ref()
                .map(|run| run.dialects.iter().map(|name| name.as_str()));
            self.metrics.prepare_route(&route.name, dialects);
            Some(Arc::new(Way {
                route: Arc::clone(route),
                upstream: Arc::clone(upstreams.get(&route.upstream)?),
                traffic: Traffic::new(&self.metrics, &route.name),
            }))
        });
        let live = executor.live().clone();
        let gate = gate::Parts {
            store: self.store.clone(),
            executor: executor.clone(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        };
        Proxy::new(proxy::Parts {
            ways: ways.collect(),
            gate: Gate::new(gate, &self.config),
            api: PublicApi::new(&self.config, self.store.clone(), live, self.metrics.clone()),
            in_flight: Arc::clone(in_flight),
            trusted: self.config.server.trusted_proxies.clone(),
            public_prefix: self.config.server.public_prefix.clone(),
        })
    }

    fn admin_app(&self, readiness: &Arc<Readiness>) -> AdminApp {
        AdminApp::new(
            &self.config.admin,
            self.store.clone(),
            self.metrics.clone(),
            Arc::clone(readiness),
        )
    }
}

/// The signing secrets of each route. A delivery of a route that is gone is signed as all others are, if all are
/// signed alike; else not at all, and a receiver that verifies refuses it until the route is back.
fn signing_secrets(config: &Config) -> SigningSecrets {
    let of_routes: HashMap<String, Arc<[Secret]>> = config
        .routes
        .iter()
        .filter_map(|route| {
            let secrets = &route.run.as_ref()?.webhook.signing_secrets;
            Some((route.name.clone(), secrets.as_slice().into()))
        })
        .collect();
    let mut all = of_routes.values();
    let common = all
        .next()
        .filter(|first| all.all(|other| other == *first))
        .map_or_else(|| [].into(), Arc::clone);
    Arc::new(move |route| Arc::clone(of_routes.get(route).unwrap_or(&common)))
}
