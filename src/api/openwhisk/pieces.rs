//! Records as JSON, piece by piece: a stored body is never held as a whole.

use std::{collections::VecDeque, io, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use super::activations::logs;
use crate::{
    model::{
        dialect::openwhisk::{
            activation::Activation,
            result::{Frame, Reading, Writing},
        },
        exchange::{self, INLINE_MAX, ResponseHead},
        run::Run,
    },
    store::{Store, spool::BodyReader},
};

/// A part of an answer.
pub(super) enum Piece {
    /// As it is.
    Text(Vec<u8>),
    /// The full record of a finished run.
    Record(Arc<Run>),
    /// The result of one.
    Result(Arc<Run>),
    /// Text within a result.
    Within(Vec<u8>),
    /// A body within a result.
    Body(BodyReader, Writing),
    /// What follows a result in a record.
    After(Arc<Run>, Vec<String>),
}

/// An answer in the making.
pub(super) struct Pieces {
    store: Arc<dyn Store>,
    namespace: String,
    left: VecDeque<Piece>,
    /// The length of the present result.
    size: u64,
}

impl Pieces {
    /// These, one after the other.
    pub(super) fn of(
        store: &Arc<dyn Store>,
        namespace: &str,
        pieces: impl IntoIterator<Item = Piece>,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            namespace: namespace.to_owned(),
            left: pieces.into_iter().collect(),
            size: 0,
        }
    }

    /// These, as a list.
    pub(super) fn list(
        store: &Arc<dyn Store>,
        namespace: &str,
        pieces: impl IntoIterator<Item = Piece>,
    ) -> Self {
        let mut all = vec![Piece::Text(b"[".to_vec())];
        for piece in pieces {
            if all.len() > 1 {
                all.push(Piece::Text(b",".to_vec()));
            }
            all.push(piece);
        }
        all.push(Piece::Text(b"]".to_vec()));
        Self::of(store, namespace, all)
    }

    /// The body of an answer about one run: in memory if its response is short.
    ///
    /// # Errors
    /// When the run's response cannot be read, or is gone.
    pub(super) async fn body(mut self, run: &Run) -> io::Result<Body> {
        let length = run.response.as_ref().map_or(0, |response| response.bytes);
        if length > INLINE_MAX as u64 {
            return self.streamed().await;
        }
        let mut all = Vec::new();
        while let Some(text) = self.next().await? {
            all.extend_from_slice(&text);
        }
        Ok(all.into())
    }

    /// A body that is read from the store as it is sent.
    ///
    /// # Errors
    /// When its beginning cannot be read; later on, the body breaks off.
    pub(super) async fn streamed(mut self) -> io::Result<Body> {
        let first = self.next().await?.unwrap_or_default();
        let rest = stream::try_unfold(self, async |mut pieces| {
            let next = pieces.next().await?;
            Ok::<_, io::Error>(next.map(|text| (Bytes::from(text), pieces)))
        });
        let first = stream::once(async { Ok::<_, io::Error>(Bytes::from(first)) });
        Ok(Body::from_stream(stream::StreamExt::chain(first, rest)))
    }

    /// The next text, not empty; none at the end.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(piece) = self.left.pop_front() {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Record(run) => self.begin_record(run).await?,
                Piece::Result(run) => {
                    self.begin_result(&run).await?;
                    continue;
                }
                Piece::Within(text) => self.counted(text),
                Piece::Body(mut reader, mut writing) => match reader.next().await? {
                    Some(piece) => {
                        let text = writing.piece(&piece);
                        self.left.push_front(Piece::Body(reader, writing));
                        self.counted(text)
                    }
                    None => self.counted(writing.end()),
                },
                Piece::After(run, logs) => {
                    let namespace = &self.namespace;
                    Activation {
                        namespace,
                        run: &run,
                    }
                    .after_result(self.size, &logs)
                }
            };
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn counted(&mut self, text: Vec<u8>) -> Vec<u8> {
        self.size += text.len() as u64;
        text
    }

    /// Looks everything up before anything is told, so that the beginning of an answer tells what is wrong.
    async fn begin_record(&mut self, run: Arc<Run>) -> io::Result<Vec<u8>> {
        let logs = logs(self.store.as_ref(), &run).await;
        let logs = logs.map_err(io::Error::other)?;
        let namespace = &self.namespace;
        let before = Activation {
            namespace,
            run: &run,
        }
        .before_result();
        self.left.push_front(Piece::After(Arc::clone(&run), logs));
        self.begin_result(&run).await?;
        Ok(before)
    }

    async fn begin_result(&mut self, run: &Run) -> io::Result<()> {
        self.size = 0;
        let (frame, body) = self.frame(run).await?;
        self.left.push_front(Piece::Within(frame.after.to_vec()));
        if let Some(form) = frame.form {
            let reader = self.store.spool().reader(&body);
            self.left
                .push_front(Piece::Body(reader, Writing::new(form)));
        }
        self.left.push_front(Piece::Within(frame.before));
        Ok(())
    }

    /// What is around the body of a run's response, and that body.
    async fn frame(&self, run: &Run) -> io::Result<(Frame, exchange::Body)> {
        let from_upstream = run.response.as_ref().is_some_and(|it| it.from_upstream);
        if !from_upstream {
            return Ok((Frame::without_response(run), exchange::Body::EMPTY));
        }
        let stored = self.store.response(run.id).await;
        let stored = stored
            .map_err(io::Error::other)?
            .ok_or(io::ErrorKind::NotFound)?;
        let head = ResponseHead::parse(&stored.head).map_err(io::Error::other)?;
        let mut reading = Reading::new();
        let mut reader = self.store.spool().reader(&stored.body);
        while let Some(piece) = reader.next().await? {
            if !reading.push(&piece) {
                break;
            }
        }
        Ok((Frame::of_response(run, &head, reading.end()), stored.body))
    }
}
