//! What the simulated agents saw of their claims: how long each renewal took, and what should not
//! have happened.
//!
//! Pure. A renewal's time is from the moment at which its request was sent to the moment at which
//! its answer was opened, judged and the fence armed again. Every single one is kept.

use std::time::Duration;

/// Everything that all agents saw together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How long each renewal took, in microseconds.
    renewals_us: Vec<u32>,
    /// The least that was left of any lease when it was renewed.
    pub least_left: Option<Duration>,
    /// Claims taken.
    pub taken: u64,
    /// Claims given back, or let go because their lease had run out.
    pub let_go: u64,
    /// Leases that had run out when their renewal came.
    pub lapsed: u64,
    /// Claims seen held by promises of the other member, no coordinator answering.
    pub alone: u64,
}

/// Times of renewals, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// Half took no longer.
    pub p50_ms: f64,
    /// Of a hundred, 99 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Seen {
    /// A renewal that was answered in time; `left` was left of the lease before.
    pub fn renewed(&mut self, took: Duration, left: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.renewals_us.push(us);
        let least = self.least_left.unwrap_or(left);
        self.least_left = Some(least.min(left));
    }

    /// How many renewals there were.
    pub fn renewals(&self) -> usize {
        self.renewals_us.len()
    }

    /// How long they took.
    pub fn times(&self) -> Times {
        let mut sorted = self.renewals_us.clone();
        sorted.sort_unstable();
        let ms = |percent| quantile(&sorted, percent).map_or(0.0, |us| f64::from(us) / 1e3);
        Times {
            p50_ms: ms(50),
            p99_ms: ms(99),
            max_ms: ms(100),
        }
    }
}

/// The value that `percent` of all do not exceed, by nearest rank; none of none.
fn quantile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut seen = Seen::default();
        for n in (1..=200).rev() {
            seen.renewed(ms(n), ms(300 - n));
        }
        let times = seen.times();
        assert_eq!(
            (times.p50_ms, times.p99_ms, times.max_ms),
            (100.0, 198.0, 200.0)
        );
        assert_eq!((seen.renewals(), seen.least_left), (200, Some(ms(100))));
    }

    #[test]
    fn few_renewals_or_none_have_quantiles_too() {
        let mut seen = Seen::default();
        assert_eq!((seen.times(), seen.least_left), (Times::default(), None));
        seen.renewed(ms(3), ms(200));
        let times = seen.times();
        assert_eq!((times.p50_ms, times.p99_ms, times.max_ms), (3.0, 3.0, 3.0));
    }
}
