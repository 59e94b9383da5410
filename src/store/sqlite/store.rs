//! The verbs as callers see them: what can be decided beforehand is, the rest goes through the committer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    SqliteStore, backup,
    deliveries::{ClaimDeliveries, ExpireDeliveries, Redeliver, SettleDelivery},
    list,
    moving::{Export, Import, TakeIdentity},
    queue::{Failure, Verb},
    reader,
    retention::Tidy,
    runs::{Accept, Cancel, ClaimRuns, Expire, SettleRun, queue_again},
    transaction::{Leftovers, Mark},
};
use crate::{
    model::{
        attempt::{Attempts, RunAttempt},
        books::Books,
        delivery::DeliveryState,
        exchange::{Body, StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        retry::Next,
        run::{Progress, Run, RunState},
        time::Timestamp,
    },
    store::{
        AcceptError, Accepted, Backup, BackupError, Cancelled, Claims, DeliveryAttempt,
        DeliveryClaim, Found, Identity, Listed, NewRun, Notices, Page, PendingDelivery,
        Redelivered, RunClaim, SettleError, Settled, Settlement, Store, StoreError, Tidied,
        Unwritable, ending::end_run, moving::Moved, spool::Spool,
    },
};

/// Between sweeps of the spool; the first is soon after the start.
const SWEEP: Duration = Duration::from_secs(6 * 3600);

#[async_trait]
impl Store for SqliteStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn next_id(&self) -> RunId {
        self.shared.ids.next(self.shared.now())
    }

    fn ready(&self) -> Result<(), Unwritable> {
        self.shared.queue.room()?;
        self.shared.condition.check()
    }

    fn unfinished(&self, route: &str) -> u64 {
        self.shared.unfinished.of(route)
    }

    fn notices(&self) -> &Notices {
        &self.shared.notices
    }

    async fn accept(&self, new: NewRun) -> Result<Accepted, AcceptError> {
        let spooled = spool_name(&new.request.body);
        let outcome = self.try_accept(new).await;
        if !matches!(outcome, Ok(Accepted::New(_))) {
            self.shared.chores.remove(spooled.into_iter().collect());
        }
        outcome
    }

    async fn claim_runs(&self, route: &str, limit: usize) -> Result<Claims<RunClaim>, StoreError> {
        let route = route.to_owned();
        let now = self.shared.now();
        self.change(ClaimRuns { route, limit, now }).await
    }

    async fn settle_run(
        &self,
        claim: RunClaim,
        settlement: Settlement,
    ) -> Result<Settled, SettleError> {
        let now = self.shared.now();
        let prefix = &self.shared.settings.public_prefix;
        let fence = claim.fence;
        let secret = claim.request.webhook_secret;
        let leftovers = Leftovers::of(&claim.request.body, secret.is_some());
        let mut run = claim.run;
        let before = Mark::of(&run, Some(fence));
        let came = settlement.response;
        let came_spooled = came.as_ref().and_then(|came| spool_name(&came.body));
        let attempt = run.progress.attempts;
        run.progress = settlement.progress;
        // The only attempt of a run is told by its record.
        let entry = (attempt > 1 || matches!(settlement.next, Next::Again { .. }))
            .then(|| RunAttempt::new(attempt, settlement.began, now, settlement.outcome));
        let (response, discarded) = match settlement.next {
            Next::End(end) => {
                let (response, discarded) = end_run(&mut run, end, came, now, prefix);
                (Some(response), discarded)
            }
            Next::Again { due } => {
                queue_again(&mut run, due, now);
                (None, came)
            }
        };
        let holder = (settlement.claim_delivery && is_due(&run, now)).then_some(fence);
        let settle = SettleRun {
            before,
            run,
            response,
            leftovers,
            entry,
            holder,
            fence,
        };
        match self.patiently(settle).await {
            Ok(settled) => {
                let discarded = discarded.and_then(|discarded| spool_name(&discarded.body));
                self.shared.chores.remove(discarded.into_iter().collect());
                let run = settled.run;
                let delivery = settled
                    .response
                    .filter(|_| holder.is_some())
                    .map(|response| {
                        Box::new(DeliveryClaim {
                            endpoint: run.facts.webhook_endpoint.clone().unwrap_or_default(),
                            run: run.clone(),
                            response,
                            secret,
                            fence,
                        })
                    });
                Ok(Settled { run, delivery })
            }
            Err(error) => {
                self.shared
                    .chores
                    .remove(came_spooled.into_iter().collect());
                Err(error)
            }
        }
    }

    async fn cancel(&self, id: RunId) -> Result<Cancelled, StoreError> {
        let now = self.shared.now();
        self.change(Cancel { id, now }).await
    }

    async fn expire(&self) -> Result<Vec<Run>, StoreError> {
        let now = self.shared.now();
        self.change(Expire { now }).await
    }

    async fn pending_deliveries(
        &self,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError> {
        self.shared
            .read(move |db, _| reader::pending_deliveries(db, after, limit))
            .await
    }

    async fn claim_deliveries(&self, ids: Vec<RunId>) -> Result<Vec<DeliveryClaim>, StoreError> {
        self.change(ClaimDeliveries { ids }).await
    }

    async fn settle_delivery(
        &self,
        claim: DeliveryClaim,
        attempt: DeliveryAttempt,
    ) -> Result<Run, SettleError> {
        let now = self.shared.now();
        let mut run = claim.run;
        let before = Mark::of(&run, Some(claim.fence));
        let mut entry = None;
        if let Some(delivery) = &mut run.delivery {
            delivery.settle(attempt.outcome, &run.policy.webhook, now, attempt.chance);
            entry = Some(attempt.entry(delivery.attempts, delivery.next_attempt_at));
        }
        let settle = SettleDelivery {
            before,
            run,
            secret: claim.secret.is_some(),
            entry,
        };
        Ok(self.patiently(settle).await?.run)
    }

    async fn release_delivery(&self, claim: DeliveryClaim) -> Result<(), SettleError> {
        let release = SettleDelivery {
            before: Mark::of(&claim.run, Some(claim.fence)),
            run: claim.run,
            secret: false,
            entry: None,
        };
        self.patiently(release).await.map(drop)
    }

    async fn expire_deliveries(&self) -> Result<Vec<Run>, StoreError> {
        let now = self.shared.now();
        self.change(ExpireDeliveries { now }).await
    }

    async fn redeliver(&self, ids: Vec<RunId>) -> Result<Vec<Redelivered>, StoreError> {
        let now = self.shared.now();
        self.change(Redeliver { ids, now }).await
    }

    async fn find(&self, id: RunId) -> Result<Found, StoreError> {
        self.shared
            .read(move |db, names| reader::find(db, names, id))
            .await
    }

    async fn request(&self, id: RunId) -> Result<Option<StoredRequest>, StoreError> {
        self.shared
            .read(move |db, names| reader::request(db, names, id))
            .await
    }

    async fn response(&self, id: RunId) -> Result<Option<StoredResponse>, StoreError> {
        self.shared
            .read(move |db, names| reader::response(db, names, id))
            .await
    }

    async fn attempts(&self, id: RunId) -> Result<Attempts, StoreError> {
        self.shared
            .read(move |db, names| reader::attempts(db, names, id))
            .await
    }

    async fn list(&self, filter: Filter, page: Page) -> Result<Listed, StoreError> {
        self.shared
            .read(move |db, names| list::page(db, names, &filter, page))
            .await
    }

    async fn count(&self, filter: Filter) -> Result<u64, StoreError> {
        self.shared
            .read(move |db, _| list::count(db, &filter))
            .await
    }

    fn spool(&self) -> &Spool {
        &self.shared.spool
    }

    async fn tidy(&self) -> Result<Tidied, StoreError> {
        let now = self.shared.now();
        let swept = self.sweep(now).await?;
        let mut tidied = self.change(Tidy { now }).await?;
        tidied.files += swept;
        Ok(tidied)
    }

    async fn books(&self) -> Result<Books, StoreError> {
        let mut books = self.shared.read(|db, _| reader::books(db)).await?;
        let sizes = self.shared.sizes();
        books.bytes.extend([
            ("database", sizes.database),
            ("log", sizes.log),
            ("spool", sizes.spool),
        ]);
        Ok(books)
    }

    async fn export(&self, after: Option<RunId>, limit: usize) -> Result<Vec<Moved>, StoreError> {
        self.change(Export { after, limit }).await
    }

    async fn import(&self, moved: Vec<Moved>) -> Result<(), StoreError> {
        self.change(Import { moved }).await
    }

    async fn take_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        let Identity { loop_id, key } = identity.clone();
        self.change(TakeIdentity { loop_id, key }).await
    }

    async fn backup(&self) -> Result<Backup, BackupError> {
        backup::begin(&self.shared).await
    }

    async fn close(&self) {
        self.shared.queue.close();
        let thread = self.committer.lock().take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(
                    "the store's writing thread ended by a fault; the next start recovers"
                );
            }
        }
    }
}

impl SqliteStore {
    async fn try_accept(&self, new: NewRun) -> Result<Accepted, AcceptError> {
        self.shared.condition.check()?;
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
        let accept = Accept {
            run,
            request: new.request,
            key: new.key,
        };
        match self.shared.queue.submit(accept)?.await {
            Ok((accept, (Accepted::New(_), fence))) => Ok(Accepted::New(start.then(|| {
                Box::new(RunClaim {
                    run: accept.run,
                    request: accept.request,
                    fence,
                })
            }))),
            Ok((_, (known, _))) => Ok(known),
            Err(Failure::Unwritable(why)) => Err(why.into()),
            Err(Failure::Failed(_)) => Err(Unwritable::Failing.into()),
            // The process ends: no answer is better than one that may be wrong.
            Err(Failure::Unknown) => std::future::pending().await,
        }
    }

    /// Makes a change that is refused while writing fails.
    async fn change<V: Verb>(&self, verb: V) -> Result<V::Outcome, StoreError> {
        let refused = |why: Unwritable| match why {
            Unwritable::Closed => StoreError::Closed,
            Unwritable::Busy | Unwritable::Full | Unwritable::Failing => {
                StoreError::Failed(why.to_string())
            }
        };
        if self.shared.condition.trouble() == Err(Unwritable::Failing) {
            return Err(refused(Unwritable::Failing));
        }
        let outcome = self.shared.queue.submit(verb).map_err(refused)?.await;
        match outcome {
            Ok((_, outcome)) => Ok(outcome),
            Err(Failure::Unwritable(why)) => Err(refused(why)),
            Err(Failure::Failed(why)) => Err(StoreError::Failed(why)),
            Err(Failure::Unknown) => Err(StoreError::Closed),
        }
    }

    /// Makes a change that waits until it can be written.
    async fn patiently<V: Verb<Outcome = Result<(), SettleError>>>(
        &self,
        verb: V,
    ) -> Result<V, SettleError> {
        let submitted = self.shared.queue.submit(verb);
        let (verb, outcome) = submitted
            .map_err(|_| SettleError::Closed)?
            .await
            .map_err(|_| SettleError::Closed)?;
        outcome.map(|()| verb)
    }

    /// Removes orphans of the spool, now and then; says how many.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let due = self
            .swept
            .lock()
            .is_none_or(|swept| now.since(swept) >= SWEEP);
        if !due {
            return Ok(0);
        }
        let shared = Arc::clone(&self.shared);
        let orphans = self
            .shared
            .read(move |db, _| {
                let suspects = shared.spool.suspects().unwrap_or_else(|error| {
                    tracing::warn!(%error, "the spool cannot be swept");
                    Vec::new()
                });
                reader::unnamed(db, suspects)
            })
            .await?;
        let count = orphans.len() as u64;
        self.shared.chores.remove(orphans);
        *self.swept.lock() = Some(now);
        Ok(count)
    }
}

fn is_due(run: &Run, now: Timestamp) -> bool {
    run.delivery.as_ref().is_some_and(|delivery| {
        delivery.state == DeliveryState::Pending
            && delivery.next_attempt_at.is_some_and(|due| due <= now)
    })
}

fn spool_name(body: &Body) -> Option<String> {
    match body {
        Body::Inline(_) => None,
        Body::Spooled { name, .. } => Some(name.clone()),
    }
}
