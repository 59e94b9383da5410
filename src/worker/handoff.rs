//! The short way from the executor to the courier: deliveries claimed in the commit that ended their run, handed over
//! in memory. One that gets lost on the way (a crash) is found in the store again.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{model::delivery::DeliveryOutcome, store::DeliveryClaim};

/// Who knows how many deliveries may be out to a receiver (host and port) at a time.
pub trait Admission: Send + Sync {
    /// Lets one more out, if it may; when places are `scarce`, only if the receiver has none out.
    fn enter(&self, receiver: &str, scarce: bool) -> bool;
    /// One that was out has ended; without an outcome it was given back.
    fn leave(&self, receiver: &str, outcome: Option<DeliveryOutcome>);
}

/// Slots for deliveries under way, and the way in for those who have claimed one.
#[derive(Clone)]
pub struct Handoff {
    slots: Arc<Mutex<Slots>>,
    sender: mpsc::UnboundedSender<Handed>,
    admission: Arc<dyn Admission>,
}

/// How many deliveries may be under way, and are.
#[derive(Debug)]
struct Slots {
    all: usize,
    taken: usize,
    closed: bool,
}

/// The right to one delivery under way; given back when dropped.
#[derive(Debug)]
pub struct Slot(Arc<Mutex<Slots>>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.lock().taken -= 1;
    }
}

/// One place in so many is kept for receivers that have no delivery out.
const RESERVE: usize = 8;

/// Where the courier takes what was handed over.
#[derive(Debug)]
pub struct Receiver(mpsc::UnboundedReceiver<Handed>);

/// A claimed delivery and the place it takes until that is dropped.
#[derive(Debug)]
pub struct Handed {
    /// What to deliver.
    pub claim: DeliveryClaim,
    /// Its place.
    pub place: Place,
}

/// A place for one delivery among all, and among those to its receiver.
pub struct Place {
    // Dropped first: who is told of a free place finds the slot free.
    slot: Option<Slot>,
    receiver: Arc<str>,
    outcome: Option<DeliveryOutcome>,
    admission: Arc<dyn Admission>,
}

/// A place, reserved before there is a claim for it.
#[derive(Debug)]
pub struct Room {
    place: Place,
    sender: mpsc::UnboundedSender<Handed>,
}

/// Makes a hand-over with `concurrency` slots. The channel is bounded by them: each claim in it holds one.
pub fn handoff(concurrency: usize, admission: Arc<dyn Admission>) -> (Handoff, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let slots = Slots {
        all: concurrency,
        taken: 0,
        closed: false,
    };
    let handoff = Handoff {
        slots: Arc::new(Mutex::new(slots)),
        sender,
        admission,
    };
    (handoff, Receiver(receiver))
}

impl Handoff {
    /// Reserves a place for a delivery to this receiver, if there is one and the courier takes work. With it in hand,
    /// a settlement may claim its delivery ([`crate::store::Settlement::claim_delivery`]).
    pub fn reserve(&self, receiver: &str) -> Option<Room> {
        let slot = self.try_slot()?;
        if self.sender.is_closed() || !self.admission.enter(receiver, self.is_scarce()) {
            return None;
        }
        Some(Room {
            place: self.place(slot, receiver.into()),
            sender: self.sender.clone(),
        })
    }

    /// A free slot, if there is one now.
    pub fn try_slot(&self) -> Option<Slot> {
        let mut slots = self.slots.lock();
        if slots.closed || slots.taken >= slots.all {
            return None;
        }
        slots.taken += 1;
        drop(slots);
        Some(Slot(Arc::clone(&self.slots)))
    }

    /// Has so many slots from now on. With fewer than are taken, none is free until enough have been given back.
    pub fn set_concurrency(&self, concurrency: usize) {
        self.slots.lock().all = concurrency;
    }

    /// Whether the places that are left are for receivers that have no delivery out: however many receivers hang, each
    /// with its share, the next one is served.
    pub fn is_scarce(&self) -> bool {
        let slots = self.slots.lock();
        slots.all.saturating_sub(slots.taken) < slots.all / RESERVE
    }

    /// The place of a delivery that has a slot and was let out to its receiver.
    pub fn place(&self, slot: Slot, receiver: Arc<str>) -> Place {
        Place {
            slot: Some(slot),
            receiver,
            outcome: None,
            admission: Arc::clone(&self.admission),
        }
    }

    /// Lets nobody reserve a place any more. What was reserved before may still be handed over.
    pub fn close(&self) {
        self.slots.lock().closed = true;
    }
}

impl Place {
    /// Notes how the attempt ended; it counts once the place is dropped.
    pub fn note(&mut self, outcome: DeliveryOutcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.slot.take());
        self.admission.leave(&self.receiver, self.outcome);
    }
}

impl Room {
    /// Hands a claimed delivery over.
    ///
    /// # Errors
    /// Gives it back if the courier is gone; it should then be released in the store.
    pub fn give(self, claim: DeliveryClaim) -> Result<(), Box<DeliveryClaim>> {
        let place = self.place;
        self.sender
            .send(Handed { claim, place })
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

impl std::fmt::Debug for Handoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handoff").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}
