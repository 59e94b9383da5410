//! A request that becomes a run if its response is slow: passed on at once, watched, and handed to the executor when
//! its caller's patience ends. One that is answered in time leaves nothing behind.

use http::{HeaderName, header};
use pingora::{
    ErrorType,
    http::RequestHeader,
    protocols::http::{HttpTask, ServerSession},
    proxy::Session,
};
use tokio::time::{Instant, sleep_until};

use super::{
    Inner, Verdict, admission::Order, cors, intake::invite, keep::Stored, kept::Kept,
    patience::Patience, respond, respond::Manner,
};
use crate::{
    config::{OnSlow, RunSettings},
    executor::{Call, Passage},
    model::{
        dialect::prefer::Honoured,
        exchange::{INLINE_MAX, preferences},
        id::RunId,
        problem::{Code, Problem},
        time::Timestamp,
    },
    store::Accepted,
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const WEBHOOK_SECRET: &str = "x-webhook-secret";
const OURS: &str = "raincheck-";

/// A request that was passed on and is watched.
struct Watched<'a> {
    settings: &'a RunSettings,
    order: Order,
    patience: Patience,
    /// The run that it would be.
    id: RunId,
    kept: Kept,
}

/// What happens next to it.
enum Next {
    /// A piece of the response; none: the pass is over.
    Response(Option<HttpTask>),
    /// A piece of its body or the end of it, or its client has left.
    Request(pingora::Result<Option<bytes::Bytes>>),
    /// Its caller's patience is over.
    Slow,
    /// The pass takes more of the body.
    Room,
}

/// How far it has come.
#[derive(Default)]
struct Progress {
    /// When its body was whole: from then on it may become a run.
    whole_at: Option<Timestamp>,
    /// Whether the end of the caller's patience still means something.
    patient: bool,
    /// Whether the response's head has come.
    answered: bool,
    /// Whether the response has come to its end.
    ended: bool,
    /// Whether the client sent what cannot be told from its leaving.
    blind: bool,
}

impl Inner {
    /// Passes a request on, and answers it: with its response, or as `patience` says.
    pub(super) async fn watch(
        &self,
        session: &mut Session,
        settings: &RunSettings,
        order: Order,
        patience: Patience,
    ) -> Verdict {
        // Who asks for a run is invited to send its body by us, as for every run.
        let invited = order.expects_continue && patience.honoured.respond_async;
        if invited && invite(session).await.is_err() {
            session.set_keepalive(None);
            return Verdict::Answered;
        }
        let id = self.parts.store.next_id();
        let call = Call {
            id,
            route: settings.policy.route.clone(),
            head: outgoing(session, patience.honoured, invited),
            has_body: !session.is_body_empty(),
            client: order.client,
            tls: order.tls,
        };
        let Some(passage) = self.parts.executor.pass(session, call).await else {
            return Verdict::Pass;
        };
        let kept = self.begin_to_keep(session, &order, patience);
        let watched = Watched {
            settings,
            order,
            patience,
            id,
            kept,
        };
        // What is sent behind the body is the next request.
        session.set_pipelining_enabled(true);
        match self.follow(session, watched, passage).await {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Failed(error),
        }
    }

    fn begin_to_keep(
        &self,
        session: &mut ServerSession,
        order: &Order,
        patience: Patience,
    ) -> Kept {
        if patience.then == OnSlow::GatewayTimeout {
            return Kept::nothing();
        }
        if session.is_body_empty() {
            return Kept::new(None, None, 0);
        }
        let room = order.length.unwrap_or(u64::MAX).min(INLINE_MAX as u64);
        let share = self.budget.take(room);
        let in_memory = if share.is_some() { INLINE_MAX } else { 0 };
        let writer = self.parts.store.spool().writer(in_memory);
        Kept::new(Some(writer), share, self.rules.limits.request_body)
    }

    async fn follow(
        &self,
        session: &mut ServerSession,
        mut watched: Watched<'_>,
        mut passage: Passage,
    ) -> pingora::Result<Verdict> {
        let feeder = passage.feeder();
        let mut progress = Progress::default();
        let slow = sleep_until(Instant::now());
        tokio::pin!(slow);
        loop {
            let whole = session.is_body_done();
            if whole && progress.whole_at.is_none() {
                progress.whole_at = Some(self.parts.clock.now());
                progress.patient = !progress.answered;
                slow.as_mut().reset(Instant::now() + watched.patience.time);
            }
            let room = feeder.has_room();
            let looks = !progress.blind && if whole { !progress.ended } else { room };
            let next = tokio::select! {
                biased;
                task = passage.next() => Next::Response(task),
                () = &mut slow, if progress.patient => Next::Slow,
                piece = session.read_body_or_idle(whole), if looks => Next::Request(piece),
                () = feeder.room(), if !whole && !room => Next::Room,
            };
            match next {
                Next::Response(Some(task)) => {
                    let tasks = all_there(&mut passage, task);
                    if !progress.answered && tasks.iter().any(is_answer) {
                        progress.answered = true;
                        progress.patient = false;
                        watched.kept.forget();
                    }
                    progress.ended |= session.response_duplex_vec(tasks).await?;
                }
                Next::Response(None) if progress.ended => return Ok(Verdict::Passed),
                Next::Response(None) => return broken_off(session, passage).await,
                Next::Request(Ok(_)) if whole => {}
                Next::Request(Ok(piece)) => {
                    let end = piece.is_none() || session.is_body_done();
                    // An empty piece would be sent as a chunk of no bytes, which is the last one.
                    let piece = piece.filter(|piece| !piece.is_empty());
                    if let Some(piece) = &piece {
                        watched.kept.add(piece.clone()).await;
                    }
                    if piece.is_some() || end {
                        feeder.feed(HttpTask::Body(piece, end));
                    }
                }
                Next::Request(Err(error)) if error.etype() == &ErrorType::ConnectError => {
                    session.set_keepalive(None);
                    progress.blind = true;
                }
                Next::Request(Err(error)) => return Err(error.into_down()),
                Next::Slow if watched.patience.then == OnSlow::GatewayTimeout => {
                    drop(passage);
                    return self.give_up(session, &watched).await;
                }
                Next::Slow => {
                    progress.patient = false;
                    passage = match self
                        .convert(session, &mut watched, &progress, passage)
                        .await
                    {
                        Ok(()) => return Ok(self.converted(session, &watched).await),
                        Err(passage) => passage,
                    };
                }
                Next::Room => {}
            }
        }
    }

    /// Stores the run as started, and hands its passage to the executor. If that cannot be, the caller waits on: its
    /// request is under way, so it is not refused.
    async fn convert(
        &self,
        session: &ServerSession,
        watched: &mut Watched<'_>,
        progress: &Progress,
        mut passage: Passage,
    ) -> Result<(), Passage> {
        let route = &watched.settings.policy.route;
        let (Some(room), Ok(())) = (self.parts.executor.make_room(route), self.check_room(route))
        else {
            watched.kept.forget();
            return Err(passage);
        };
        let accepted = async {
            let taken = watched.kept.take().await?;
            let request = session.req_header();
            let mut run = self.new_run(request, watched.settings, &watched.order, &taken);
            run.id = watched.id;
            run.start = true;
            run.accepted_at = progress.whole_at.unwrap_or(run.accepted_at);
            Some(self.parts.store.accept(run).await)
        };
        let accepted = tokio::select! {
            biased;
            accepted = accepted => accepted,
            // What comes of the response now is the run's, if there will be one.
            never = passage.go_on() => match never {},
        };
        let Some(accepted) = accepted else {
            return Err(passage);
        };
        match accepted {
            Ok(Accepted::New(Some(claim))) => {
                self.parts.executor.take_over(room, *claim, passage);
                self.count(watched.settings, watched.patience.dialect.name);
                Ok(())
            }
            // It was to be stored as started, and without a key.
            Ok(Accepted::New(None) | Accepted::Replayed(_) | Accepted::KeyReused(_)) => {
                tracing::error!(run_id = %watched.id, route, "a slow request's run was not started");
                Err(passage)
            }
            Err(error) => {
                tracing::warn!(route, %error, "a slow request did not become a run; its caller waits on");
                Err(passage)
            }
        }
    }

    /// Answers 202. A caller who has left meanwhile is no loss: the run goes on.
    async fn converted(&self, session: &mut ServerSession, watched: &Watched<'_>) -> Verdict {
        let Patience {
            dialect, honoured, ..
        } = watched.patience;
        let stored = Stored::new(watched.id);
        let answered = self.answer(session, watched.settings, dialect, &stored, Some(honoured));
        if answered.await.is_err() {
            session.set_keepalive(None);
        }
        Verdict::Answered
    }

    /// Answers 504.
    async fn give_up(
        &self,
        session: &mut ServerSession,
        watched: &Watched<'_>,
    ) -> pingora::Result<Verdict> {
        let time = humantime::format_duration(watched.patience.time);
        let detail = format!(
            "The upstream did not answer within {time} (`convert_after`); its connection was closed. The request may \
             have been applied."
        );
        let problem = Problem::new(Code::GatewayTimeout, detail);
        let cors = cors::lines(
            watched.settings.cors.as_ref(),
            &session.req_header().headers,
        );
        let manner = Manner {
            public_prefix: &self.public_prefix,
            cors: &cors,
            close: !session.is_body_done(),
            errors: watched.patience.dialect.errors,
        };
        respond::problem(session, &problem, manner).await?;
        Ok(Verdict::Passed)
    }
}

/// The head as it is sent: as it came, but for what is between callers and us.
fn outgoing(session: &mut ServerSession, honoured: Honoured, invited: bool) -> Box<RequestHeader> {
    let has_body = !session.is_body_empty();
    let mut head = Box::new(session.req_header().clone());
    while let Some(name) = ours(&head) {
        head.remove_header(&name);
    }
    // A credential between the caller and us, whether or not a run comes of it.
    head.remove_header(WEBHOOK_SECRET);
    if invited {
        head.remove_header(&header::EXPECT);
    }
    if honoured != Honoured::default() {
        take_out(&mut head, honoured.names());
    }
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .iter()
        .any(|name| head.headers.contains_key(name));
    if has_body && !framed {
        // HTTP/2 needs neither; the pipeline is told so that a body follows.
        let _ = head.insert_header(header::TRANSFER_ENCODING, "chunked");
    }
    head
}

fn ours(head: &RequestHeader) -> Option<HeaderName> {
    head.headers
        .keys()
        .find(|name| name.as_str().starts_with(OURS))
        .cloned()
}

fn take_out(head: &mut RequestHeader, names: &[&str]) {
    let lines = head.headers.get_all(PREFER).iter();
    let kept: Vec<_> = lines
        .filter_map(|line| preferences::without(line.as_bytes(), names))
        .collect();
    head.remove_header(&PREFER);
    for line in kept {
        // What was in a header may be in one.
        let _ = head.append_header("Prefer", line);
    }
}

/// A piece of the response with all that has come behind it: one write for all.
fn all_there(passage: &mut Passage, first: HttpTask) -> Vec<HttpTask> {
    let mut tasks = Vec::with_capacity(4);
    tasks.push(first);
    while let Some(task) = passage.more() {
        tasks.push(task);
    }
    tasks
}

fn is_answer(task: &HttpTask) -> bool {
    !matches!(task, HttpTask::Header(head, _) if head.status.is_informational())
}

/// The pass is over, but the response is not whole. The pipeline has logged why.
async fn broken_off(session: &mut ServerSession, mut passage: Passage) -> pingora::Result<Verdict> {
    let nothing_said = session
        .response_written()
        .is_none_or(|head| head.status.is_informational());
    match passage.take_error().filter(|_| nothing_said) {
        Some(error) => Err(error),
        None => {
            session.set_keepalive(None);
            session.shutdown().await;
            Ok(Verdict::Passed)
        }
    }
}
