//! What a proxy with runs is made of, whoever's proxy it is: store, executor, courier, gate and public face, put
//! together from the store upwards, and taken apart the other way round.

use std::{collections::HashMap, sync::Arc, time::Duration};

use pingora::{proxy::ProxyHttp, server::configuration::ServerConf};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::clock;
use crate::{
    api::{AdminApp, AdminParts, OpenWhisk, PublicApi, Reloads},
    config::Config,
    courier::{self, Courier, Links, SigningSecrets},
    dashboard,
    executor::{self, Executor, Hosted, upstream::Pipeline},
    gate::{self, Gate},
    metrics::{Metrics, Traces, TracesError},
    model::{dialect::openwhisk, secret::Secret, time::SharedClock},
    store::{
        Store,
        opening::{self, Opening},
        sqlite::Entry,
    },
    worker::{janitor, others, readiness::Readiness},
};

/// How long outcomes are waited for that cannot be recorded (a full disk); the next start finds those runs as they
/// were.
const RECORDING: Duration = Duration::from_secs(5);

/// The parts.
pub struct Core {
    /// Where runs are kept.
    pub store: Arc<dyn Store>,
    /// What is counted.
    pub metrics: Metrics,
    /// How requests become runs.
    pub gate: Gate,
    /// Where runs are looked at.
    pub api: PublicApi,
    admin: AdminParts,
    /// The same as OpenWhisk's activations, and how they are made.
    pub openwhisk: OpenWhisk,
    clock: SharedClock,
    executor: Executor,
    courier: Courier,
    runtime: Handle,
    tasks: TaskTracker,
    rest: CancellationToken,
}

/// The parts cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] opening::OpenError),
    /// Webhooks cannot be sent.
    #[error(transparent)]
    Courier(#[from] courier::StartError),
    /// The metrics cannot be registered.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(prometheus::Error),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// No threads can be started.
    #[error("no threads can be started: {0}")]
    Runtime(std::io::Error),
}

impl Core {
    /// Opens the store and puts the parts together; blocks while the store is read. Deliveries begin at once, runs
    /// with [`Core::begin`]; both on `runtime`, which is not to be the one that serves requests.
    ///
    /// # Errors
    /// Says what cannot be opened.
    pub fn open(config: &Config, runtime: Handle) -> Result<Self, OpenError> {
        Self::enter(config, runtime, Entry::Alone)
    }

    /// [`Core::open`], if [`Entry::Beside`] though other processes are alive on the store.
    ///
    /// # Errors
    /// As [`Core::open`].
    pub fn enter(config: &Config, runtime: Handle, entry: Entry) -> Result<Self, OpenError> {
        let its = runtime.clone();
        Self::open_on(config, runtime, |clock, metrics| {
            Ok(opening::open(Opening {
                config: &config.store,
                public_prefix: &config.server.public_prefix,
                clock: clock.clone(),
                metrics: Arc::new(metrics.clone()),
                entry,
                runtime: its,
            })?)
        })
    }

    /// [`Core::open`] on a store of one's own: for benches, which compare stores behind the same gate.
    ///
    /// # Errors
    /// As [`Core::open`].
    #[doc(hidden)]
    pub fn open_on(
        config: &Config,
        runtime: Handle,
        open: impl FnOnce(&SharedClock, &Metrics) -> Result<Arc<dyn Store>, OpenError>,
    ) -> Result<Self, OpenError> {
        let clock = clock::system();
        let mut metrics = Metrics::new().map_err(OpenError::Metrics)?;
        metrics.traces = Traces::of_environment()?;
        prepare(&metrics, config);
        let store = open(&clock, &metrics)?;
        let courier = Courier::start(courier::Parts {
            store: store.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            settings: config.webhook.clone(),
            secrets: signing_secrets(config),
            links: Links {
                public_url: config.server.public_url.clone(),
                public_prefix: config.server.public_prefix.clone(),
            },
            runtime: runtime.clone(),
        })?;
        let parts = executor::Parts {
            store: store.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            handoff: courier.handoff(),
            runtime: runtime.clone(),
        };
        let executor = Executor::new(parts, lanes(config));
        let parts = gate::Parts {
            store: store.clone(),
            executor: executor.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let (live, lines) = (executor.live().clone(), courier.lines());
        let admin = AdminParts {
            config: config.admin.clone(),
            public_prefix: config.server.public_prefix.clone(),
            public_url: config.server.public_url.clone(),
            store: store.clone(),
            live: live.clone(),
            metrics: metrics.clone(),
            lines: lines.clone(),
            clock: clock.clone(),
            reloads: None,
        };
        let gate = Gate::new(parts, config);
        let api = PublicApi::new(config, store.clone(), live, metrics.clone(), lines);
        Ok(Self {
            openwhisk: OpenWhisk::new(config, gate.clone(), &api),
            gate,
            api,
            admin,
            store,
            metrics,
            clock,
            executor,
            courier,
            runtime,
            tasks: TaskTracker::new(),
            rest: CancellationToken::new(),
        })
    }

    /// Tells the metrics that this configuration holds.
    pub fn config_loaded(&self, config: &Config) {
        self.metrics.config_loaded(&config.digest, self.clock.now());
    }

    /// Goes by a newer configuration from now on: what is on its way goes on as it began, and what was accepted keeps
    /// the policy that it was accepted with. `[server]`, `[store]`, `[admin]` and listeners stay as they were.
    ///
    /// # Errors
    /// When webhooks cannot be sent by it; nothing has changed then.
    pub fn reconfigure(&mut self, config: &Config) -> Result<(), courier::StartError> {
        self.courier
            .reconfigure(&config.webhook, signing_secrets(config))?;
        prepare(&self.metrics, config);
        self.executor.set_lanes(lanes(config));
        self.gate = self.gate.renewed(config);
        self.api = self.api.renewed(config);
        self.openwhisk = OpenWhisk::new(config, self.gate.clone(), &self.api);
        self.config_loaded(config);
        Ok(())
    }

    /// Where operators look, to be served on `admin.address`. `reloads` leads to who reads the configuration again.
    pub fn admin_app(&self, readiness: Arc<Readiness>, reloads: Option<Reloads>) -> AdminApp {
        let parts = AdminParts {
            reloads,
            ..self.admin.clone()
        };
        AdminApp::new(parts, readiness, dashboard::pages)
    }

    /// Carries out runs from now on, through a second proxy of `host` with connections of its own.
    pub fn begin<SV>(&self, conf: &Arc<ServerConf>, host: Hosted<SV>)
    where
        SV: ProxyHttp + Send + Sync + 'static,
        SV::CTX: Send + Sync,
    {
        let pipeline = Pipeline::new(conf, host, self.store.clone(), self.clock.clone())
            .traced(self.metrics.traces.is_on());
        self.executor.begin(Arc::new(pipeline));
        let (store, metrics) = (self.store.clone(), self.metrics.clone());
        let janitor = janitor::keep(store, metrics, self.rest.clone());
        self.tasks.spawn_on(janitor, &self.runtime);
        let (store, live) = (self.store.clone(), self.executor.live().clone());
        let others = others::heed(store, live, self.rest.clone());
        self.tasks.spawn_on(others, &self.runtime);
    }

    /// How many attempts of runs are under way.
    pub fn live_runs(&self) -> usize {
        self.executor.live().len()
    }

    /// Takes up nothing new: queued runs and pending deliveries stay in the store, where another process finds them.
    pub fn stop_claiming(&self) {
        self.executor.stop_claiming();
        self.courier.stop_claiming();
    }

    /// Takes up nothing new, and gives what is under way at most `limit`; queued work stays in the store. Returns as
    /// soon as nothing is left to wait for.
    pub async fn drain(&self, limit: Duration) {
        self.stop_claiming();
        let end = Instant::now() + limit;
        self.api.stop_waiting();
        if timeout_at(end + RECORDING, self.executor.drain(limit))
            .await
            .is_err()
        {
            warn!(
                "outcomes of runs could not be recorded; the next start repeats or ends these runs"
            );
        }
        let left = end.saturating_duration_since(Instant::now());
        if timeout(left + RECORDING, self.courier.drain(left))
            .await
            .is_err()
        {
            warn!("outcomes of deliveries could not be recorded; the next start repeats them");
        }
    }

    /// Closes the store. To be called after [`Core::drain`].
    pub async fn close(&self) {
        self.rest.cancel();
        self.tasks.close();
        let closed = async {
            self.tasks.wait().await;
            self.store.close().await;
            let traces = self.metrics.traces.clone();
            // A panic was reported when it happened.
            let _ = tokio::task::spawn_blocking(move || traces.flush()).await;
        };
        if timeout(RECORDING, closed).await.is_err() {
            warn!("the store could not be closed in time; the next start recovers it");
        }
    }
}

fn prepare(metrics: &Metrics, config: &Config) {
    for route in &config.routes {
        let run = route.run.as_ref();
        let dialects = run.map(|run| run.dialects.iter().map(|dialect| dialect.name));
        metrics.prepare_route(&route.name, dialects);
    }
    for namespace in &config.namespaces {
        let dialects = [openwhisk::DIALECT.name].into_iter();
        metrics.prepare_route(&namespace.route.name, Some(dialects));
    }
}

fn lanes(config: &Config) -> impl Iterator<Item = (String, usize)> {
    config.all_routes().filter_map(|route| {
        let run = route.run.as_ref()?;
        Some((route.name.clone(), run.concurrency))
    })
}

/// The signing secrets of each route. A delivery of a route that is gone is signed as all others are, if all are
/// signed alike; else not at all, and a receiver that verifies refuses it until the route is back.
fn signing_secrets(config: &Config) -> SigningSecrets {
    let of_routes: HashMap<String, Arc<[Secret]>> = config
        .all_routes()
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
