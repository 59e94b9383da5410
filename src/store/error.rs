//! What can go wrong with a store, and what it means to who asked.

/// Why no run can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// Too much waits to be written.
    #[error("too many runs wait to be written")]
    Busy,
    /// The disk's reserve, or `store.max_bytes`, is reached.
    #[error("the store has reached its size limit or the disk's reserve")]
    Full,
    /// Writing fails.
    #[error("the store cannot be written")]
    Failing,
    /// The proxy is stopping.
    #[error("the store is closed")]
    Closed,
}

/// The run is certainly not stored.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// No run can be accepted.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

/// A claim could not be settled, and never will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// Another process has taken it over.
    #[error("the claim was taken over by another process")]
    Fenced,
    /// It has ended otherwise; for a run: it was cancelled.
    #[error("it has ended otherwise")]
    WrongState,
    /// The store was closed first; the next start finds the run as it was.
    #[error("the store is closed")]
    Closed,
}

/// The store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
