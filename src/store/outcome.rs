//! What became of what was asked of a store.

use crate::model::run::Run;

/// What became of asking for a redelivery.
#[derive(Debug)]
pub enum Redelivered {
    /// A new round begins.
    Now(Box<Run>),
    /// An attempt is under way at this moment.
    UnderWay(Box<Run>),
    /// The run has no delivery: it has no webhook, or has not ended.
    NoDelivery(Box<Run>),
    /// There is no such run.
    Unknown,
    /// Its record has expired.
    Expired,
}

/// What became of a cancel.
#[derive(Debug)]
pub enum Cancelled {
    /// It has ended now.
    Now(Box<Run>),
    /// It had been cancelled before.
    Before(Box<Run>),
    /// It had ended otherwise.
    Finished(Box<Run>),
    /// There is no such run.
    Unknown,
    /// Its record has expired.
    Expired,
}

/// What a look-up finds.
#[derive(Debug)]
pub enum Found {
    /// The run.
    Run(Box<Run>),
    /// A tombstone: the record has expired.
    Expired,
    /// Nothing.
    Unknown,
}

/// What [`Store::tidy`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tidied {
    /// Runs removed.
    pub runs: u64,
    /// Tombstones removed.
    pub tombstones: u64,
    /// Spool files removed.
    pub files: u64,
    /// Whether it stopped before it had done all.
    pub more: bool,
}
