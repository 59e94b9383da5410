//! Values and decisions: no I/O, no clock, no async, no Pingora. Time and chance are arguments here.

pub mod access;
pub mod address_guard;
pub mod attempt;
pub mod books;
pub mod breaker;
pub mod delivery;
pub mod dialect;
pub mod event;
pub mod exchange;
pub mod filter;
pub mod id;
pub mod moment;
pub mod policy;
pub mod problem;
pub mod record;
pub mod replica;
pub mod retry;
pub mod run;
pub mod secret;
pub mod signature;
pub mod time;
pub mod trace;
