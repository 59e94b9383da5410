//! How a run's own pass through the host's pipeline is told from a caller's, and how far it came.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use parking_lot::Mutex;
use pingora::http::RequestHeader;

use super::tee::Tee;
use crate::{
    model::id::RunId,
    store::{Fence, Store},
};

/// What the pass of a run, or of a request that may become one ([`Contact::is_run`]), carries, so that the gate and the host's filters can tell it from a caller's.
#[derive(Debug, Clone)]
pub struct RunMark {
    /// The run.
    pub id: RunId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The name of the route that accepted it ([`crate::model::policy::Policy::route`]): it goes there, whatever
    /// other routes match by now.
    pub route: String,
    /// Whether its request came over TLS ([`crate::model::exchange::StoredRequest::tls`]).
    pub tls: bool,
    /// How far the attempt has come.
    pub contact: Arc<Contact>,
    /// In whose name it runs; none if it is no run yet.
    pub(super) held: Option<Held>,
}

/// A claim's hold on its run.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) store: Arc<dyn Store>,
    pub(super) fence: Fence,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Held").field(&self.fence).finish()
    }
}

impl RunMark {
    /// Whether a request may be sent in the name of the claim: asked just before its first byte, since the process may
    /// have stood still since the claim was made.
    pub(super) fn may_begin(&self) -> bool {
        let held = self.held.as_ref();
        held.is_none_or(|held| held.store.holds(held.fence))
    }
}

/// How far an attempt has come, as its pass through the pipeline notes it.
#[derive(Debug, Default)]
pub struct Contact {
    flags: AtomicU8,
    tee: Option<Tee>,
    /// The head that takes the place of the session's own, once its pass begins.
    head: Mutex<Option<Box<RequestHeader>>>,
}

const CONNECTED: u8 = 1;
const REUSED: u8 = 2;
const OTHER_PEER: u8 = 4;
const ANSWER_BEGUN: u8 = 8;
const NO_RUN_YET: u8 = 16;

impl Contact {
    /// With a caller who gets the response as it comes.
    pub(super) fn with_tee(tee: Option<Tee>) -> Self {
        Self {
            tee,
            ..Self::default()
        }
    }

    /// Of a caller's request that may become a run, with the head that is sent.
    pub(super) fn before_run(head: Box<RequestHeader>) -> Self {
        Self {
            flags: AtomicU8::new(NO_RUN_YET),
            tee: None,
            head: Mutex::new(Some(head)),
        }
    }

    /// The request has become a run.
    pub(super) fn is_run_now(&self) {
        self.flags.fetch_and(!NO_RUN_YET, Ordering::Relaxed);
    }

    /// Whether the pass is a run's. Otherwise its caller waits for it as for any request that is passed through, and
    /// what holds for those holds for it: the host's retries too.
    pub fn is_run(&self) -> bool {
        !self.has(NO_RUN_YET)
    }

    /// The head to be sent in place of the session's own; once.
    pub(super) fn take_head(&self) -> Option<Box<RequestHeader>> {
        self.head.lock().take()
    }

    /// The caller who gets the response as it comes, if there is one.
    pub(super) fn tee(&self) -> Option<&Tee> {
        self.tee.as_ref()
    }

    /// Whether the host may turn to another peer by itself when one takes no connection: as for any request that is
    /// passed through, where a caller waits for the response. Every other try of a run is an attempt of its own.
    pub fn host_may_reconnect(&self) -> bool {
        !self.is_run() || self.tee.is_some()
    }

    /// Whether a caller waits for the response.
    pub(super) fn is_heard(&self) -> bool {
        self.tee.as_ref().is_some_and(Tee::is_heard)
    }

    /// Forgets how far a try has come, before the next one within the same attempt.
    pub(super) fn begin_again(&self) {
        self.flags.store(0, Ordering::Relaxed);
    }

    /// A connection to the upstream is there: from now on something may have been sent.
    pub fn connected(&self, reused: bool) {
        let reused = if reused { REUSED } else { 0 };
        // A host's retry connects again: the latest connection counts.
        self.flags.fetch_and(!REUSED, Ordering::Relaxed);
        self.flags.fetch_or(CONNECTED | reused, Ordering::Relaxed);
    }

    /// The upstream has a peer that this run has not tried since its last pause.
    pub fn other_peer(&self) {
        self.flags.fetch_or(OTHER_PEER, Ordering::Relaxed);
    }

    /// Something of a response has come.
    pub fn answer_begun(&self) {
        self.flags.fetch_or(ANSWER_BEGUN, Ordering::Relaxed);
    }

    /// Whether something was or may have been sent.
    pub fn may_have_sent(&self) -> bool {
        self.has(CONNECTED)
    }

    /// Whether the connection had been used before.
    pub fn was_reused(&self) -> bool {
        self.has(REUSED)
    }

    /// Whether the upstream has another peer to try.
    pub fn has_other_peer(&self) -> bool {
        self.has(OTHER_PEER)
    }

    /// Whether anything of a response has come.
    pub fn has_answer_begun(&self) -> bool {
        self.has(ANSWER_BEGUN)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }
}
