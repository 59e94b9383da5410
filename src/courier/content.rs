//! The body of one delivery: the stored response as it is, or an event around it; read again for each pass over it.

use bytes::Bytes;
use futures::stream;
use http::header::CONTENT_ENCODING;

use super::{
    failure::{Failure, Unreadable},
    openfaas,
};
use crate::{
    model::{
        event::{self, Coding, ENVELOPE_END, Encoder, Measure},
        exchange::{Body, ResponseHead},
        policy::Form,
    },
    store::{
        DeliveryClaim,
        spool::{BodyReader, Spool},
    },
};

/// What is signed and sent. A long one is never in memory whole.
#[derive(Debug)]
pub(super) struct Content {
    /// Whether it is JSON of our own, and not the response as the upstream sent it.
    pub(super) is_event: bool,
    before: Bytes,
    body: Body,
    coding: Option<Coding>,
    after: Bytes,
    len: u64,
}

impl Content {
    /// What the run's policy says that this delivery is. `response_url` is for a thin one.
    ///
    /// # Errors
    /// When the stored response cannot be read.
    pub(super) async fn of(
        claim: &DeliveryClaim,
        spool: &Spool,
        response_url: Option<&str>,
    ) -> Result<Self, Failure> {
        let body = &claim.response.body;
        match claim.run.policy.webhook.body.form(body.len()) {
            // An OpenFaaS callback is the upstream's own answer.
            _ if openfaas::is_callback(&claim.run) => Ok(Self::plain(body.clone(), false)),
            Form::Raw => Ok(Self::plain(body.clone(), false)),
            Form::Thin => {
                let text = event::thin(&claim.run, response_url).map_err(Failure::internal)?;
                Ok(Self::plain(Body::Inline(text.into()), true))
            }
            Form::Envelope => Self::envelope(claim, spool).await,
        }
    }

    fn plain(body: Body, is_event: bool) -> Self {
        Self {
            is_event,
            before: Bytes::new(),
            len: body.len(),
            body,
            coding: None,
            after: Bytes::new(),
        }
    }

    async fn envelope(claim: &DeliveryClaim, spool: &Spool) -> Result<Self, Failure> {
        let head = ResponseHead::parse(&claim.response.head).map_err(Failure::internal)?;
        let body = &claim.response.body;
        let mut measure = Measure::default();
        let mut reader = spool.reader(body);
        while let Some(piece) = reader.next().await.map_err(Failure::internal)? {
            measure.update(&piece);
        }
        // Compressed bytes are no text, whatever they look like.
        let (coding, coded) = measure.finish(!head.headers.contains_key(CONTENT_ENCODING));
        let start = event::envelope_start(&claim.run, &head, coding).map_err(Failure::internal)?;
        let content = Self {
            is_event: true,
            len: start.len() as u64 + coded + ENVELOPE_END.len() as u64,
            before: start.into(),
            body: body.clone(),
            coding: Some(coding),
            after: Bytes::from_static(ENVELOPE_END.as_bytes()),
        };
        match body {
            // A body that is whole can be sent again by the client itself, if a kept connection turns out closed.
            Body::Inline(_) => {
                let whole = content.collect(spool, Vec::new()).await;
                let whole = whole.map_err(Failure::internal)?;
                Ok(Self::plain(Body::Inline(whole.into()), true))
            }
            Body::Spooled { .. } => Ok(content),
        }
    }

    /// Its length in bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is longer than what is kept in memory.
    pub(super) const fn is_long(&self) -> bool {
        matches!(self.body, Body::Spooled { .. })
    }

    /// Reads it from its beginning.
    pub(super) fn pieces(&self, spool: &Spool) -> Pieces {
        Pieces {
            before: self.before.clone(),
            reader: spool.reader(&self.body),
            encoder: self.coding.map(Encoder::new),
            after: self.after.clone(),
        }
    }

    /// All of it, behind what is in `into` already.
    pub(super) async fn collect(
        &self,
        spool: &Spool,
        mut into: Vec<u8>,
    ) -> Result<Vec<u8>, Unreadable> {
        into.reserve_exact(usize::try_from(self.len).unwrap_or_default());
        let mut pieces = self.pieces(spool);
        while let Some(piece) = pieces.next().await? {
            into.extend_from_slice(&piece);
        }
        Ok(into)
    }

    /// As the client sends it: from memory, or read while it is sent.
    pub(super) fn to_send(&self, spool: &Spool) -> reqwest::Body {
        match &self.body {
            Body::Inline(bytes) => bytes.clone().into(),
            Body::Spooled { .. } => {
                let pieces = stream::try_unfold(self.pieces(spool), |mut pieces| async move {
                    let piece = pieces.next().await?;
                    Ok::<_, Unreadable>(piece.map(|piece| (piece, pieces)))
                });
                reqwest::Body::wrap_stream(pieces)
            }
        }
    }
}

/// A content being read.
#[derive(Debug)]
pub(super) struct Pieces {
    before: Bytes,
    reader: BodyReader,
    encoder: Option<Encoder>,
    after: Bytes,
}

impl Pieces {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Unreadable> {
        if !self.before.is_empty() {
            return Ok(Some(std::mem::take(&mut self.before)));
        }
        while let Some(piece) = self.reader.next().await? {
            let Some(encoder) = &mut self.encoder else {
                return Ok(Some(piece));
            };
            let mut coded = Vec::with_capacity(piece.len() / 2 * 3);
            encoder.update(&piece, &mut coded);
            if !coded.is_empty() {
                return Ok(Some(coded.into()));
            }
        }
        let mut rest = Vec::new();
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(&mut rest);
        }
        rest.extend_from_slice(&std::mem::take(&mut self.after));
        Ok((!rest.is_empty()).then(|| rest.into()))
    }
}
