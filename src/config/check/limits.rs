//! `[limits]`.

use std::time::Duration;

use super::server::HALF_A_DAY;
use crate::{
    config::{
        Limits,
        file::Section,
        value::{count, duration, number, size},
    },
    model::exchange::INLINE_MAX,
};

pub(super) fn read(section: &Section<'_>) -> Limits {
    let wait = || duration(Duration::from_millis(1)..=HALF_A_DAY);
    let depth = section.get("max_depth", count(1..=100));
    Limits {
        request_body: section.get("request_body", size(0)),
        response_body: section.get("response_body", size(0)),
        unfinished_runs: section.get("unfinished_runs", number(1..=1_000_000_000)),
        intake_memory: section.get("intake_memory", size(INLINE_MAX as u64)),
        body_idle_timeout: section.get("body_idle_timeout", wait()),
        body_timeout: section.get("body_timeout", wait()),
        max_depth: u32::try_from(depth).unwrap_or(u32::MAX),
    }
}
