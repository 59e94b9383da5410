//! The openwhisk dialect: an OpenWhisk API for the namespaces of the configuration, on the listeners of the application.

use std::sync::Arc;

use axum::response::Response;
use http::{Method, StatusCode, header};
use pingora::protocols::http::ServerSession;
use tokio::time::Instant;

use self::callers::Callers;
use super::{PublicApi, bridge, public::Shared, waiting};
use crate::{
    config::{Config, Namespace},
    gate::{
        Gate, cors,
        invoke::{self, NotInvoked},
    },
    model::dialect::openwhisk::{
        query::{Invocation, List},
        refusal::Refusal,
        resource::{self, Resource},
    },
};

mod activations;
mod answer;
mod callers;
mod pieces;
mod preflight;

/// Answers requests for paths of the API. Clones are the same.
#[derive(Clone)]
pub struct OpenWhisk(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    gate: Gate,
    callers: Callers,
}

/// Why there is no answer yet.
enum Failure {
    /// The client left.
    Left,
    /// It is told what is wrong.
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl OpenWhisk {
    /// The API of the namespaces in `config`, beside the public one on the same store.
    pub fn new(config: &Config, gate: Gate, public: &PublicApi) -> Self {
        let shared = public.shared();
        let callers = Callers::new(&config.namespaces, &shared.store.identity().key);
        Self(Arc::new(Inner {
            shared,
            gate,
            callers,
        }))
    }

    /// Whether a request with this raw path is ours. Without a namespace, none is.
    pub fn owns(&self, path: &[u8]) -> bool {
        let known = self.0.callers.namespaces();
        if known.is_empty() {
            return false;
        }
        resource::owns(path)
            || resource::of_log_forwarding(path)
                .is_some_and(|named| known.iter().any(|known| known.name == named))
    }

    /// Answers the session's request, for a path that [`OpenWhisk::owns`]. When this returns the answer is complete, or
    /// the client has left and the session is shut down.
    pub async fn serve(&self, session: &mut ServerSession) {
        self.0.serve(session).await;
    }
}

impl Inner {
    async fn serve(&self, session: &mut ServerSession) {
        // What is sent behind a body is the next request; Pingora would drop it otherwise.
        session.set_pipelining_enabled(true);
        let request_id = answer::request_id(&session.req_header().headers);
        let mut namespace = None;
        let mut response = match self.answer(session, &mut namespace).await {
            Ok(response) => response,
            Err(Failure::Refused(refusal)) => answer::refusal(&refusal, &request_id),
            Err(Failure::Left) => {
                session.set_keepalive(None);
                return session.shutdown().await;
            }
        };
        let headers = response.headers_mut();
        headers.entry(answer::REQUEST_ID).or_insert(request_id);
        let request = session.req_header();
        if !headers.contains_key(header::VARY) {
            let rule = self.rule(namespace.as_deref(), request);
            headers.extend(cors::lines(rule, &request.headers));
        }
        if let Err(error) = bridge::send(session, response).await {
            tracing::debug!(%error, "an answer of the openwhisk API was not sent whole");
        }
    }

    /// The answer, and whose it is as soon as that is known.
    async fn answer(
        &self,
        session: &mut ServerSession,
        whose: &mut Option<Arc<Namespace>>,
    ) -> Result<Response, Failure> {
        let request = session.req_header();
        let (path, query) = split(request.raw_path());
        let resource = Resource::of(path)?;
        let allow = resource.methods();
        if request.method == Method::OPTIONS {
            return Ok(self.preflight(request, allow));
        }
        if !allow.split(", ").any(|method| request.method == method) {
            return Err(Refusal::method(allow).into());
        }
        let headers = &request.headers;
        let Some(name) = resource.namespace() else {
            let own = self.callers.own(headers)?;
            return Ok(answer::json(StatusCode::OK, answer::names(&own)));
        };
        let namespace = Arc::clone(self.callers.namespace(name, headers)?);
        *whose = Some(Arc::clone(&namespace));
        match resource {
            Resource::Action { action, .. } => {
                let asked = Invocation::of(query)?;
                self.invoke(session, &namespace, &action, asked).await
            }
            Resource::Activations { .. } => Ok(self.list(&namespace, List::of(query)?).await?),
            Resource::Activation { id, part, .. } => Ok(self.look(&namespace, &id, part).await?),
            // Nowhere: they are here.
            Resource::LogForwarding { .. } => {
                Ok(answer::json(StatusCode::OK, "{\"adobe_io_runtime\":{}}"))
            }
            Resource::Namespaces => Err(Refusal::nothing().into()),
        }
    }

    async fn invoke(
        &self,
        session: &mut ServerSession,
        namespace: &Namespace,
        action: &str,
        asked: Invocation,
    ) -> Result<Response, Failure> {
        let path = namespace.path.of(action);
        let invocation = invoke::Invocation {
            action,
            path: &path,
        };
        let invoked = self.gate.invoke(session, &namespace.settings, invocation);
        let invoked = invoked.await.map_err(|not| match not {
            NotInvoked::Gone => Failure::Left,
            NotInvoked::Refused(problem) => Failure::Refused(problem.into()),
        })?;
        if !asked.blocking {
            return Ok(answer::accepted(invoked));
        }
        let wait = namespace.blocking_wait;
        let until = Instant::now() + asked.timeout.map_or(wait, |asked| asked.min(wait));
        let ended = waiting::end_of(&self.shared, invoked.id, until);
        let ended = bridge::while_present(session, ended)
            .await
            .map_err(|_| Failure::Left)?;
        match ended {
            Ok(run) if run.state.is_final() => {
                let response = self.ended(namespace, run, asked.result).await?;
                Ok(answer::of_invocation(response, &invoked))
            }
            // It is stored, whatever can be seen of it now.
            Ok(_) | Err(_) => Ok(answer::accepted(invoked)),
        }
    }
}

/// A target's path and query.
fn split(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, b""),
    }
}
