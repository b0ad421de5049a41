//! Who held an address when, from samples taken inside each node.
//!
//! Pure. A node holds an address while it is configured there and no fence keeps it silent. Only
//! what lies between two samples that both saw it counts, so that whatever is called two holders
//! here was certainly that.

use std::time::Duration;

/// Two stretches that meet in one sample overlap for at least this long.
const LEAST: Duration = Duration::from_millis(1);

/// One look at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, from the start of the run.
    pub at: Duration,
    /// Whether the address was there, unfenced.
    pub holds: bool,
}

/// Samples in a row that all saw the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first of them.
    pub from: Duration,
    /// The last of them.
    pub to: Duration,
}

/// The stretches of a node, in order.
pub fn stretches(samples: &[Sample]) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    let mut before = false;
    for sample in samples {
        match (before, sample.holds, all.last_mut()) {
            (true, true, Some(last)) => last.to = sample.at,
            (_, true, _) => all.push(Stretch {
                from: sample.at,
                to: sample.at,
            }),
            (_, false, _) => {}
        }
        before = sample.holds;
    }
    all
}

/// How long, after a moment, stretches of both nodes lay over each other.
pub fn overlap(one: &[Stretch], other: &[Stretch], after: Duration) -> Duration {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    pairs
        .filter_map(|(a, b)| {
            let (from, to) = (a.from.max(b.from).max(after), a.to.min(b.to));
            (from <= to).then(|| (to - from).max(LEAST))
        })
        .sum()
}

/// How often the node took the address after a moment.
pub fn takings(stretches: &[Stretch], after: Duration) -> u32 {
    let taken = stretches.iter().filter(|s| s.from > after).count();
    u32::try_from(taken).unwrap_or(u32::MAX)
}

/// Whether the last look at both nodes saw both hold it.
pub fn still_two(one: &[Sample], other: &[Sample]) -> bool {
    [one, other]
        .iter()
        .all(|samples| samples.last().is_some_and(|s| s.holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A sample every 4 ms; `x` holds.
    fn samples(first: u64, marks: &str) -> Vec<Sample> {
        let at = (first..).step_by(4);
        let sample = |(at, mark)| Sample {
            at: ms(at),
            holds: mark == 'x',
        };
        at.zip(marks.chars()).map(sample).collect()
    }

    fn both(one: &str, other: &str) -> Duration {
        let (one, other) = (samples(0, one), samples(2, other));
        overlap(&stretches(&one), &stretches(&other), ms(0))
    }

    #[test]
    fn a_stretch_runs_from_the_first_to_the_last_sample_that_saw_it() {
        let seen = stretches(&samples(0, "xx..x.xxx"));
        let ends: Vec<_> = seen.iter().map(|s| (s.from, s.to)).collect();
        assert_eq!(ends, [(ms(0), ms(4)), (ms(16), ms(16)), (ms(24), ms(32))]);
    }

    #[test]
    fn a_hand_over_between_two_samples_is_no_overlap() {
        assert_eq!(both("xxx...", "...xxx"), ms(0));
        // One was last seen at 8 ms, the other first at 10.
        assert_eq!(both("xxx...", "..xxxx"), ms(0));
    }

    #[test]
    fn what_both_were_seen_to_hold_counts_from_sample_to_sample() {
        assert_eq!(both("xxxx..", "..xxxx"), ms(2));
        assert_eq!(both("xxxxxx", "xxxxxx"), ms(18));
    }

    #[test]
    fn a_single_sample_inside_the_others_stretch_is_an_overlap() {
        assert_eq!(both("xxxxxx", "..x..."), ms(1));
    }

    #[test]
    fn what_was_before_the_moment_does_not_count() {
        let (one, other) = (samples(0, "xxxxxx"), samples(2, "xxxxxx"));
        let (one, other) = (stretches(&one), stretches(&other));
        assert_eq!(overlap(&one, &other, ms(10)), ms(10));
        assert_eq!(overlap(&one, &other, ms(100)), ms(0));
    }

    #[test]
    fn a_taking_is_a_stretch_that_begins_after_the_moment() {
        let seen = stretches(&samples(0, "xx.x..xx"));
        assert_eq!(takings(&seen, ms(1)), 2);
        assert_eq!(takings(&seen, ms(12)), 1);
    }

    #[test]
    fn two_hold_it_still_if_both_do_at_the_end() {
        assert!(still_two(&samples(0, ".x"), &samples(0, "xx")));
        assert!(!still_two(&samples(0, "x."), &samples(0, "xx")));
        assert!(!still_two(&[], &samples(0, "xx")));
    }
}
