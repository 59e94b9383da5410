//! How an invocation of the openwhisk dialect becomes a run: the caller's JSON is sent to the action's path. It is
//! answered elsewhere.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::{Method, header};
use pingora::{http::RequestHeader, protocols::http::ServerSession};

use super::{Gate, Inner, admission::unavailable, intake::Refusal, keep::reused};
use crate::{
    config::RunSettings,
    model::{
        dialect::{Receipt, Reply, openwhisk::DIALECT},
        exchange::{
            Body,
            json::Json,
            request_head::{self, Received, Surgery},
        },
        id::RunId,
        problem::{Code, Problem},
    },
    store::{AcceptError, Accepted},
};

/// What an action is given if nothing is sent.
const EMPTY: &[u8] = b"{}";

/// What is invoked.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The action, `name` or `package/name`.
    pub action: &'a str,
    /// Where it is at the application.
    pub path: &'a str,
}

/// An invocation that is a run now.
#[derive(Debug)]
pub struct Invoked {
    /// The run.
    pub id: RunId,
    /// Its 202.
    pub accepted: Reply,
}

/// Why there is no run.
#[derive(Debug)]
pub enum NotInvoked {
    /// The client left.
    Gone,
    /// It is told what is wrong.
    Refused(Problem),
}

impl From<Problem> for NotInvoked {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl Gate {
    /// Takes a request in as a run of this action, and starts it if there is a free slot. Its body is read to the end,
    /// unless it is refused; nothing is answered.
    ///
    /// # Errors
    /// The refusal, counted.
    pub async fn invoke(
        &self,
        session: &mut ServerSession,
        settings: &Arc<RunSettings>,
        invocation: Invocation<'_>,
    ) -> Result<Invoked, NotInvoked> {
        let invoked = self.0.invoke(session, settings, invocation).await;
        if let Err(NotInvoked::Refused(problem)) = &invoked {
            let labels = [settings.policy.route.as_str(), problem.code.as_str()];
            self.0
                .parts
                .metrics
                .runs_rejected
                .with_label_values(&labels)
                .inc();
        }
        invoked
    }
}

impl Inner {
    async fn invoke(
        &self,
        session: &mut ServerSession,
        settings: &Arc<RunSettings>,
        invocation: Invocation<'_>,
    ) -> Result<Invoked, NotInvoked> {
        let order = self.check(session, settings, &DIALECT)?;
        let mut taken = self
            .body(session, &order)
            .await
            .map_err(|refusal| match refusal {
                Refusal::Gone => NotInvoked::Gone,
                Refusal::Problem(problem) => problem.into(),
            })?;
        if taken.body.is_empty() {
            taken.body = Body::Inline(Bytes::from_static(EMPTY));
        } else if let Err(problem) = self.check_object(&taken.body).await {
            self.forget(&taken.body);
            return Err(problem.into());
        }
        let slot = self.parts.executor.reserve(&settings.policy.route);
        let mut run = self.new_run(session.req_header(), settings, &order, &taken);
        run.start = slot.is_some();
        run.request.head = head(session.req_header(), invocation.path, taken.body.len());
        invocation.action.clone_into(&mut run.facts.name);
        invocation.path.clone_into(&mut run.facts.path);
        let id = run.id;
        let (id, replayed) = match self.parts.store.accept(run).await {
            Ok(Accepted::New(claim)) => {
                if let (Some(slot), Some(claim)) = (slot, claim) {
                    self.parts.executor.start(slot, *claim);
                }
                self.count(settings, DIALECT.name);
                (id, false)
            }
            Ok(Accepted::Replayed(first)) => (first.id, true),
            Ok(Accepted::KeyReused(first)) => return Err(reused(settings, first).into()),
            Err(AcceptError::Unwritable(why)) => return Err(unavailable(why).into()),
        };
        let location = self.location(id);
        let accepted = DIALECT.reply(Receipt {
            id,
            accepted_at: id.made_at(),
            call_id: None,
            location: location.as_deref(),
            replayed,
            relaxed: self.relaxed,
        });
        Ok(Invoked { id, accepted })
    }

    /// Reads a body once more: it has to be a JSON object.
    async fn check_object(&self, body: &Body) -> Result<(), Problem> {
        match self.is_object(body).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let detail = "The body is no JSON object (RFC 8259, in UTF-8); send one with the action's parameters, or \
                              none.";
                Err(Problem::new(Code::BadRequest, detail))
            }
            Err(error) => {
                tracing::error!(%error, "a request body cannot be read back");
                let detail = "The body could not be stored; nothing was accepted. Try again later.";
                Err(Problem::new(Code::StoreUnavailable, detail).retry_after(5))
            }
        }
    }

    /// Removes what nobody will ask for again: otherwise it would be there until the sweep.
    fn forget(&self, body: &Body) {
        if let Body::Spooled { name, .. } = body
            && let Err(error) = self.parts.store.spool().remove(name)
        {
            tracing::warn!(%error, "a refused body is left to the sweep");
        }
    }

    async fn is_object(&self, body: &Body) -> io::Result<bool> {
        let mut json = Json::watching("");
        let mut reader = self.parts.store.spool().reader(body);
        while let Some(piece) = reader.next().await? {
            if !json.push(&piece) {
                return Ok(false);
            }
        }
        Ok(json.end().is_some_and(|value| value.is_object))
    }
}

/// The head that the application gets: a POST of JSON to the action's path, with the caller's other headers. Without the
/// credentials, which are for us, and without `Accept-Encoding`: the answer is to be put into a record.
fn head(request: &RequestHeader, path: &str, length: u64) -> Bytes {
    let received = Received {
        method: &Method::POST,
        target: path.as_bytes(),
        headers: &request.headers,
        authority: request.uri.authority().map(|authority| authority.as_str()),
    };
    let surgery = Surgery {
        parameters: &[],
        preferences: &[],
        keep_conditions: false,
        keep_encodings: false,
        length: Some(length),
    };
    let ours = |name: &[u8]| {
        [header::AUTHORIZATION, header::CONTENT_TYPE]
            .iter()
            .any(|header| name.eq_ignore_ascii_case(header.as_str().as_bytes()))
    };
    let json = (&b"Content-Type"[..], &b"application/json"[..]);
    if request.has_case() {
        let lines = request
            .case_header_iter()
            .map(|(name, value)| (name.as_slice(), value.as_bytes()));
        let lines = lines.filter(|(name, _)| !ours(name)).chain([json]);
        request_head::stored(received, lines, surgery)
    } else {
        let lines = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let lines = lines.filter(|(name, _)| !ours(name)).chain([json]);
        request_head::stored(received, lines, surgery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_gets_json_and_no_credentials() {
        let mut request = RequestHeader::build(
            "POST",
            b"/api/v1/namespaces/_/actions/a?blocking=true",
            None,
        )
        .unwrap();
        for (name, value) in [
            ("Host", "app.example"),
            ("AUTHORIZATION", "Basic dTpw"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("Accept-Encoding", "gzip"),
            ("Transfer-Encoding", "chunked"),
            ("X-Webhook-Secret", "hush"),
            ("X-Tenant", "7"),
        ] {
            request.append_header(name, value).unwrap();
        }
        let head = head(&request, "/sample/a", 2);
        assert_eq!(
            std::str::from_utf8(&head).unwrap(),
            "POST /sample/a HTTP/1.1\r\nHost: app.example\r\nX-Tenant: 7\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\n\r\n"
        );
    }
}
