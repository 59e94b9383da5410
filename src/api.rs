//! How one looks at runs: the resources below the public prefix, and the admin listener.
//!
//! Both are axum routers behind one adapter from a Pingora session, so that one listener stack serves everything.

mod admin;
mod answer;
mod bridge;
mod events;
mod health;
mod hold;
mod openwhisk;
mod origins;
mod problems;
mod public;
mod range;
mod replay;
mod runs;
mod sight;
mod waiting;
mod webhook_keys;

pub use admin::{
    AdminApp, AdminParts, Door, OwnRules, Pages, ReloadOrder, ReloadOrders, Reloaded, Reloads,
    reloads,
};
pub use openwhisk::OpenWhisk;
pub use public::PublicApi;

#[cfg(test)]
mod tests;
