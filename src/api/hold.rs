//! What a record says of a delivery whose receiver's circuit breaker is open: its attempts are moved, not used up.

use crate::{
    courier::Lines,
    model::{delivery::DeliveryState, run::Run},
};

/// Moves the next attempt of a pending delivery to the probe of its receiver's breaker, if that is open and later.
pub(super) fn reschedule(lines: &Lines, run: &mut Run) {
    let (Some(endpoint), Some(delivery)) = (&run.facts.webhook_endpoint, &mut run.delivery) else {
        return;
    };
    if delivery.state == DeliveryState::Pending
        && let Some(until) = lines.held_until(endpoint)
    {
        delivery.next_attempt_at = delivery.next_attempt_at.max(Some(until));
    }
}
