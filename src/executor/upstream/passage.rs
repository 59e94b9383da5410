//! A caller's request on its way through the pipeline, before it is known whether it becomes a run.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use pingora::{Error, protocols::http::HttpTask};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::executor::Contact;

/// A pass that its caller waits for. It goes on while it is polled; dropped, it closes its upstream connection.
pub struct Passage {
    /// None once it is over.
    pub(super) pass: Option<BoxFuture<'static, ()>>,
    pub(super) tasks: mpsc::Receiver<HttpTask>,
    /// Held to the end: without it the pipeline takes the caller for gone.
    pub(super) body: mpsc::Sender<HttpTask>,
    /// What the pipeline says in the end if it failed.
    pub(super) error: oneshot::Receiver<Box<Error>>,
    pub(super) contact: Arc<Contact>,
}

impl Passage {
    /// The next piece of the response: 1xx heads, the head, pieces of the body, the end. None: it is over, with or
    /// without an end. Nothing is lost if this is dropped.
    pub async fn next(&mut self) -> Option<HttpTask> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Another piece, if one is there already.
    pub fn more(&mut self) -> Option<HttpTask> {
        self.tasks.try_recv().ok()
    }

    /// Lets it go on while nobody takes what comes: as far as there is room for it.
    pub async fn go_on(&mut self) -> Infallible {
        if let Some(pass) = &mut self.pass {
            pass.await;
            self.pass = None;
        }
        std::future::pending().await
    }

    /// Where the request's body is handed over.
    pub fn feeder(&self) -> Feeder {
        Feeder(self.body.clone())
    }

    /// Why it failed, if it is over and did.
    pub fn take_error(&mut self) -> Option<Box<Error>> {
        self.error.try_recv().ok()
    }

    /// How far it has come.
    pub(in crate::executor) fn contact(&self) -> &Arc<Contact> {
        &self.contact
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<HttpTask>> {
        let Some(pass) = &mut self.pass else {
            return self.tasks.poll_recv(cx);
        };
        if let Poll::Ready(Some(task)) = self.tasks.poll_recv(cx) {
            return Poll::Ready(Some(task));
        }
        if pass.as_mut().poll(cx).is_ready() {
            self.pass = None;
        }
        self.tasks.poll_recv(cx)
    }
}

/// The way of a request's body into its pass.
#[derive(Debug)]
pub struct Feeder(mpsc::Sender<HttpTask>);

impl Feeder {
    /// Whether a piece would be taken now.
    pub fn has_room(&self) -> bool {
        self.0.capacity() > 0 || self.0.is_closed()
    }

    /// Waits until one is taken.
    pub async fn room(&self) {
        let _takes_no_more = self.0.reserve().await.is_err();
    }

    /// Hands a piece over, for which there is room. The upstream may answer, and end, before it has taken all.
    pub fn feed(&self, piece: HttpTask) {
        match self.0.try_send(piece) {
            Ok(()) | Err(TrySendError::Closed(_) | TrySendError::Full(_)) => {}
        }
    }
}
