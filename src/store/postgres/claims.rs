//! From what is held to claims: their bodies are read when it is committed, outside of the transaction.

use super::{
    PostgresStore, bodies,
    deliveries::ClaimDeliveries,
    runs::{ClaimRuns, Started},
    shared::Shared,
    store::looked,
};
use crate::{
    model::{id::RunId, run::Run},
    store::{Claims, DeliveryClaim, RunClaim, StoreError},
};

/// What is held, as long as it is in no claim: dropped, it is given back.
struct Unclaimed<'a> {
    shared: &'a Shared,
    runs: Vec<RunId>,
}

impl<'a> Unclaimed<'a> {
    fn new<'r>(shared: &'a Shared, runs: impl IntoIterator<Item = &'r Run>) -> Self {
        let runs = runs.into_iter().map(|run| run.id).collect();
        Self { shared, runs }
    }

    fn take(&mut self, run: RunId) {
        self.runs.retain(|other| *other != run);
    }
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        self.shared.let_go(&self.runs);
    }
}

impl PostgresStore {
    pub(super) async fn started(&self, claim: ClaimRuns) -> Result<Claims<RunClaim>, StoreError> {
        let shared = &*self.shared;
        let Started {
            runs,
            next_due,
            fence,
        } = self.change(claim, None).await?;
        let mut left = Unclaimed::new(shared, &runs);
        let requests = bodies::requests(shared, &left.runs).await;
        let mut requests = looked(requests)?;
        let claims = runs.into_iter().filter_map(|run| {
            let request = requests.remove(&run.id)?;
            left.take(run.id);
            shared.hold(run.id, &request.body);
            Some(RunClaim {
                run,
                request,
                fence,
            })
        });
        Ok(Claims {
            claimed: claims.collect(),
            next_due,
        })
    }

    pub(super) async fn held(
        &self,
        claim: ClaimDeliveries,
    ) -> Result<Vec<DeliveryClaim>, StoreError> {
        let shared = &*self.shared;
        let (held, fence) = self.change(claim, None).await?;
        let mut left = Unclaimed::new(shared, held.iter().map(|(run, _)| run));
        let responses = bodies::responses(shared, &left.runs).await;
        let mut responses = looked(responses)?;
        let claims = held.into_iter().filter_map(|(run, secret)| {
            let response = responses.remove(&run.id)?;
            left.take(run.id);
            shared.hold(run.id, &response.body);
            Some(DeliveryClaim {
                response,
                endpoint: run.facts.webhook_endpoint.clone().unwrap_or_default(),
                secret,
                run,
                fence,
            })
        });
        Ok(claims.collect())
    }
}
