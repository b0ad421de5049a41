//! Time as the claims see it: one machine's monotonic clock, read by the caller.
//!
//! A [`Moment`] means something only on the machine, and in the boot, that it was read in: no
//! message carries one, so moments of two machines are never compared. What travels is a
//! `Duration`. Sums stop at the end of time instead of wrapping: a deadline can only come out
//! earlier.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A reading of one machine's monotonic clock, in nanoseconds since an origin of its own.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(u64);

impl Moment {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);
    /// Later than any reading.
    pub const END: Self = Self(u64::MAX);

    /// The reading `nanos`, in nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The reading in nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This moment and `span` more.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(whole_nanos(span)))
    }

    /// From `earlier` to this moment; zero when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn whole_nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_past_the_end_of_time_stops_there() {
        let late = Moment::from_nanos(u64::MAX - 1);
        assert_eq!(late.plus(Duration::MAX), Moment::from_nanos(u64::MAX));
    }

    #[test]
    fn the_span_to_a_later_moment_is_zero() {
        let (early, late) = (Moment::from_nanos(5), Moment::from_nanos(7));
        assert_eq!(late.since(early), Duration::from_nanos(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
