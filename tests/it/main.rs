//! Raincheck from outside: the real program, real sockets, nothing of its insides.

mod admin;
mod bad_heads;
mod body_intake;
mod cancelling;
mod command_line;
mod concurrency;
mod cors;
mod delivery;
mod dialect_cerebrium;
mod dialect_prefer;
mod disk_full;
mod execution;
mod foreign_pages;
mod harness;
mod http2;
mod idempotency;
mod looking;
mod pass_through;
mod refusals;
mod repeating;
mod replay;
mod restart;
mod stopping;
mod store_files;
mod webhook_endpoint;
mod what_goes_upstream;
