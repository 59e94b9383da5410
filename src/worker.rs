//! What the executor and the courier share: slots, wake-ups, tasks with an owner, and the view of what is live.

pub mod ended;
pub mod handoff;
pub mod janitor;
pub mod live;
pub mod others;
pub mod readiness;
