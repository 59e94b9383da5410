//! A synchronous call with a webhook: a run whose caller gets the response as it streams in.
//!
//! The last byte goes out only after the run has ended in the store, with its delivery: a caller who has seen the whole
//! response knows that the webhook will be told. A caller who leaves does not end the run.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Version, header};
use pingora::{
    Error, ErrorType, http::ResponseHeader, protocols::http::ServerSession, proxy::Session,
};

use super::{
    Inner,
    admission::{Order, unavailable},
    cors,
    intake::Taken,
    keep::Stored,
    patience::Patience,
    respond::{self, Manner, RUN_ID},
};
use crate::{
    config::RunSettings,
    executor::{Ending, Heard, Listener, Piece, tee},
    model::{
        id::RunId,
        problem::{Code, Problem},
    },
    store::{AcceptError, Accepted},
};

impl Inner {
    /// Stores the run as started, sends it, and passes its response on.
    pub(super) async fn tell(
        &self,
        session: &mut Session,
        settings: &Arc<RunSettings>,
        order: Order,
        taken: Taken,
    ) -> pingora::Result<()> {
        let slot = self.parts.executor.reserve(&settings.policy.route);
        let mut run = self.new_run(session.req_header(), settings, &order, &taken);
        run.start = true;
        let (id, dialect) = (run.id, run.facts.dialect.clone());
        let claim = match self.parts.store.accept(run).await {
            Ok(Accepted::New(Some(claim))) => claim,
            Err(AcceptError::Unwritable(why)) => {
                return self.refuse(session, settings, &unavailable(why)).await;
            }
            // It was to be stored as started, and without a key.
            Ok(Accepted::New(None) | Accepted::Replayed(_) | Accepted::KeyReused(_)) => {
                let detail = "The run could not be started here; its webhook will be told.";
                let problem = Problem::new(Code::Internal, detail).about(id);
                return self.answer_problem(session, settings, &problem).await;
            }
        };
        drop(taken);
        self.count(settings, &dialect);
        let (tee, listener) = tee();
        self.parts.executor.start_told(slot, *claim, tee);
        self.relay(session, settings, (id, order.patience), listener)
            .await
    }

    async fn relay(
        &self,
        session: &mut Session,
        settings: &RunSettings,
        (id, patience): (RunId, Option<Patience>),
        mut listener: Listener,
    ) -> pingora::Result<()> {
        let time = patience.map_or(Duration::MAX, |patience| patience.time);
        let slow = tokio::time::sleep(time);
        tokio::pin!(slow);
        let mut held = loop {
            let heard = tokio::select! {
                biased;
                heard = listener.next() => heard,
                () = &mut slow, if patience.is_some() => {
                    drop(listener);
                    return self.put_off(session, settings, id, patience).await;
                }
            };
            match heard {
                Heard::Piece(Piece::Head(head)) => break Held::head(session, *head, id).await?,
                Heard::Piece(Piece::Body(_)) => {}
                Heard::Ended(ending) => {
                    let problem = without_response(id, ending);
                    return self.answer_problem(session, settings, &problem).await;
                }
                Heard::Lost => return Err(cut_short()),
            }
        };
        loop {
            match listener.next().await {
                Heard::Piece(Piece::Body(piece)) => held.body(session, piece).await?,
                Heard::Piece(Piece::Head(_)) => {}
                Heard::Ended(Ending::Whole) => return held.release(session).await,
                Heard::Ended(Ending::Failed(_) | Ending::Again) | Heard::Lost => {
                    return Err(cut_short());
                }
            }
        }
    }

    /// Answers 202 to a caller whose patience is over. Its run goes on.
    async fn put_off(
        &self,
        session: &mut Session,
        settings: &RunSettings,
        id: RunId,
        patience: Option<Patience>,
    ) -> pingora::Result<()> {
        let Some(Patience {
            dialect, honoured, ..
        }) = patience
        else {
            return Ok(());
        };
        let stored = Stored::new(id);
        self.answer(session, settings, dialect, &stored, Some(honoured))
            .await
    }

    /// Answers a problem about a run that was accepted.
    async fn answer_problem(
        &self,
        session: &mut Session,
        settings: &RunSettings,
        problem: &Problem,
    ) -> pingora::Result<()> {
        let cors = cors::lines(settings.cors.as_ref(), &session.req_header().headers);
        let manner = Manner {
            public_prefix: &self.public_prefix,
            cors: &cors,
            ..Manner::default()
        };
        respond::problem(&mut session.downstream_session, problem, manner).await
    }
}

/// The response's end, held back until the run has ended in the store.
struct Held {
    /// The head of a response without a body.
    head: Option<Box<ResponseHeader>>,
    /// Bytes until the end, where they are known; otherwise a mark ends the body, which is what is held.
    left: Option<u64>,
    last: Bytes,
}

impl Held {
    async fn head(
        session: &mut ServerSession,
        mut head: ResponseHeader,
        id: RunId,
    ) -> pingora::Result<Self> {
        head.insert_header(RUN_ID, id.to_string())?;
        let bodyless = session.req_header().method == Method::HEAD
            || matches!(head.status.as_u16(), 204 | 304);
        let declared = head
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let left = if bodyless { Some(0) } else { declared };
        if left.is_none() && session.req_header().version == Version::HTTP_11 {
            head.insert_header(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            )?;
        }
        let head = Box::new(head);
        let head = if left == Some(0) {
            Some(head)
        } else {
            session.write_response_header(head).await?;
            None
        };
        Ok(Self {
            head,
            left,
            last: Bytes::new(),
        })
    }

    async fn body(&mut self, session: &mut ServerSession, piece: Bytes) -> pingora::Result<()> {
        let Some(left) = &mut self.left else {
            return session.write_response_body(piece, false).await;
        };
        *left = left.saturating_sub(piece.len() as u64);
        if *left == 0 {
            self.last = piece;
            return Ok(());
        }
        session.write_response_body(piece, false).await
    }

    async fn release(self, session: &mut ServerSession) -> pingora::Result<()> {
        if let Some(head) = self.head {
            session.write_response_header(head).await?;
            return session.write_response_body(Bytes::new(), true).await;
        }
        session.write_response_body(self.last, true).await
    }
}

/// What a caller gets whose run has no response, or none yet.
fn without_response(id: RunId, ending: Ending) -> Problem {
    let of_end = match ending {
        Ending::Failed(end) => Problem::of_end(id, end),
        Ending::Whole | Ending::Again => None,
    };
    of_end.unwrap_or_else(|| {
        let detail =
            "The proxy stops before the response has come; the run goes on, and its webhook will be told.";
        Problem::new(Code::BadGateway, detail).about(id)
    })
}

/// Closes the caller's connection: what it has got is not the whole response.
fn cut_short() -> Box<Error> {
    Error::explain(
        ErrorType::ConnectionClosed,
        "the run's response ended midway",
    )
    .into_up()
}
