//! The host's `ProxyHttp`, shared between the proxy that serves its callers and the one that carries out its runs.

use std::{any::Any, borrow::Cow, os::fd::RawFd, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::{
    Error,
    ErrorType::ConnectError,
    Result,
    cache::{
        CacheKey, CacheMeta, ForcedFreshness, HitHandler, PurgeAction, RespCacheable,
        key::HashBinary,
    },
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, PurgeStatus, RangeType, Session},
    upstreams::peer::HttpPeer,
};
use tokio::sync::mpsc;

use super::upstream::run_mark;

/// Pingora's own retries are for callers' requests: what may be repeated of a run is decided in `model::retry` alone.
const ONLY_RAINCHECK_REPEATS_RUNS: bool = false;

/// A host that two proxies share. It does all that the host does, and notes how far a run's own pass has come.
#[derive(Debug)]
pub struct Hosted<SV>(Arc<SV>);

impl<SV> Hosted<SV> {
    /// Shares a host.
    pub fn new(host: SV) -> Self {
        Self(Arc::new(host))
    }
}

impl<SV> Clone for Hosted<SV> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[async_trait]
impl<SV> ProxyHttp for Hosted<SV>
where
    SV: ProxyHttp + Send + Sync,
    SV::CTX: Send + Sync,
{
    type CTX = SV::CTX;

    fn new_ctx(&self) -> Self::CTX {
        self.0.new_ctx()
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        fd: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(mark) = run_mark(session) {
            if !mark.may_begin() {
                // Nothing was sent: that is what an error of this kind says.
                let mut stale = Error::explain(ConnectError, "another replica may have the run");
                stale.set_retry(ONLY_RAINCHECK_REPEATS_RUNS);
                return Err(stale);
            }
            mark.contact.connected(reused);
        }
        self.0
            .connected_to_upstream(session, reused, peer, fd, digest, ctx)
            .await
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        let begun = part_of_a_head_was_read(&e);
        let mut e = self
            .0
            .error_while_proxy(peer, session, e, ctx, client_reused);
        if let Some(mark) = run_mark(session) {
            if begun {
                mark.contact.answer_begun();
            }
            if mark.contact.is_run() {
                e.set_retry(ONLY_RAINCHECK_REPEATS_RUNS);
            }
        }
        e
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(mark) = run_mark(session) {
            mark.contact.answer_begun();
        }
        self.0
            .upstream_response_filter(session, upstream_response, ctx)
            .await
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Self::CTX,
        e: Box<Error>,
    ) -> Box<Error> {
        let mut e = self.0.fail_to_connect(session, peer, ctx, e);
        if run_mark(session).is_some_and(|mark| !mark.contact.host_may_reconnect()) {
            e.set_retry(ONLY_RAINCHECK_REPEATS_RUNS);
        }
        e
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> Result<Box<HttpPeer>> {
        let peer = self.0.upstream_peer(session, ctx).await;
        peer.map_err(|mut e| {
            if is_run(session) {
                e.set_retry(ONLY_RAINCHECK_REPEATS_RUNS);
            }
            e
        })
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<()> {
        if let Some(head) = run_mark(session).and_then(|mark| mark.contact.take_head()) {
            *session.req_header_mut() = *head;
        }
        self.0.early_request_filter(session, ctx).await
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        self.0
            .request_body_filter(session, body, end_of_stream, ctx)
            .await?;
        end_once(body, end_of_stream);
        Ok(())
    }

    // From here on the host is asked as it is.

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        self.0.init_downstream_modules(modules);
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        self.0.request_filter(session, ctx).await
    }

    fn allow_spawning_subrequest(&self, session: &Session, ctx: &Self::CTX) -> bool {
        self.0.allow_spawning_subrequest(session, ctx)
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<()> {
        self.0.request_cache_filter(session, ctx)
    }

    fn cache_key_callback(&self, session: &Session, ctx: &mut Self::CTX) -> Result<CacheKey> {
        self.0.cache_key_callback(session, ctx)
    }

    fn cache_miss(&self, session: &mut Session, ctx: &mut Self::CTX) {
        self.0.cache_miss(session, ctx);
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        meta: &CacheMeta,
        hit_handler: &mut HitHandler,
        is_fresh: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<ForcedFreshness>> {
        self.0
            .cache_hit_filter(session, meta, hit_handler, is_fresh, ctx)
            .await
    }

    async fn proxy_upstream_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> Result<bool> {
        self.0.proxy_upstream_filter(session, ctx).await
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        resp: &ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<RespCacheable> {
        self.0.response_cache_filter(session, resp, ctx)
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        ctx: &mut Self::CTX,
        req: &RequestHeader,
    ) -> Option<HashBinary> {
        self.0.cache_vary_filter(meta, ctx, req)
    }

    fn cache_not_modified_filter(
        &self,
        session: &Session,
        resp: &ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<bool> {
        self.0.cache_not_modified_filter(session, resp, ctx)
    }

    fn range_header_filter(
        &self,
        session: &mut Session,
        resp: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> RangeType {
        self.0.range_header_filter(session, resp, ctx)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        self.0
            .upstream_request_filter(session, upstream_request, ctx)
            .await
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        self.0
            .response_filter(session, upstream_response, ctx)
            .await
    }

    async fn custom_forwarding(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
        to_upstream: Option<mpsc::Sender<Bytes>>,
        to_downstream: mpsc::Sender<Bytes>,
    ) -> Result<()> {
        self.0
            .custom_forwarding(session, ctx, to_upstream, to_downstream)
            .await
    }

    async fn downstream_custom_message_proxy_filter(
        &self,
        session: &mut Session,
        custom_message: Bytes,
        ctx: &mut Self::CTX,
        final_hop: bool,
    ) -> Result<Option<Bytes>> {
        self.0
            .downstream_custom_message_proxy_filter(session, custom_message, ctx, final_hop)
            .await
    }

    async fn upstream_custom_message_proxy_filter(
        &self,
        session: &mut Session,
        custom_message: Bytes,
        ctx: &mut Self::CTX,
        final_hop: bool,
    ) -> Result<Option<Bytes>> {
        self.0
            .upstream_custom_message_proxy_filter(session, custom_message, ctx, final_hop)
            .await
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        self.0
            .upstream_response_body_filter(session, body, end_of_stream, ctx)
    }

    fn upstream_response_trailer_filter(
        &self,
        session: &mut Session,
        upstream_trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        self.0
            .upstream_response_trailer_filter(session, upstream_trailers, ctx)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        self.0
            .response_body_filter(session, body, end_of_stream, ctx)
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        upstream_trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        self.0
            .response_trailer_filter(session, upstream_trailers, ctx)
            .await
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Self::CTX) {
        self.0.logging(session, e, ctx).await;
    }

    fn persist_connection_context(
        &self,
        session: &Session,
        ctx: &Self::CTX,
    ) -> Option<Box<dyn Any + Send + Sync>> {
        self.0.persist_connection_context(session, ctx)
    }

    fn on_connection_reuse(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
        previous: Box<dyn Any + Send + Sync>,
    ) {
        self.0.on_connection_reuse(session, ctx, previous);
    }

    fn suppress_error_log(&self, session: &Session, ctx: &Self::CTX, error: &Error) -> bool {
        self.0.suppress_error_log(session, ctx, error)
    }

    fn suppress_proxy_warn_log(
        &self,
        session: &Session,
        ctx: &Self::CTX,
        error: &Error,
        context: ProxyWarnLogContext,
    ) -> bool {
        self.0.suppress_proxy_warn_log(session, ctx, error, context)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        self.0.fail_to_proxy(session, e, ctx).await
    }

    fn should_serve_stale(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
        error: Option<&Error>,
    ) -> bool {
        self.0.should_serve_stale(session, ctx, error)
    }

    fn request_summary(&self, session: &Session, ctx: &Self::CTX) -> String {
        self.0.request_summary(session, ctx)
    }

    fn is_purge(&self, session: &Session, ctx: &Self::CTX) -> bool {
        self.0.is_purge(session, ctx)
    }

    fn purge_action(&self, session: &Session, ctx: &Self::CTX) -> PurgeAction {
        self.0.purge_action(session, ctx)
    }

    fn purge_response_filter(
        &self,
        session: &Session,
        ctx: &mut Self::CTX,
        purge_status: PurgeStatus,
        purge_response: &mut Cow<'static, ResponseHeader>,
    ) -> Result<()> {
        self.0
            .purge_response_filter(session, ctx, purge_status, purge_response)
    }
}

/// Lets a request's body end once. Pingora 0.9.1 writes an empty last piece (HTTP/2 may end so) as a chunk of no bytes,
/// which is the last one, and then another: to the upstream that is the beginning of a next request.
pub fn end_once(piece: &mut Option<Bytes>, is_last: bool) {
    if is_last && piece.as_ref().is_some_and(Bytes::is_empty) {
        *piece = None;
    }
}

/// Whether a session is the pass of a run, and not of a request that may become one.
fn is_run(session: &Session) -> bool {
    run_mark(session).is_some_and(|mark| mark.contact.is_run())
}

/// Whether a response head had begun to come when reading it failed. Pingora 0.9.1 says so in the error's text only.
fn part_of_a_head_was_read(error: &Error) -> bool {
    error
        .context
        .as_ref()
        .and_then(|context| context.as_str().rsplit_once("bytes already read: "))
        .is_some_and(|(_, count)| count.trim() != "0")
}
