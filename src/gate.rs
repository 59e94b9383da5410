//! How a request becomes a run: what a host's `request_filter` calls.

mod budget;
pub mod cors;
mod endpoint;
mod origin;
pub mod respond;
