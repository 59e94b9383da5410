//! A run's record for people at a terminal.

use super::terminal::Colour;

pub(super) use crate::model::record::{Attempt, Delivery, Record, age, span};

/// The colour of a state of a run or a delivery.
pub(super) fn colour(state: &str) -> Option<Colour> {
    match state {
        "succeeded" | "delivered" => Some(Colour::Green),
        "failed" | "dead" => Some(Colour::Red),
        "cancelled" => Some(Colour::Yellow),
        "running" | "pending" => Some(Colour::Cyan),
        _ => None,
    }
}
