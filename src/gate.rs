//! How a request becomes a run: what a host's `request_filter` calls.

use std::sync::Arc;

use pingora::proxy::Session;

use self::{
    admission::{Admitted, Order, Rules},
    intake::Refusal,
    respond::Manner,
};
use crate::{
    config::{Config, Durability, RunSettings},
    executor::{Executor, upstream::run_mark},
    metrics::Metrics,
    model::{problem::Problem, time::SharedClock},
    store::Store,
};
use budget::Budget;

mod admission;
mod budget;
mod conversion;
pub mod cors;
mod endpoint;
mod function;
mod idempotency;
mod intake;
pub mod invoke;
mod keep;
mod kept;
mod origin;
mod patience;
pub mod rehearsal;
pub mod respond;
mod told;
pub mod trigger;

/// What the gate works with.
#[derive(Clone)]
pub struct Parts {
    /// Where runs are kept.
    pub store: Arc<dyn Store>,
    /// Who carries them out.
    pub executor: Executor,
    /// What is counted.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: SharedClock,
}

/// What became of a request at the gate.
#[derive(Debug)]
pub enum Verdict {
    /// It asks for nothing; the host goes on with it.
    Pass,
    /// It was passed on from here, and got its response as from the host.
    Passed,
    /// It was passed on from here and failed, by no fault of the run's that it might have become.
    Failed(Box<pingora::Error>),
    /// It is answered: as a run, or with a refusal.
    Answered,
}

impl Verdict {
    /// What a host's `request_filter` returns: whether the request is answered.
    ///
    /// # Errors
    /// That of [`Verdict::Failed`].
    pub fn answered(self) -> pingora::Result<bool> {
        match self {
            Self::Pass => Ok(false),
            Self::Passed | Self::Answered => Ok(true),
            Self::Failed(error) => Err(error),
        }
    }
}

/// Takes requests in as runs. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    parts: Parts,
    rules: Rules,
    budget: Budget,
    public_prefix: String,
    public_url: String,
    relaxed: bool,
}

impl Gate {
    /// A gate with the limits of `config`.
    pub fn new(parts: Parts, config: &Config) -> Self {
        Self::with(parts, Budget::new(config.limits.intake_memory), config)
    }

    /// A gate by a newer configuration: with the same parts, and the same budget for bodies that are being taken in.
    pub fn renewed(&self, config: &Config) -> Self {
        self.0.budget.set_limit(config.limits.intake_memory);
        Self::with(self.0.parts.clone(), self.0.budget.clone(), config)
    }

    fn with(parts: Parts, budget: Budget, config: &Config) -> Self {
        Self(Arc::new(Inner {
            parts,
            rules: Rules::new(config),
            budget,
            public_prefix: config.server.public_prefix.clone(),
            public_url: config.server.public_url.clone(),
            relaxed: config.store.durability == Durability::Relaxed,
        }))
    }

    /// Looks at a caller's request on a route with these settings, after the host's own checks. A run's own pass is none
    /// of its business.
    ///
    /// # Errors
    /// When the client has gone while it was answered.
    pub async fn request_filter(
        &self,
        session: &mut Session,
        settings: &Arc<RunSettings>,
    ) -> pingora::Result<Verdict> {
        if run_mark(session).is_some() {
            return Ok(Verdict::Pass);
        }
        match self.0.admit(session, settings) {
            Ok(Admitted::Pass) => Ok(Verdict::Pass),
            Ok(Admitted::Watch(order, patience)) => {
                // Boxed: only requests that are watched pay for its room on the stack.
                Ok(Box::pin(self.0.watch(session, settings, order, patience)).await)
            }
            Ok(Admitted::Run(order)) => {
                // Boxed: only requests for runs pay for the intake's room on the stack.
                Box::pin(self.0.take_in(session, settings, order)).await?;
                Ok(Verdict::Answered)
            }
            Err(problem) => {
                self.0.refuse(session, settings, &problem).await?;
                Ok(Verdict::Answered)
            }
        }
    }
}

impl Inner {
    async fn take_in(
        &self,
        session: &mut Session,
        settings: &Arc<RunSettings>,
        order: Order,
    ) -> pingora::Result<()> {
        // What is sent behind a body is the next request; Pingora would drop it otherwise.
        session.set_pipelining_enabled(true);
        let taken = match self.body(session, &order).await {
            Ok(taken) => taken,
            Err(Refusal::Gone) => {
                session.set_keepalive(None);
                return Ok(());
            }
            Err(Refusal::Problem(problem)) => {
                return self.refuse(session, settings, &problem).await;
            }
        };
        self.keep(session, settings, order, taken).await
    }

    /// Answers a problem, counted, and closes the connection if the body has not been read.
    async fn refuse(
        &self,
        session: &mut Session,
        settings: &RunSettings,
        problem: &Problem,
    ) -> pingora::Result<()> {
        self.parts
            .metrics
            .runs_rejected
            .with_label_values(&[settings.policy.route.as_str(), problem.code.as_str()])
            .inc();
        let cors = cors::lines(settings.cors.as_ref(), &session.req_header().headers);
        let manner = Manner {
            public_prefix: &self.public_prefix,
            cors: &cors,
            close: !session.is_body_done(),
            errors: trigger::errors(&admission::head_of(session.req_header()), settings),
        };
        respond::problem(&mut session.downstream_session, problem, manner).await
    }
}
