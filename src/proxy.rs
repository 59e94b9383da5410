//! The reverse proxy: a request's route, its peer, and the header rules; it asks the gate before it passes a request on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use ipnet::IpNet;
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    protocols::http::ServerSession,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};
use tracing::debug;

use self::{
    forwarding::Sender,
    routes::RouteTable,
    traffic::{InFlight, Passing, Traffic},
    upstream::{Tried, Upstream},
};
use crate::{
    api::{OpenWhisk, PublicApi},
    config,
    executor::{RunMark, end_once},
    gate::{
        Gate, Verdict,
        respond::{self, Manner},
    },
    model::{
        exchange::path,
        problem::{Code, Problem},
    },
};

mod access;
mod failure;
mod forwarding;
mod head;
pub mod rehearsal;
mod routes;
pub mod traffic;
pub mod upstream;

/// Our `ProxyHttp`. Clones share everything but Pingora's connection pool.
#[derive(Clone)]
pub struct Proxy(Arc<ArcSwap<Shared>>);

/// What a proxy is made of.
pub struct Parts {
    /// Routes in the order of the configuration, each with its upstream and what counts its traffic.
    pub ways: Vec<Arc<Way>>,
    /// Those of namespaces, to which no path leads.
    pub namespaces: Vec<Arc<Way>>,
    /// Takes requests in as runs.
    pub gate: Gate,
    /// Where runs are looked at, on the same listeners.
    pub api: PublicApi,
    /// The API of OpenWhisk, there too.
    pub openwhisk: OpenWhisk,
    /// Counts requests under way.
    pub in_flight: Arc<InFlight>,
    /// Networks whose `X-Forwarded-*` count.
    pub trusted: Vec<IpNet>,
    /// Where our own resources are.
    pub public_prefix: String,
    /// Whether each request gets a line in the log.
    pub access_log: bool,
}

/// One route, live.
pub struct Way {
    /// The route as configured.
    pub route: Arc<config::Route>,
    /// Where it leads.
    pub upstream: Arc<Upstream>,
    /// What is counted of it.
    pub traffic: Traffic,
}

struct Shared {
    table: RouteTable<Arc<Way>>,
    parts: Parts,
}

/// What is known of one request on its way.
#[derive(Default)]
pub struct Ctx {
    way: Option<Arc<Way>>,
    /// The route on which the gate has answered it.
    answered: Option<Arc<Way>>,
    passing: Option<Passing>,
    tried: Tried,
}

impl Shared {
    fn new(parts: Parts) -> Self {
        let routes = parts.ways.iter().map(|way| {
            let route = &way.route;
            (route.host.clone(), route.path.clone(), Arc::clone(way))
        });
        Self {
            table: RouteTable::new(routes),
            parts,
        }
    }
}

impl Proxy {
    /// Lays out the routes.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Shared::new(parts))))
    }

    /// Is made of these parts from now on. Requests that have found their route go on as they began.
    pub fn renew(&self, parts: Parts) {
        self.0.store(Arc::new(Shared::new(parts)));
    }

    /// The first look at a caller's request: answered here, or on its way.
    async fn receive(&self, session: &mut Session, ctx: &mut Ctx) -> pingora::Result<bool> {
        let shared = self.0.load_full();
        let parts = &shared.parts;
        ctx.passing = Some(parts.in_flight.enter());
        if let Err(problem) = head::check(&mut session.downstream_session) {
            self.refuse(session, &problem).await?;
            return Ok(true);
        }
        let request = session.req_header();
        let host = forwarding::host(request);
        let host = host.as_ref().map_or(&b""[..], |host| host.as_bytes());
        let path = path::of_target(request.raw_path());
        if parts.api.owns(&String::from_utf8_lossy(path)) {
            let tls = is_tls(session);
            parts.api.serve(session, tls).await;
            return Ok(true);
        }
        if parts.openwhisk.owns(path) {
            let served = parts.openwhisk.serve(&mut session.downstream_session);
            // Boxed: only its own requests pay for its room on the stack.
            Box::pin(served).await;
            return Ok(true);
        }
        let Some(way) = shared.table.find(host, path) else {
            let detail =
                "No route has this host and path; the proxy's configuration names its routes.";
            self.refuse(session, &Problem::new(Code::NoRoute, detail))
                .await?;
            return Ok(true);
        };
        if let Some(passing) = &mut ctx.passing {
            passing.begin();
        }
        let verdict = match &way.route.run {
            Some(settings) => parts.gate.request_filter(session, settings).await?,
            None => Verdict::Pass,
        };
        match verdict {
            Verdict::Answered => {
                ctx.answered = Some(Arc::clone(way));
                return Ok(true);
            }
            Verdict::Pass | Verdict::Passed | Verdict::Failed(_) => {
                ctx.way = Some(Arc::clone(way));
            }
        }
        verdict.answered()
    }

    /// The route of a run is that which accepted it.
    fn follow(&self, mark: &RunMark, ctx: &mut Ctx) -> pingora::Result<bool> {
        let shared = self.0.load();
        let Parts {
            ways, namespaces, ..
        } = &shared.parts;
        let mut ways = ways.iter().chain(namespaces);
        let Some(way) = ways.find(|way| way.route.name == mark.route) else {
            return Err(
                Error::explain(ErrorType::ConnectNoRoute, "the run's route is gone").into_up(),
            );
        };
        ctx.way = Some(Arc::clone(way));
        Ok(false)
    }

    async fn refuse(&self, session: &mut Session, problem: &Problem) -> pingora::Result<()> {
        let readable = matches!(problem.code, Code::NoRoute | Code::AmbiguousPath);
        let manner = Manner {
            public_prefix: &self.0.load().parts.public_prefix,
            close: !(readable && session.is_body_empty()),
            ..Manner::default()
        };
        respond::problem(&mut session.downstream_session, problem, manner).await
    }
}

/// The mark of a run's own pass; none for a caller's request.
fn mark(session: &Session) -> Option<&RunMark> {
    let user = session.subrequest_ctx.as_ref()?.user_ctx()?;
    user.downcast_ref()
}

fn is_tls(session: &ServerSession) -> bool {
    session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some())
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::default()
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> pingora::Result<bool> {
        match mark(session) {
            Some(mark) => self.follow(mark, ctx),
            None => self.receive(session, ctx).await,
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
    ) -> pingora::Result<Box<HttpPeer>> {
        let Some(way) = &ctx.way else {
            return Err(Error::explain(
                ErrorType::InternalError,
                "no route was chosen",
            ));
        };
        way.upstream
            .choose(session.req_header().raw_path(), &mut ctx.tried)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        ctx.tried.last_refused();
        let another = ctx
            .way
            .as_ref()
            .is_some_and(|way| way.upstream.has_another(&ctx.tried));
        if another {
            match mark(session).filter(|mark| !mark.contact.host_may_reconnect()) {
                Some(mark) => mark.contact.other_peer(),
                None => error.set_retry(true),
            }
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        let address = session.client_addr().and_then(|address| address.as_inet());
        let tls = match mark(session) {
            Some(mark) => mark.tls,
            None => {
                forwarding::strip_request(request);
                is_tls(session)
            }
        };
        let sender = Sender {
            address: address.copied(),
            tls,
        };
        forwarding::forward(request, sender, &self.0.load().parts.trusted)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        _ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        end_once(body, end_of_stream);
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        forwarding::strip_response(response);
        if self.0.load().parts.in_flight.are_last() && mark(session).is_none() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        let problem = failure::problem(error);
        let code = problem.as_ref().map_or(0, |problem| problem.code.status());
        if mark(session).is_none_or(|mark| !mark.contact.is_run()) {
            let route = ctx.way.as_ref().map_or("", |way| &way.route.name);
            failure::log(error, route, code);
        }
        if let Some(problem) = problem
            && session.response_written().is_none()
        {
            // An answer that cannot be written has nobody who waits for it.
            let _ = self.refuse(session, &problem).await;
        }
        FailToProxy {
            error_code: code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Ctx) {
        if let (Some(way), Some(passing)) = (&ctx.way, &ctx.passing) {
            let status = session.response_written().map(|head| head.status.as_u16());
            way.traffic.count(status, passing);
        }
        if let Some(passing) = &ctx.passing
            && self.0.load().parts.access_log
        {
            access::log(session, ctx, passing.age());
        }
    }

    /// Our own log line says it, with the route and without the target.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        ctx: &Ctx,
        error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        let route = ctx.way.as_ref().map_or("", |way| &way.route.name);
        debug!(
            route,
            error = error.etype().as_str(),
            "a peer is tried again, or another one"
        );
        true
    }
}
