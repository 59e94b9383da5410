//! The processes that share a store, and the days that it keeps: for who operates them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Timestamp;

/// Who shares a store, and what it is made of.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Sharing {
    /// In the order in which they came; empty if the store is one process's own.
    pub replicas: Vec<Replica>,
    /// The oldest first.
    pub days: Vec<Day>,
}

/// A process that shares the store.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Replica {
    /// The number of its registration: a process that was taken for dead comes back under another one.
    pub id: u64,
    /// Host and process id.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// Whether it is the process that tells this.
    pub this_one: bool,
    /// Whether it lives.
    pub state: ReplicaState,
    /// When it registered.
    pub started_at: Timestamp,
    /// When its heart last beat.
    pub heartbeat_at: Timestamp,
    /// Runs that it sends to the application at this moment.
    pub runs: u64,
    /// Deliveries that it holds at this moment.
    pub deliveries: u64,
}

/// Whether a replica lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// Its heart beats.
    Alive,
    /// It has not beaten for a while; what it would begin now, it does not begin.
    Silent,
    /// It was taken for dead: no change of it holds. Its row goes when all that it held is taken over.
    Fenced,
}

/// A partition: the runs that were accepted within a day (within an hour, where retention is shorter than a day).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Day {
    /// What its tables' names end with.
    pub name: String,
    /// What it is for at this moment.
    pub state: DayState,
    /// Runs accepted from then on,
    pub begins_at: Timestamp,
    /// and before then.
    pub ends_at: Timestamp,
    /// About how many finished runs it has; null before the database has first counted.
    #[schema(required)]
    pub runs: Option<u64>,
    /// Bytes on disk, indexes included.
    pub bytes: u64,
}

/// What a day is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// It was made for runs to come.
    Ahead,
    /// It has runs that are kept.
    Kept,
    /// All in it has expired; its tables are being dropped.
    Dropping,
    /// Only its row is left, to tell an expired run from an unknown one.
    Dropped,
}

impl ReplicaState {
    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Fenced => "fenced",
        }
    }
}

impl DayState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Ahead, Self::Kept, Self::Dropping, Self::Dropped];

    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::Kept => "kept",
            Self::Dropping => "dropping",
            Self::Dropped => "dropped",
        }
    }
}
