//! Raincheck in somebody else's proxy: one field and one line in their `ProxyHttp`, two lines in their `main`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType,
    proxy::{HttpProxy, ProxyHttp, Session, http_proxy_service},
    server::{Server, ShutdownWatch},
    services::{
        background::{BackgroundService, background_service},
        listening::Service,
    },
};
use tokio::runtime::Runtime;

pub use crate::executor::Hosted;
use crate::{
    api::AdminApp,
    config::{self, Config, RunSettings},
    executor::upstream::run_mark,
    store::sqlite::Entry,
    worker::readiness::{Phase, Readiness},
};
pub use core::{Core, OpenError};

pub mod clock;
mod core;

/// Runs and webhooks for the routes of a host. Clones are the same.
#[derive(Clone)]
pub struct Raincheck(Arc<Inner>);

struct Inner {
    core: Core,
    routes: HashMap<String, Arc<RunSettings>>,
    admin: config::Admin,
    readiness: Arc<Readiness>,
    drain_timeout: Duration,
    /// The runs' own threads: they outlive those that serve requests.
    runtime: Option<Runtime>,
}

impl Raincheck {
    /// Opens the store and what stands on it. The configuration is that of [`Config::embedded`]: routes with names, no
    /// listeners, no upstreams.
    ///
    /// # Errors
    /// Says what cannot be opened, and what to do.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Self::enter(config, Entry::Alone)
    }

    /// [`Raincheck::open`] while another process of the host may still be alive on the store: for a host that is
    /// upgraded as Pingora does it. The runs of each stay its own; what a dead one leaves is taken over.
    ///
    /// # Errors
    /// As [`Raincheck::open`].
    pub fn open_beside(config: &Config) -> Result<Self, OpenError> {
        Self::enter(config, Entry::Beside)
    }

    fn enter(config: &Config, entry: Entry) -> Result<Self, OpenError> {
        // An error only says that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.server.threads.max(1))
            .thread_name("raincheck")
            .enable_all()
            .build()
            .map_err(OpenError::Runtime)?;
        let routes = config.routes.iter().filter_map(|route| {
            let settings = route.run.as_ref()?;
            Some((route.name.clone(), Arc::clone(settings)))
        });
        let core = Core::enter(config, runtime.handle().clone(), entry)?;
        core.config_loaded(config);
        Ok(Self(Arc::new(Inner {
            core,
            routes: routes.collect(),
            admin: config.admin.clone(),
            readiness: Arc::new(Readiness::default()),
            drain_timeout: config.server.drain_timeout,
            runtime: Some(runtime),
        })))
    }

    /// The service of a host's proxy, in place of Pingora's `http_proxy_service`: add its listeners, then add it to
    /// the server. From now on runs are carried out, through a second proxy of the same host; when the server stops,
    /// they get `server.drain_timeout` (and no more than Pingora's `grace_period_seconds`).
    pub fn attach<SV>(&self, server: &mut Server, host: SV) -> Service<HttpProxy<Hosted<SV>>>
    where
        SV: ProxyHttp + Send + Sync + 'static,
        SV::CTX: Send + Sync,
    {
        let host = Hosted::new(host);
        self.0.core.begin(&server.configuration, host.clone());
        self.0.readiness.advance(Phase::Ready);
        server.add_service(background_service("raincheck", Drain(self.clone())));
        http_proxy_service(&server.configuration, host)
    }

    /// What a host's `request_filter` calls after its own checks, with the name of the request's route. True: the
    /// request is answered. False: the host goes on with it, for it asks for no run, or is a run's own pass.
    ///
    /// It answers what is below `server.public_prefix` too, so that runs can be looked at, and if there are namespaces the
    /// API of OpenWhisk below `/api/v1`; their runs come through the host with their actions' paths. A synchronous request goes
    /// on without `Raincheck-*` headers.
    ///
    /// # Errors
    /// When the client has gone while it was answered, or the configuration has no route of that name with
    /// `[route.async]`.
    pub async fn request_filter(
        &self,
        session: &mut Session,
        route: &str,
    ) -> pingora::Result<bool> {
        if Self::is_run(session) {
            return Ok(false);
        }
        let core = &self.0.core;
        if core.api.owns(session.req_header().uri.path()) {
            let tls = session
                .digest()
                .is_some_and(|digest| digest.ssl_digest.is_some());
            core.api.serve(&mut session.downstream_session, tls).await;
            return Ok(true);
        }
        if core
            .openwhisk
            .owns(session.req_header().uri.path().as_bytes())
        {
            Box::pin(core.openwhisk.serve(&mut session.downstream_session)).await;
            return Ok(true);
        }
        let Some(settings) = self.0.routes.get(route) else {
            let said = format!("raincheck's configuration has no [route.async] for {route:?}");
            return Err(Error::explain(ErrorType::InternalError, said));
        };
        let answered = core
            .gate
            .request_filter(session, settings)
            .await?
            .answered()?;
        if !answered {
            strip(session);
        }
        Ok(answered)
    }

    /// Whether a session is a run's own pass, or that of a request which may yet become a run (`convert_after`,
    /// `Prefer: wait`): its caller was authenticated and counted before.
    pub fn is_run(session: &Session) -> bool {
        run_mark(session).is_some()
    }

    /// The admin listener on `admin.address` (`/metrics`, `/livez`, `/readyz`, `/api/v1`), to be added to a server.
    pub fn admin_service(&self) -> Service<AdminApp> {
        let app = self.0.core.admin_app(Arc::clone(&self.0.readiness), None);
        let mut service = Service::new("raincheck admin".to_owned(), app);
        service.add_tcp(&self.0.admin.address);
        service
    }

    /// Takes up nothing new, gives what is under way at most `limit`, and closes the store. A server that stops does
    /// this by itself.
    pub async fn drain(&self, limit: Duration) {
        self.0.readiness.advance(Phase::Draining);
        self.0.core.drain(limit).await;
        self.0.core.close().await;
    }
}

impl Drop for Inner {
    /// Waits for nothing: a runtime cannot wait inside another.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// `Raincheck-*` headers are between callers and us.
fn strip(session: &mut Session) {
    let request = session.req_header_mut();
    let ours: Vec<_> = request
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("raincheck-"))
        .cloned()
        .collect();
    for name in &ours {
        request.remove_header(name);
    }
}

/// Drains when the server stops.
struct Drain(Raincheck);

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // An error says that the server is gone already.
        let _ = shutdown.changed().await;
        self.0.drain(self.0.0.drain_timeout).await;
    }
}
