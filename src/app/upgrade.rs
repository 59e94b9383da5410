//! An upgrade: a new process takes the listening sockets of the running one, which then finishes what it has.
//!
//! They meet at a unix socket in the store's folder, where the running one waits. It offers its sockets; the new one
//! opens the store beside it, starts everything, serves the same sockets and says that it is ready; only then the old
//! one accepts nothing more. The sockets stay open all the while, so that no connection in their backlogs is lost.
//! Whatever goes wrong before "ready" changes nothing for the running one.

mod message;
mod place;
mod predecessor;
mod successor;

use std::net::TcpListener;

pub(super) use self::{predecessor::Predecessor, successor::Door};

/// A listening socket under way, with its address as the older process's configuration wrote it.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) configured: String,
    pub(super) socket: TcpListener,
}

/// A new process cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The running one does not want it now.
    #[error("the running process refuses to hand over: {0}")]
    Refused(String),
    /// It cannot be understood, or does not answer.
    #[error("the running process does not hand over: {0}; nothing has changed for it")]
    Failed(std::io::Error),
}
