//! From a request with its body to a stored run, and to the 202: nothing is said before the store's commit returned.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use pingora::{http::RequestHeader, protocols::http::ServerSession, proxy::Session};

use super::{
    Inner,
    admission::{Order, head_of, unavailable},
    cors, idempotency,
    intake::Taken,
    respond::{Answer, Manner},
    trigger::parameters,
};
use crate::{
    config::RunSettings,
    model::{
        access,
        dialect::{Dialect, Place, Receipt, named, prefer::Honoured},
        exchange::{
            StoredRequest,
            request_head::{self, Received, Surgery},
        },
        id::RunId,
        problem::{Code, Problem},
        run::{Access, Facts, Run},
        secret::Secret,
        time::Timestamp,
    },
    store::{AcceptError, Accepted, IdempotencyKey, NewRun},
};

const WEBHOOK_SECRET: HeaderName = HeaderName::from_static("x-webhook-secret");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl Inner {
    /// Stores the run, starts it if its route has a free slot, and answers.
    pub(super) async fn keep(
        &self,
        session: &mut Session,
        settings: &Arc<RunSettings>,
        order: Order,
        taken: Taken,
    ) -> pingora::Result<()> {
        let Some(dialect) = order.dialect.filter(|_| order.patience.is_none()) else {
            return self.tell(session, settings, order, taken).await;
        };
        let slot = self.parts.executor.reserve(&settings.policy.route);
        let mut run = self.new_run(session.req_header(), settings, &order, &taken);
        run.start = slot.is_some();
        let new = Stored {
            accepted_at: run.accepted_at,
            call_id: run.facts.extra.call_id.clone(),
            ..Stored::new(run.id)
        };
        let (kept, dialect) = match self.parts.store.accept(run).await {
            Ok(Accepted::New(claim)) => {
                if let (Some(slot), Some(claim)) = (slot, claim) {
                    self.parts.executor.start(slot, *claim);
                }
                self.count(settings, dialect.name);
                (new, dialect)
            }
            Ok(Accepted::Replayed(run)) => {
                let dialect = dialect_of(&run, dialect);
                (Stored::before(*run), dialect)
            }
            Ok(Accepted::KeyReused(first)) => {
                return self
                    .refuse(session, settings, &reused(settings, first))
                    .await;
            }
            Err(AcceptError::Unwritable(why)) => {
                return self.refuse(session, settings, &unavailable(why)).await;
            }
        };
        drop(taken);
        self.answer(session, settings, dialect, &kept, None).await
    }

    pub(super) fn count(&self, settings: &RunSettings, dialect: &str) {
        self.parts
            .metrics
            .runs_accepted
            .with_label_values(&[settings.policy.route.as_str(), dialect])
            .inc();
    }

    /// The run as it will be stored.
    pub(super) fn new_run(
        &self,
        request: &RequestHeader,
        settings: &RunSettings,
        order: &Order,
        taken: &Taken,
    ) -> NewRun {
        let store = &self.parts.store;
        let headers = &request.headers;
        let access = access::access_of(&store.identity().key, headers, &settings.owner_headers);
        let endpoint = order
            .endpoint
            .clone()
            .or_else(|| settings.webhook.endpoint.clone());
        let key = order.key.as_deref().zip(taken.fingerprint);
        let key = key.map(|(key, fingerprint)| IdempotencyKey {
            scope: idempotency::scope(&settings.policy.route, &access, headers, key),
            fingerprint,
        });
        NewRun {
            id: store.next_id(),
            policy: Arc::clone(&settings.policy),
            request: StoredRequest {
                head: stored_head(request, settings, order, endpoint.is_some(), taken),
                body: taken.body.clone(),
                client: order.client,
                tls: order.tls,
                webhook_secret: webhook_secret(headers).filter(|_| endpoint.is_some()),
            },
            facts: facts(request, settings, order, access, endpoint),
            key,
            accepted_at: self.parts.clock.now(),
            start: false,
        }
    }

    /// Answers 202; it says what is `honoured` if that is not what the dialect says anyway.
    pub(super) async fn answer(
        &self,
        session: &mut ServerSession,
        settings: &RunSettings,
        dialect: &Dialect,
        kept: &Stored,
        honoured: Option<Honoured>,
    ) -> pingora::Result<()> {
        let location = self.location(kept.id);
        let mut reply = dialect.reply(Receipt {
            id: kept.id,
            accepted_at: kept.accepted_at,
            call_id: kept.call_id.as_deref(),
            location: location.as_deref(),
            replayed: kept.replayed,
            relaxed: self.relaxed,
        });
        if let Some(honoured) = honoured {
            honoured.tell(&mut reply);
        }
        let cors = cors::lines(settings.cors.as_ref(), &session.req_header().headers);
        let manner = Manner {
            public_prefix: &self.public_prefix,
            cors: &cors,
            ..Manner::default()
        };
        let mut answer = Answer::new(202, reply.lines.len() + cors.len())?;
        for (name, value) in reply.lines {
            answer.set(name, value)?;
        }
        answer.send(session, reply.body, manner).await
    }

    pub(super) fn location(&self, id: RunId) -> Option<String> {
        if self.public_prefix.is_empty() {
            return None;
        }
        let mut room = [0; 36];
        let token = access::token(&self.parts.store.identity().key, id);
        let parts = [
            &self.public_url,
            &self.public_prefix,
            "/runs/",
            id.write(&mut room),
            "?token=",
            &token,
        ];
        Some(parts.concat())
    }
}

/// What a 202 says of a run that is stored.
pub(super) struct Stored {
    id: RunId,
    accepted_at: Timestamp,
    call_id: Option<String>,
    replayed: bool,
}

impl Stored {
    /// A run that has been stored just now.
    pub(super) fn new(id: RunId) -> Self {
        Self {
            id,
            accepted_at: id.made_at(),
            call_id: None,
            replayed: false,
        }
    }

    /// A run that was stored before, under the same key.
    fn before(run: Run) -> Self {
        Self {
            id: run.id,
            accepted_at: run.accepted_at,
            call_id: run.facts.extra.call_id,
            replayed: true,
        }
    }
}

pub(super) fn stored_head(
    request: &RequestHeader,
    settings: &RunSettings,
    order: &Order,
    has_webhook: bool,
    taken: &Taken,
) -> Bytes {
    let head = head_of(request);
    let synchronous = order.dialect.is_none() || order.patience.is_some();
    let is_framed = order.length.is_some()
        || !taken.body.is_empty()
        || request
            .headers
            .contains_key(http::header::TRANSFER_ENCODING);
    let names = parameters(settings);
    // What asks for nothing is the application's own.
    let controls = match order.place {
        _ if settings.forward_control_params || order.passed_on => &[][..],
        Some(Place::Query(control)) => &[names.webhook, names.of(control)],
        Some(Place::Path(_) | Place::Preference(_)) | None => &[names.webhook],
    };
    let surgery = Surgery {
        parameters: controls,
        preferences: match (order.patience, &order.place) {
            (Some(patience), _) => patience.honoured.names(),
            (None, Some(Place::Preference(name))) => std::slice::from_ref(name),
            (None, Some(Place::Query(_) | Place::Path(_)) | None) => &[],
        },
        keep_conditions: synchronous,
        keep_encodings: synchronous || !has_webhook,
        length: is_framed.then(|| taken.body.len()),
    };
    let received = Received {
        method: head.method,
        target: order.function.target.as_deref().unwrap_or(head.target),
        headers: head.headers,
        authority: request.uri.authority().map(|authority| authority.as_str()),
    };
    if request.has_case() {
        let lines = request
            .case_header_iter()
            .map(|(name, value)| (name.as_slice(), value.as_bytes()));
        request_head::stored(received, lines, surgery)
    } else {
        let lines = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        request_head::stored(received, lines, surgery)
    }
}

fn facts(
    request: &RequestHeader,
    settings: &RunSettings,
    order: &Order,
    access: Access,
    endpoint: Option<String>,
) -> Facts {
    let path = String::from_utf8_lossy(head_of(request).path()).into_owned();
    let dialect = order.dialect.or(settings.dialects.first().copied());
    Facts {
        dialect: dialect
            .map_or("cerebrium", |dialect| dialect.name)
            .to_owned(),
        asynchronous: order.dialect.is_some(),
        name: path.clone(),
        method: request.method.as_str().to_owned(),
        path,
        has_key: request.headers.contains_key(&settings.idempotency_header),
        webhook_endpoint: endpoint,
        depth: order.depth,
        traceparent: request
            .headers
            .get(TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        access,
        extra: order.function.extra.clone(),
    }
}

fn webhook_secret(headers: &HeaderMap) -> Option<Secret> {
    headers
        .get(WEBHOOK_SECRET)
        .map(|secret| secret.as_bytes())
        .filter(|secret| !secret.is_empty())
        .map(Secret::new)
}

/// The dialect that the first request asked in: the same 202 again.
fn dialect_of(run: &Run, asked: &'static Dialect) -> &'static Dialect {
    named(&run.facts.dialect).unwrap_or(asked)
}

pub(super) fn reused(settings: &RunSettings, first: RunId) -> Problem {
    let detail = format!(
        "The `{}` was sent before with another method, target or body; use a new key for a new request.",
        settings.idempotency_header
    );
    Problem::new(Code::IdempotencyKeyReused, detail).about(first)
}
