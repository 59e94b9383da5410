//! How spans of time are spread: counts in buckets that grow by the square root of two, from a millisecond on.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

/// Up to 2^26 ms, which is 18 hours: longer than any run takes. What is longer is in the last one.
const BUCKETS: usize = 53;

/// Counts of spans of time, by their length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread([u32; BUCKETS]);

/// How long it took in so many cases of a hundred, at most; in milliseconds, at most 20 % too long or too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Percentiles {
    /// Half of them.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// All but one of a hundred.
    pub p99: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Spread {
    pub(super) fn note(&mut self, took: Duration) {
        let half_octaves = (took.as_secs_f64() * 1000.0).max(1.0).log2() * 2.0;
        let bucket = (half_octaves as usize).min(BUCKETS - 1);
        self.0[bucket] = self.0[bucket].saturating_add(1);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }

    /// None if nothing was noted.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let at = |percent: u64| {
            let rank = (all * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let bucket = self.0.iter().position(|count| {
                seen += u64::from(*count);
                seen >= rank
            })?;
            // The middle of the bucket, as growth goes.
            Some(((bucket as f64 + 0.5) / 2.0).exp2().round() as u64)
        };
        Some(Percentiles {
            p50: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_near_what_was_noted() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentiles(), None);
        for millis in 1..=1000 {
            spread.note(Duration::from_millis(millis));
        }
        let Percentiles { p50, p90, p99 } = spread.percentiles().unwrap();
        for (found, right) in [(p50, 500.0), (p90, 900.0), (p99, 990.0)] {
            let ratio = found as f64 / right;
            assert!((0.8..1.25).contains(&ratio), "{found} for {right}");
        }
    }

    proptest! {
        #[test]
        fn they_never_fall(millis in prop::collection::vec(0_u64..1 << 40, 1..50)) {
            let mut spread = Spread::default();
            for millis in millis {
                spread.note(Duration::from_millis(millis));
            }
            let Percentiles { p50, p90, p99 } = spread.percentiles().unwrap();
            prop_assert!(p50 <= p90 && p90 <= p99);
        }
    }
}
