//! Raincheck.

// The benches' store in memory is tested here too, and names the crate as they do.
#[cfg(test)]
extern crate self as raincheck;

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod courier;
pub mod executor;
pub mod gate;
pub mod metrics;
pub mod model;
pub mod proxy;
pub mod store;
pub mod worker;
