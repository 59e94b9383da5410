//! How a run is carried out: slots and queue of each route, one attempt after the other, and what becomes of the run.

use async_trait::async_trait;

use crate::{model::retry::Outcome, store::RunClaim};

/// The way to the application: one attempt of a run through the host's own proxy pipeline.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Sends the claim's request and keeps the response as it comes. Dropping the future closes the upstream
    /// connection.
    async fn attempt(&self, claim: &RunClaim) -> Attempted;
}

/// How an attempt ended, and the response if a whole one came.
#[derive(Debug)]
pub struct Attempted {
    /// How it ended.
    pub outcome: Outcome,
    /// The response, with [`Outcome::Answered`].
    pub response: Option<crate::model::exchange::StoredResponse>,
}

/// What a run's own pass through the host's pipeline carries, so that the gate and the host's filters can tell it from
/// a caller's.
#[derive(Debug, Clone)]
pub struct RunMark {
    /// The run.
    pub id: crate::model::id::RunId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The name of the route that accepted it ([`crate::model::policy::Policy::route`]): it goes there, whatever
    /// other routes match by now.
    pub route: String,
    /// Whether its request came over TLS ([`crate::model::exchange::StoredRequest::tls`]).
    pub tls: bool,
}
