//! The verbs as callers see them: what can be decided beforehand is, long bodies are brought to where they belong, the
//! rest goes through a committer.

use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::{
    PostgresStore, alone, bodies,
    committer::{Failure, Verb},
    days,
    deliveries::{ClaimDeliveries, ExpireDeliveries, Redeliver, SettleDelivery},
    link::LinkError,
    moving::{self, Import, TakeIdentity},
    pieces::{self, Of},
    reader,
    runs::{Accept, Cancel, ClaimRuns, Expire, SettleRun, queue_again},
    sharing,
    tidy::tidy,
    tx::Mark,
};
use crate::{
    model::{
        attempt::{Attempts, RunAttempt},
        books::Books,
        delivery::DeliveryState,
        exchange::{Body, StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        replica::Sharing,
        retry::Next,
        run::{Progress, Run, RunState},
        time::Timestamp,
    },
    store::{
        AcceptError, Accepted, Cancelled, Claims, DeliveryAttempt, DeliveryClaim, Fence, Found,
        Identity, Listed, NewRun, Notices, Page, PendingDelivery, Redelivered, RunClaim,
        SettleError, Settled, Settlement, Store, StoreError, Tidied, Unwritable, ending::end_run,
        moving::Moved, spool::Spool,
    },
};

#[async_trait]
impl Store for PostgresStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn next_id(&self) -> RunId {
        self.shared.ids.next(self.shared.now())
    }

    fn ready(&self) -> Result<(), Unwritable> {
        self.shared.check()?;
        self.queue.room()
    }

    fn unfinished(&self, route: &str) -> u64 {
        let unfinished = self.shared.unfinished.read();
        let count = unfinished.get(route).copied().unwrap_or_default();
        count.max(0).cast_unsigned()
    }

    fn sharers(&self) -> usize {
        self.shared.alive.load(Ordering::Relaxed)
    }

    fn holds(&self, fence: Fence) -> bool {
        fence == self.shared.fence() && self.shared.lease.is_fresh()
    }

    fn notices(&self) -> &Notices {
        &self.shared.notices
    }

    async fn accept(&self, new: NewRun) -> Result<Accepted, AcceptError> {
        self.ready()?;
        let start = new.start;
        let run = Run {
            id: new.id,
            state: if start {
                RunState::Running
            } else {
                RunState::Queued
            },
            reason: None,
            policy: new.policy,
            facts: new.facts,
            accepted_at: new.accepted_at,
            started_at: start.then_some(new.accepted_at),
            finished_at: None,
            due_at: new.accepted_at,
            progress: Progress {
                attempts: u32::from(start),
                ..Progress::default()
            },
            response: None,
            delivery: None,
        };
        let stored = async {
            days::cover(&self.shared, run.id).await?;
            self.pieces(&new.request.body, (run.id, Of::Request)).await
        };
        if stored.await.is_err() {
            self.remove(&new.request.body);
            return Err(Unwritable::Failing.into());
        }
        let (id, key) = (run.id, new.key);
        let body = new.request.body.clone();
        let accept = Accept {
            run,
            request: new.request,
            key,
        };
        match self.queue.submit(accept, Some(id)).await {
            Ok((accept, (Accepted::New(_), fence))) if start => {
                self.shared.hold(id, &accept.request.body);
                Ok(Accepted::New(Some(Box::new(RunClaim {
                    run: accept.run,
                    request: accept.request,
                    fence,
                }))))
            }
            Ok((_, (known, _))) => {
                self.remove(&body);
                Ok(known)
            }
            Err(Failure::Unwritable(why)) => {
                self.remove(&body);
                Err(why.into())
            }
            // The process ends: no answer is better than one that may be wrong.
            Err(Failure::Unknown) => std::future::pending().await,
            Err(Failure::Failed(why)) => {
                tracing::error!(run_id = %id, why, "a run cannot be stored");
                self.remove(&body);
                Err(Unwritable::Failing.into())
            }
        }
    }

    async fn claim_runs(&self, route: &str, limit: usize) -> Result<Claims<RunClaim>, StoreError> {
        let route = route.to_owned();
        let now = self.shared.now();
        self.started(ClaimRuns { route, limit, now }).await
    }

    async fn settle_run(
        &self,
        claim: RunClaim,
        settlement: Settlement,
    ) -> Result<Settled, SettleError> {
        let now = self.shared.now();
        let mut run = claim.run;
        let id = run.id;
        let before = Mark::of(&run, owner(claim.fence));
        let attempt = run.progress.attempts;
        run.progress = settlement.progress;
        // The only attempt of a run is told by its record.
        let entry = (attempt > 1 || matches!(settlement.next, Next::Again { .. }))
            .then(|| RunAttempt::new(attempt, settlement.began, now, settlement.outcome));
        let (response, discarded) = match settlement.next {
            Next::End(end) => {
                let came = settlement.response;
                let (response, discarded) =
                    end_run(&mut run, end, came, now, &self.shared.public_prefix);
                (Some(response), discarded)
            }
            Next::Again { due } => {
                queue_again(&mut run, due, now);
                (None, settlement.response)
            }
        };
        if let Some(discarded) = &discarded {
            self.remove(&discarded.body);
        }
        if let Some(response) = &response {
            self.pieces_patiently(&response.body, (run.id, Of::Response))
                .await?;
        }
        let holds = settlement.claim_delivery && is_due(&run, now);
        let settle = SettleRun {
            before,
            run,
            response,
            entry,
            holds,
        };
        let settled = self.patiently(settle, id).await;
        self.remove(&claim.request.body);
        let settled = settled?;
        let run = settled.run;
        let delivery = match settled.response {
            Some(response) if holds => Some(Box::new(DeliveryClaim {
                endpoint: run.facts.webhook_endpoint.clone().unwrap_or_default(),
                run: run.clone(),
                response,
                secret: claim.request.webhook_secret,
                fence: self.shared.fence(),
            })),
            Some(response) => {
                self.remove(&response.body);
                None
            }
            None => None,
        };
        Ok(Settled { run, delivery })
    }

    async fn cancel(&self, id: RunId) -> Result<Cancelled, StoreError> {
        let now = self.shared.now();
        self.change(Cancel { id, now }, Some(id)).await
    }

    async fn cancelled(&self, ids: Vec<RunId>) -> Result<Vec<RunId>, StoreError> {
        let cancelled = looked(reader::cancelled(&self.shared, &ids).await)?;
        self.shared.let_go(&cancelled);
        Ok(cancelled)
    }

    async fn expire(&self) -> Result<Vec<Run>, StoreError> {
        let now = self.shared.now();
        self.change(Expire { now }, None).await
    }

    async fn pending_deliveries(
        &self,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError> {
        self.still_open()?;
        looked(reader::pending(&self.shared, after, limit).await)
    }

    async fn claim_deliveries(&self, ids: Vec<RunId>) -> Result<Vec<DeliveryClaim>, StoreError> {
        let now = self.shared.now();
        self.held(ClaimDeliveries { ids, now }).await
    }

    async fn settle_delivery(
        &self,
        claim: DeliveryClaim,
        attempt: DeliveryAttempt,
    ) -> Result<Run, SettleError> {
        let now = self.shared.now();
        let mut run = claim.run;
        let id = run.id;
        let before = Mark::of(&run, owner(claim.fence));
        let mut entry = None;
        if let Some(delivery) = &mut run.delivery {
            delivery.settle(attempt.outcome, &run.policy.webhook, now, attempt.chance);
            entry = Some(attempt.entry(delivery.attempts, delivery.next_attempt_at));
        }
        let settle = SettleDelivery { before, run, entry };
        let settled = self.patiently(settle, id).await;
        self.remove(&claim.response.body);
        Ok(settled?.run)
    }

    async fn release_delivery(&self, claim: DeliveryClaim) -> Result<(), SettleError> {
        let id = claim.run.id;
        let release = SettleDelivery {
            before: Mark::of(&claim.run, owner(claim.fence)),
            run: claim.run,
            entry: None,
        };
        let released = self.patiently(release, id).await;
        self.remove(&claim.response.body);
        released.map(drop)
    }

    async fn expire_deliveries(&self) -> Result<Vec<Run>, StoreError> {
        let now = self.shared.now();
        self.change(ExpireDeliveries { now }, None).await
    }

    async fn redeliver(&self, ids: Vec<RunId>) -> Result<Vec<Redelivered>, StoreError> {
        let now = self.shared.now();
        self.change(Redeliver { ids, now }, None).await
    }

    async fn find(&self, id: RunId) -> Result<Found, StoreError> {
        self.still_open()?;
        looked(reader::find(&self.shared, id).await)
    }

    async fn request(&self, id: RunId) -> Result<Option<StoredRequest>, StoreError> {
        self.still_open()?;
        let requests = bodies::requests(&self.shared, &[id]).await;
        let request = looked(requests)?.remove(&id);
        if let Some(request) = &request {
            self.lent.keep(&request.body);
        }
        Ok(request)
    }

    async fn response(&self, id: RunId) -> Result<Option<StoredResponse>, StoreError> {
        if !matches!(self.find(id).await?, Found::Run(run) if run.state.is_final()) {
            return Ok(None);
        }
        if let Some(response) = self.lent.response(id) {
            return Ok(Some(response));
        }
        let responses = bodies::responses(&self.shared, &[id]).await;
        let response = looked(responses)?.remove(&id);
        Ok(response.map(|response| self.lend(id, response)))
    }

    async fn attempts(&self, id: RunId) -> Result<Attempts, StoreError> {
        self.still_open()?;
        looked(reader::attempts(&self.shared, id).await)
    }

    async fn list(&self, filter: Filter, page: Page) -> Result<Listed, StoreError> {
        self.still_open()?;
        looked(reader::page(&self.shared, &filter, page).await)
    }

    async fn count(&self, filter: Filter) -> Result<u64, StoreError> {
        self.still_open()?;
        looked(reader::count(&self.shared, &filter).await)
    }

    fn spool(&self) -> &Spool {
        &self.shared.spool
    }

    async fn tidy(&self) -> Result<Tidied, StoreError> {
        self.give_files_back();
        let files = self.sweep().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "files that dead processes left stay for now");
            0
        });
        let tidied = looked(tidy(&self.shared).await)?;
        Ok(Tidied { files, ..tidied })
    }

    async fn books(&self) -> Result<Books, StoreError> {
        self.still_open()?;
        looked(reader::books(&self.shared).await)
    }

    async fn sharing(&self) -> Result<Sharing, StoreError> {
        self.still_open()?;
        looked(sharing::sharing(&self.shared).await)
    }

    async fn alone(&self) -> Result<(), StoreError> {
        alone::alone(&self.shared, &self.queue).await
    }

    async fn export(&self, after: Option<RunId>, limit: usize) -> Result<Vec<Moved>, StoreError> {
        looked(moving::export(&self.shared, after, limit).await)
    }

    async fn import(&self, moved: Vec<Moved>) -> Result<(), StoreError> {
        looked(moving::before_import(&self.shared, &moved).await)?;
        self.change(Import { moved }, None).await
    }

    async fn take_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        let Identity { loop_id, key } = identity.clone();
        self.change(TakeIdentity { loop_id, key }, None).await
    }

    async fn close(&self) {
        self.end().await;
    }
}

/// In whose name a claim holds.
fn owner(fence: Fence) -> Option<i64> {
    Some(fence.epoch.cast_signed())
}

pub(super) fn looked<T>(found: Result<T, LinkError>) -> Result<T, StoreError> {
    found.map_err(|error| match error {
        LinkError::Closed => StoreError::Closed,
        other => StoreError::Failed(other.to_string()),
    })
}

impl PostgresStore {
    fn still_open(&self) -> Result<(), StoreError> {
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    /// Makes a change that does not wait for better times.
    pub(super) async fn change<V: Verb>(
        &self,
        verb: V,
        of: Option<RunId>,
    ) -> Result<V::Outcome, StoreError> {
        match self.queue.submit(verb, of).await {
            Ok((_, outcome)) => Ok(outcome),
            Err(Failure::Unwritable(Unwritable::Closed) | Failure::Unknown) => {
                Err(StoreError::Closed)
            }
            Err(Failure::Unwritable(why)) => Err(StoreError::Failed(why.to_string())),
            Err(Failure::Failed(why)) => Err(StoreError::Failed(why)),
        }
    }

    /// Makes a change that waits until it can be written.
    async fn patiently<V>(&self, verb: V, of: RunId) -> Result<V, SettleError>
    where
        V: Verb<Outcome = Result<(), SettleError>>,
    {
        match self.queue.submit(verb, Some(of)).await {
            Ok((verb, outcome)) => outcome.map(|()| verb),
            Err(Failure::Failed(why)) => {
                tracing::error!(why, "an outcome cannot be recorded");
                Err(SettleError::Closed)
            }
            Err(Failure::Unwritable(_) | Failure::Unknown) => Err(SettleError::Closed),
        }
    }

    async fn pieces(&self, body: &Body, place: (RunId, Of)) -> Result<(), LinkError> {
        let stored = pieces::store(&self.shared, body, place).await;
        if let Err(error) = &stored {
            tracing::warn!(run_id = %place.0, %error, "a long body cannot be stored");
        }
        stored
    }

    /// The same, for as long as it takes.
    async fn pieces_patiently(&self, body: &Body, place: (RunId, Of)) -> Result<(), SettleError> {
        while self.pieces(body, place).await.is_err() {
            self.still_open().map_err(|_| SettleError::Closed)?;
            tokio::time::sleep(super::PAUSE).await;
        }
        Ok(())
    }
}

fn is_due(run: &Run, now: Timestamp) -> bool {
    run.delivery.as_ref().is_some_and(|delivery| {
        delivery.state == DeliveryState::Pending
            && delivery.next_attempt_at.is_some_and(|due| due <= now)
    })
}
