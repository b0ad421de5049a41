//! Pauses between attempts: they double up to a bound, with jitter, so that a site's agents do not
//! all come back in the same instant.

use std::time::Duration;

use hamesh_proto::random;

/// The pauses of one kind of attempt.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `shortest` to `longest`.
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            next: shortest,
        }
    }

    /// The next pause: between half of its bound and all of it.
    pub fn pause(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        bound / 2 + share(bound / 2)
    }

    /// An attempt succeeded: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.next = self.shortest;
    }
}

/// A random part of `whole`.
pub fn share(whole: Duration) -> Duration {
    whole.mul_f64(f64::from(u32::from_ne_bytes(random::bytes())) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds_and_start_anew_after_a_success() {
        let (shortest, longest) = (Duration::from_millis(200), Duration::from_secs(5));
        let mut backoff = Backoff::new(shortest, longest);
        for bound_ms in [200, 400, 800, 1600, 3200, 5000, 5000] {
            let (bound, pause) = (Duration::from_millis(bound_ms), backoff.pause());
            assert!(
                pause >= bound / 2 && pause <= bound,
                "{pause:?} within {bound:?}"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= shortest);
    }
}
