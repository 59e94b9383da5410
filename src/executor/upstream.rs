//! The host's own proxy pipeline as the way to the application: a stored request, carried out as a Pingora subrequest.
//!
//! This folder alone knows Pingora's subrequests, which are called unstable: the version is pinned, and contract tests
//! hold what is used of them.

use std::{io, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error,
    http::ResponseHeader,
    protocols::http::{
        HttpTask, ServerSession,
        subrequest::server::{HttpSession as SubrequestSession, SubrequestHandle},
    },
    proxy::{
        HttpProxy, ProxyHttp, Session, Subrequest, http_proxy,
        subrequest::{BodyMode, Ctx},
    },
    server::configuration::ServerConf,
};
use tokio::sync::mpsc;

use super::{Attempted, Call, Contact, Hosted, Piece, RunMark, Upstream, mark::Held};
use crate::{
    model::{
        exchange::{Body, INLINE_MAX, StoredResponse},
        retry::{self, Outcome},
        time::SharedClock,
    },
    store::{RunClaim, Store},
};
use intake::{Intake, Received, Unkept};
use replay::Replay;

mod head;
mod intake;
mod passage;
mod replay;
mod verdict;

pub use passage::Passage;

/// A head that is replaced before anybody looks at it.
const ANY_HEAD: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// The mark of a run's own pass, if the session is one.
pub fn run_mark(session: &Session) -> Option<&RunMark> {
    session.subrequest_ctx.as_ref()?.user_ctx()?.downcast_ref()
}

/// A caller's session that has sent this head and nothing else; none if the head is malformed.
pub async fn session_of(head: Bytes, client: SocketAddr, tls: bool) -> Option<ServerSession> {
    let mut session = ServerSession::new_http1(Box::new(Replay::new(head, Some(client), tls)));
    session.read_request().await.ok()?.then_some(session)
}

/// A host's proxy, once more: with connections of its own.
pub struct Pipeline<SV> {
    proxy: Arc<HttpProxy<Hosted<SV>>>,
    /// For what callers wait for: on their runtime, whose connections end with it.
    front: Arc<HttpProxy<Hosted<SV>>>,
    store: Arc<dyn Store>,
    clock: SharedClock,
    /// Whether somebody takes spans of attempts.
    is_traced: bool,
}

impl<SV> Pipeline<SV>
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync,
{
    /// A second proxy of the same host, with the configuration of its server.
    pub fn new(
        conf: &Arc<ServerConf>,
        host: Hosted<SV>,
        store: Arc<dyn Store>,
        clock: SharedClock,
    ) -> Self {
        Self {
            proxy: Arc::new(http_proxy(conf, host.clone())),
            front: Arc::new(http_proxy(conf, host)),
            store,
            clock,
            is_traced: false,
        }
    }

    /// The same, whose attempts tell the application of their spans.
    pub fn traced(self, is_traced: bool) -> Self {
        Self { is_traced, ..self }
    }

    /// The session that stands for the caller, and our end of it.
    async fn session(
        &self,
        claim: &RunClaim,
    ) -> Result<(ServerSession, SubrequestHandle), Outcome> {
        let head = head::of_attempt(claim, &self.store.identity().loop_id, self.is_traced);
        let request = &claim.request;
        let replay = Replay::new(head, request.client, request.tls);
        let mut caller = ServerSession::new_http1(Box::new(replay));
        match caller.read_request().await {
            Ok(true) => {}
            Ok(false) | Err(_) => {
                tracing::error!(run_id = %claim.run.id, "a stored request head cannot be read back");
                return Err(Outcome::Internal);
            }
        }
        let (session, handle) = SubrequestSession::new_from_session(&caller);
        Ok((ServerSession::new_subrequest(session), handle))
    }

    fn mark(&self, claim: &RunClaim, contact: &Arc<Contact>) -> RunMark {
        RunMark {
            id: claim.run.id,
            attempt: claim.run.progress.attempts,
            route: claim.run.policy.route.clone(),
            tls: claim.request.tls,
            contact: Arc::clone(contact),
            held: Some(Held {
                store: Arc::clone(&self.store),
                fence: claim.fence,
            }),
        }
    }

    fn intake<'a>(&self, claim: &RunClaim, contact: &'a Contact) -> Intake<'a> {
        Intake {
            run: claim.run.id,
            limit: claim.run.policy.response_body,
            no_body: intake::answers_without_body(&claim.run.facts.method),
            writer: self.store.spool().writer(INLINE_MAX),
            contact,
        }
    }

    /// Runs the session through the pipeline, feeding the request's body and keeping the response.
    async fn exchange(
        &self,
        claim: &RunClaim,
        contact: &Arc<Contact>,
    ) -> Result<(Received, Option<Box<Error>>), Outcome> {
        let (session, handle) = self.session(claim).await?;
        let context = context(self.mark(claim, contact), !claim.request.body.is_empty());
        let pass = Arc::clone(&self.proxy).process_subrequest(Box::new(session), Box::new(context));
        let received = receive(pass, self.intake(claim, contact), handle.rx);
        // While the response is awaited, the sender of the body must live: its end means that the caller left.
        let fed = self.feed(claim, &handle.tx);
        let received = tokio::select! {
            received = received => received?,
            error = fed => {
                tracing::error!(run_id = %claim.run.id, %error, "a stored request body cannot be read");
                return Err(Outcome::Internal);
            }
        };
        let mut error = handle.subreq_proxy_error;
        Ok((received, error.try_recv().ok()))
    }

    /// Sends the request's body; returns only if it cannot be read.
    async fn feed(&self, claim: &RunClaim, tasks: &mpsc::Sender<HttpTask>) -> io::Error {
        let never = std::future::pending();
        if claim.request.body.is_empty() {
            return never.await;
        }
        let mut body = self.store.spool().reader(&claim.request.body);
        loop {
            match body.next().await {
                Ok(Some(piece)) => {
                    // The upstream may answer, and end, before it has read all.
                    if tasks
                        .send(HttpTask::Body(Some(piece), false))
                        .await
                        .is_err()
                    {
                        return never.await;
                    }
                }
                Ok(None) => return never.await,
                Err(error) => return error,
            }
        }
    }

    /// Gives the host's own answer to a caller who listens: he has not heard it as it came.
    async fn tell_own(&self, contact: &Contact, head: &ResponseHeader, body: &Body) {
        let Some(tee) = contact.tee().filter(|tee| !tee.is_whole()) else {
            return;
        };
        let mut own = Box::new(head.clone());
        head::strip(&mut own);
        tee.give(Piece::Head(own)).await;
        let mut body = self.store.spool().reader(body);
        loop {
            match body.next().await {
                Ok(Some(piece)) => tee.give(Piece::Body(piece)).await,
                Ok(None) => return tee.came_whole(),
                Err(error) => return tracing::error!(%error, "an answer cannot be read back"),
            }
        }
    }

    /// What became of an attempt of which this was received.
    async fn concluded(
        &self,
        received: Received,
        error: Option<&Error>,
        contact: &Contact,
    ) -> Attempted {
        if let Some(outcome) = verdict::of_failure(error, received.body.is_some(), contact) {
            return outcome.into();
        }
        match (received.head, received.body) {
            (Some(head), Some(body)) => {
                self.tell_own(contact, &head, &body).await;
                self.answered(head, body)
            }
            (Some(_) | None, Some(_) | None) => Outcome::Internal.into(),
        }
    }

    fn answered(&self, head: ResponseHeader, body: Body) -> Attempted {
        let retry_after = head
            .headers
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry::retry_after(value, self.clock.now()));
        let outcome = Outcome::Answered {
            status: head.status.as_u16(),
            retry_after,
        };
        let head = head::kept(head);
        Attempted {
            outcome,
            response: Some(StoredResponse { head, body }),
        }
    }
}

#[async_trait]
impl<SV> Upstream for Pipeline<SV>
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync,
{
    async fn attempt(&self, claim: &RunClaim, contact: &Arc<Contact>) -> Attempted {
        match self.exchange(claim, contact).await {
            Ok((received, error)) => self.concluded(received, error.as_deref(), contact).await,
            Err(outcome) => outcome.into(),
        }
    }

    async fn pass(&self, session: &ServerSession, call: Call) -> Option<Passage> {
        let contact = Arc::new(Contact::before_run(call.head));
        let mark = RunMark {
            id: call.id,
            attempt: 1,
            route: call.route,
            tls: call.tls,
            contact: Arc::clone(&contact),
            held: None,
        };
        let context = context(mark, call.has_body);
        let (session, handle) = match session {
            ServerSession::H2(_) => {
                // The pipeline cannot read its head as text. It need not: another one takes its place.
                let replay = Replay::new(Bytes::from_static(ANY_HEAD), call.client, call.tls);
                let mut caller = ServerSession::new_http1(Box::new(replay));
                caller.read_request().await.ok()?;
                SubrequestSession::new_from_session(&caller)
            }
            other => SubrequestSession::new_from_session(other),
        };
        let session = Box::new(ServerSession::new_subrequest(session));
        let pass = Arc::clone(&self.front).process_subrequest(session, Box::new(context));
        Some(Passage {
            pass: Some(pass),
            tasks: handle.rx,
            body: handle.tx,
            error: handle.subreq_proxy_error,
            contact,
        })
    }

    async fn take_over(&self, claim: &RunClaim, passage: Passage) -> Attempted {
        let Passage {
            pass,
            tasks,
            body: _held,
            mut error,
            contact,
        } = passage;
        let pass = pass.unwrap_or_else(|| Box::pin(std::future::ready(())));
        match receive(pass, self.intake(claim, &contact), tasks).await {
            Ok(received) => {
                let error = error.try_recv().ok();
                self.concluded(received, error.as_deref(), &contact).await
            }
            Err(outcome) => outcome.into(),
        }
    }
}

fn context(mark: RunMark, has_body: bool) -> Ctx {
    let body_mode = if has_body {
        BodyMode::ExpectBody
    } else {
        BodyMode::NoBody
    };
    Ctx::builder()
        .body_mode(body_mode)
        .user_ctx(Box::new(mark))
        .build()
}

/// Lets a pass go on to its end, and keeps its response.
async fn receive(
    pass: impl Future<Output = ()>,
    intake: Intake<'_>,
    tasks: mpsc::Receiver<HttpTask>,
) -> Result<Received, Outcome> {
    let pass = async {
        pass.await;
        Ok::<(), Unkept>(())
    };
    match tokio::try_join!(pass, intake.receive(tasks)) {
        Ok(((), received)) => Ok(received),
        Err(Unkept::TooLarge) => Err(Outcome::ResponseTooLarge),
        Err(Unkept::Failed) => Err(Outcome::Internal),
    }
}

#[cfg(test)]
mod tests;
