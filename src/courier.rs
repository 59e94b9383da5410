//! How a run's webhook is told: due deliveries are claimed, sent as one signed POST each, and what came is recorded.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::WebhookClient,
    metrics::Metrics,
    model::{secret::Secret, time::SharedClock},
    store::Store,
    worker::handoff::{self, Handoff},
};
use lookups::Lookup;
use receiver::Receiver;
use signer::Signer;

mod answer;
mod attempt;
mod claim;
mod content;
mod failure;
mod lines;
mod lookups;
mod message;
mod openfaas;
mod receiver;
mod resolver;
mod schedule;
mod signer;
#[cfg(test)]
mod tests;

pub use lines::Lines;
pub use schedule::ReceiverState;

/// The most attempts that wait for their record without holding a place: each may have a body of 128 KiB in memory.
const RECORDING: usize = 256;

/// What the courier works with.
#[derive(Clone)]
pub struct Parts {
    /// Where deliveries are claimed and settled.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
    /// `[webhook]`
    pub settings: WebhookClient,
    /// A route's signing secrets, by its name.
    pub secrets: SigningSecrets,
    /// Where receivers find responses.
    pub links: Links,
    /// The runtime of the attempts: not the one that serves requests.
    pub runtime: Handle,
}

/// Looks up the Standard Webhooks secrets of a route; it knows what to answer for a route that is gone.
pub type SigningSecrets = Arc<dyn Fn(&str) -> Arc<[Secret]> + Send + Sync>;

/// The beginning of the links in thin deliveries.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// `server.public_url`
    pub public_url: String,
    /// `server.public_prefix`
    pub public_prefix: String,
}

/// Delivers. Clones are the same courier.
#[derive(Clone)]
pub struct Courier(Arc<Inner>);

struct Inner {
    parts: Parts,
    lookup: Lookup,
    /// By the newest configuration.
    way: ArcSwap<Way>,
    handoff: Handoff,
    lines: Lines,
    /// Attempts that have ended and are being recorded without their place.
    recording: Semaphore,
    tasks: TaskTracker,
    /// No new claims.
    stopping: CancellationToken,
    /// Nothing is handed over any more.
    closing: CancellationToken,
    /// What is under way is given back.
    cut: CancellationToken,
}

/// What a configuration says of how receivers are told.
struct Way {
    receiver: Receiver,
    signer: Signer,
    secrets: SigningSecrets,
    /// For a whole attempt.
    timeout: Duration,
}

impl Way {
    fn new(
        settings: &WebhookClient,
        secrets: SigningSecrets,
        lookup: Lookup,
    ) -> Result<Self, StartError> {
        Ok(Self {
            receiver: Receiver::new(settings, lookup).map_err(StartError)?,
            signer: Signer::new(&settings.ed25519_keys),
            secrets,
            timeout: settings.timeout,
        })
    }
}

impl Courier {
    /// Takes up work.
    ///
    /// # Errors
    /// When no HTTP client can be made of the settings.
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        Self::start_with(parts, lookups::system())
    }

    /// [`Courier::start`] with names looked up in another way than the system's.
    fn start_with(parts: Parts, lookup: Lookup) -> Result<Self, StartError> {
        let way = Way::new(&parts.settings, parts.secrets.clone(), Arc::clone(&lookup))?;
        let lines = Lines::new(
            parts.settings.per_host,
            parts.clock.clone(),
            parts.metrics.clone(),
        );
        let (handoff, handed) =
            handoff::handoff(parts.settings.concurrency, Arc::new(lines.clone()));
        let courier = Arc::new(Inner {
            parts,
            lookup,
            way: ArcSwap::from_pointee(way),
            handoff,
            lines,
            recording: Semaphore::new(RECORDING),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
        });
        let runtime = &courier.parts.runtime;
        courier
            .tasks
            .spawn_on(claim::claim_due(Arc::clone(&courier)), runtime);
        courier
            .tasks
            .spawn_on(claim::take_handed(Arc::clone(&courier), handed), runtime);
        Ok(Self(courier))
    }

    /// Tells receivers by these settings from now on. Attempts that are under way end as they began.
    ///
    /// # Errors
    /// As [`Courier::start`]; nothing has changed then.
    pub fn reconfigure(
        &self,
        settings: &WebhookClient,
        secrets: SigningSecrets,
    ) -> Result<(), StartError> {
        let way = Way::new(settings, secrets, Arc::clone(&self.0.lookup))?;
        self.0.way.store(Arc::new(way));
        self.0.handoff.set_concurrency(settings.concurrency);
        self.0.lines.set_per_host(settings.per_host);
        Ok(())
    }

    /// The short way in, for the executor.
    pub fn handoff(&self) -> Handoff {
        self.0.handoff.clone()
    }

    /// What waits for receivers, and the state of each.
    pub fn lines(&self) -> Lines {
        self.0.lines.clone()
    }

    /// Claims nothing more. What the executor hands over is still delivered.
    pub fn stop_claiming(&self) {
        self.0.stopping.cancel();
    }

    /// Takes nothing more at all, waits at most for `limit` until what is under way has ended, and gives the rest back
    /// to the store. To be called when the executor has drained.
    pub async fn drain(&self, limit: Duration) {
        self.stop_claiming();
        self.0.handoff.close();
        self.0.closing.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(limit, self.0.tasks.wait())
            .await
            .is_err()
        {
            self.0.cut.cancel();
            self.0.tasks.wait().await;
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

/// The courier cannot start.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client for webhooks can be made: {0}")]
pub struct StartError(#[source] reqwest::Error);
