//! The short way from the executor to the courier: deliveries claimed in the commit that ended their run, handed over
//! in memory. One that gets lost on the way (a crash) is found in the store again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::store::DeliveryClaim;

/// Slots for deliveries under way, and the way in for those who have claimed one.
#[derive(Debug, Clone)]
pub struct Handoff {
    slots: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<Handed>,
}

/// Where the courier takes what was handed over.
#[derive(Debug)]
pub struct Receiver(mpsc::UnboundedReceiver<Handed>);

/// A claimed delivery and the slot it occupies until it is dropped.
#[derive(Debug)]
pub struct Handed {
    /// What to deliver.
    pub claim: DeliveryClaim,
    /// The slot.
    pub slot: OwnedSemaphorePermit,
}

/// A free slot, reserved. Dropping it frees it.
#[derive(Debug)]
pub struct Room {
    slot: OwnedSemaphorePermit,
    sender: mpsc::UnboundedSender<Handed>,
}

/// Makes a hand-over with `concurrency` slots. The channel is bounded by them: each claim in it holds one.
pub fn handoff(concurrency: usize) -> (Handoff, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let slots = Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)));
    (Handoff { slots, sender }, Receiver(receiver))
}

impl Handoff {
    /// Reserves a slot, if one is free and the courier takes work. With it in hand, a settlement may claim its
    /// delivery ([`crate::store::Settlement::claim_delivery`]).
    pub fn reserve(&self) -> Option<Room> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let sender = self.sender.clone();
        (!sender.is_closed()).then_some(Room { slot, sender })
    }

    /// Waits for a free slot; none once the hand-over is closed.
    pub async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// A free slot, if there is one now.
    pub fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Lets nobody reserve a slot any more. What was reserved before may still be handed over.
    pub fn close(&self) {
        self.slots.close();
    }
}

impl Room {
    /// Hands a claimed delivery over.
    ///
    /// # Errors
    /// Gives it back if the courier is gone; it should then be released in the store.
    pub fn give(self, claim: DeliveryClaim) -> Result<(), Box<DeliveryClaim>> {
        let slot = self.slot;
        self.sender
            .send(Handed { claim, slot })
            .map_err(|unsent| Box::new(unsent.0.claim))
    }
}

impl Receiver {
    /// The next delivery that was handed over; none once every [`Handoff`] and [`Room`] is gone.
    pub async fn next(&mut self) -> Option<Handed> {
        self.0.recv().await
    }

    /// Takes nothing more; what is on its way is still received.
    pub fn close(&mut self) {
        self.0.close();
    }
}
