//! A machine's monotonic clock: its own origin, its own rate.

use fastrand::Rng;
use hamesh_claims::Moment;

/// Nanoseconds of simulated time in a millisecond.
pub const MS: u64 = 1_000_000;
/// By how much a clock may run fast or slow, in parts per million: two differ by at most 2.8 %.
const WORST_DRIFT: i64 = 14_000;

/// Translates between simulated time and what one machine reads.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    booted: u64,
    origin: u64,
    drift: i64,
}

impl Clock {
    /// The clock of a machine that boots at `now`. Its origin differs from boot to boot.
    pub fn boot(now: u64, rng: &mut Rng) -> Self {
        let drift = *rng
            .choice([-WORST_DRIFT, 0, WORST_DRIFT].iter())
            .unwrap_or(&0);
        Self {
            booted: now,
            origin: rng.u64(1..40_000) * MS,
            drift,
        }
    }

    /// What the machine reads at the simulated time `at`.
    pub fn read(&self, at: u64) -> Moment {
        let run = i128::from(at.saturating_sub(self.booted));
        let local = i128::from(self.origin) + run * i128::from(1_000_000 + self.drift) / 1_000_000;
        Moment::from_nanos(u64::try_from(local).unwrap_or(u64::MAX))
    }

    /// The simulated time at which the machine will read `moment`, or just after.
    pub fn when(&self, moment: Moment) -> u64 {
        let run = i128::from(moment.nanos()) - i128::from(self.origin);
        let real = (run.max(0) * 1_000_000 + 999_999) / i128::from(1_000_000 + self.drift) + 1;
        self.booted
            .saturating_add(u64::try_from(real).unwrap_or(u64::MAX))
    }
}
