//! Keeping a response as it comes.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use pingora::{http::ResponseHeader, protocols::http::HttpTask};
use tokio::sync::mpsc;

use super::{
    super::{Contact, Piece, Tee},
    head,
};
use crate::{
    model::{exchange::Body, id::RunId},
    store::spool::BodyWriter,
};

/// Between tries to write to a spool that fails: nothing is read from the upstream meanwhile.
const SPOOL_PAUSE: Duration = Duration::from_secs(1);

/// A response in the making.
pub(super) struct Intake<'a> {
    pub(super) run: RunId,
    /// The most bytes that are kept.
    pub(super) limit: u64,
    /// Whether the request was a HEAD: its answer's `Content-Length` speaks of a body that does not come.
    pub(super) no_body: bool,
    pub(super) writer: BodyWriter,
    /// How far the attempt has come, and the caller who gets all of the response, whatever is kept.
    pub(super) contact: &'a Contact,
}

/// A response as far as it came.
#[derive(Default)]
pub(super) struct Received {
    pub(super) head: Option<ResponseHeader>,
    pub(super) body: Option<Body>,
}

/// Why a response is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unkept {
    /// It is over the limit; it is no longer read.
    TooLarge,
    /// It came whole, but could not be brought to disk.
    Failed,
}

impl Intake<'_> {
    /// Reads until the end. The body is there only if the end was marked: a response that just stops is truncated.
    pub(super) async fn receive(
        mut self,
        mut tasks: mpsc::Receiver<HttpTask>,
    ) -> Result<Received, Unkept> {
        let mut received = Received::default();
        let mut length = 0;
        let (mut ended, mut too_large) = (false, false);
        while let Some(task) = tasks.recv().await {
            match task {
                HttpTask::Header(head, end) => {
                    // 1xx answers come before the one that counts, and are dropped.
                    if head.status.is_informational() {
                        continue;
                    }
                    too_large = !self.no_body
                        && declared_length(&head).is_some_and(|length| length > self.limit);
                    if too_large && !self.is_heard() {
                        return Err(Unkept::TooLarge);
                    }
                    self.tell_head(&head).await;
                    received.head = Some(*head);
                    ended |= end;
                }
                HttpTask::Body(piece, end) => {
                    if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                        length += piece.len() as u64;
                        too_large |= length > self.limit;
                        if too_large && !self.is_heard() {
                            return Err(Unkept::TooLarge);
                        }
                        self.tell(Piece::Body(piece.clone())).await;
                        if !too_large {
                            self.write(piece).await;
                        }
                    }
                    ended |= end;
                }
                HttpTask::Trailer(_) | HttpTask::Done => ended = true,
                HttpTask::UpgradedBody(..) | HttpTask::Failed(_) => ended = false,
            }
        }
        if let Some(tee) = self.tee().filter(|_| ended && received.head.is_some()) {
            tee.came_whole();
        }
        if too_large {
            return Err(Unkept::TooLarge);
        }
        if ended && received.head.is_some() {
            received.body = Some(self.finish().await.ok_or(Unkept::Failed)?);
        }
        Ok(received)
    }

    /// The caller, once the upstream answers: what the pipeline answers in its place may be a failed attempt.
    fn tee(&self) -> Option<&Tee> {
        self.contact
            .tee()
            .filter(|_| self.contact.has_answer_begun())
    }

    fn is_heard(&self) -> bool {
        self.tee().is_some_and(Tee::is_heard)
    }

    async fn tell(&self, piece: Piece) {
        if let Some(tee) = self.tee() {
            tee.give(piece).await;
        }
    }

    async fn tell_head(&self, head: &ResponseHeader) {
        if self.is_heard() {
            let mut head = Box::new(head.clone());
            head::strip(&mut head);
            self.tell(Piece::Head(head)).await;
        }
    }

    async fn write(&mut self, piece: Bytes) {
        let mut logged = false;
        let mut written = self.writer.write(piece).await;
        while let Err(error) = written {
            self.pause(&error, &mut logged).await;
            written = self.writer.flush().await;
        }
    }

    /// The whole body; none if it cannot be brought to disk.
    async fn finish(mut self) -> Option<Body> {
        let mut logged = false;
        while let Err(error) = self.writer.flush().await {
            self.pause(&error, &mut logged).await;
        }
        match self.writer.finish().await {
            Ok(body) => Some(body),
            Err(error) => {
                tracing::error!(run_id = %self.run, %error, "a response cannot be brought to disk");
                None
            }
        }
    }

    async fn pause(&self, error: &std::io::Error, logged: &mut bool) {
        if !std::mem::replace(logged, true) {
            tracing::error!(run_id = %self.run, %error, "a response cannot be spooled; its upstream waits");
        }
        tokio::time::sleep(SPOOL_PAUSE).await;
    }
}

/// Whether a method's responses have no body.
pub(super) fn answers_without_body(method: &str) -> bool {
    method == Method::HEAD.as_str()
}

fn declared_length(head: &ResponseHeader) -> Option<u64> {
    head.headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
