//! How a request becomes a run: what a host's `request_filter` calls.

pub mod cors;
pub mod respond;
