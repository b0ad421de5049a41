//! When a check counts as passing or failing: by its results in a row.
//!
//! ```text
//!            success                    `fall` failures in a row
//! Unknown ------------> Passing -------------------------------------> Failing
//!    |                     ^                                              |
//!    |                     +--------- `rise` successes in a row ----------+
//!    +---------------------------- failure --------------------------->  (Failing)
//! ```
//! The first result decides at once: nothing is known that it could contradict. Pure.

/// What the results so far say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streak {
    /// There is none.
    #[default]
    Unknown,
    /// It passes; this many failures in a row came last.
    Passing {
        /// Fewer than `fall`.
        failures: u32,
    },
    /// It fails; this many successes in a row came last.
    Failing {
        /// Fewer than `rise`.
        successes: u32,
    },
}

impl Streak {
    /// What an earlier run found.
    pub fn remembered(passing: bool) -> Self {
        if passing {
            Streak::Passing { failures: 0 }
        } else {
            Streak::Failing { successes: 0 }
        }
    }

    /// Whether the check passes, if that is known.
    pub fn passing(self) -> Option<bool> {
        match self {
            Streak::Unknown => None,
            Streak::Passing { .. } => Some(true),
            Streak::Failing { .. } => Some(false),
        }
    }

    /// What one more result makes of it.
    #[must_use]
    pub fn after(self, success: bool, rise: u32, fall: u32) -> Self {
        match (self, success) {
            (Streak::Unknown, success) => Streak::remembered(success),
            (Streak::Passing { .. }, true) => Streak::Passing { failures: 0 },
            (Streak::Passing { failures }, false) if failures + 1 < fall => Streak::Passing {
                failures: failures + 1,
            },
            (Streak::Passing { .. }, false) => Streak::Failing { successes: 0 },
            (Streak::Failing { .. }, false) => Streak::Failing { successes: 0 },
            (Streak::Failing { successes }, true) if successes + 1 < rise => Streak::Failing {
                successes: successes + 1,
            },
            (Streak::Failing { .. }, true) => Streak::Passing { failures: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a check with `rise` 2 and `fall` 3 says after each result, `+` or `-`.
    fn course(start: Streak, results: &str) -> String {
        let mut streak = start;
        let mut said = String::new();
        for result in results.chars() {
            streak = streak.after(result == '+', 2, 3);
            said.push(match streak.passing() {
                None => '?',
                Some(true) => 'P',
                Some(false) => 'F',
            });
        }
        said
    }

    #[test]
    fn results_in_a_row_decide_and_the_first_at_once() {
        for (results, said) in [
            ("", ""),
            ("+", "P"),
            ("-", "F"),
            ("+--", "PPP"),
            ("+---", "PPPF"),
            ("+--+--", "PPPPPP"),
            ("+--+---", "PPPPPPF"),
            ("-+", "FF"),
            ("-++", "FFP"),
            ("-+-+", "FFFF"),
            ("-+-++", "FFFFP"),
            ("+---++---", "PPPFFPPPF"),
        ] {
            assert_eq!(course(Streak::Unknown, results), said, "{results}");
        }
    }

    #[test]
    fn what_an_earlier_run_found_must_be_contradicted_as_often_as_what_this_one_found() {
        assert_eq!(course(Streak::remembered(true), "---"), "PPF");
        assert_eq!(course(Streak::remembered(false), "++"), "FP");
    }

    #[test]
    fn one_result_is_enough_where_one_is_asked_for() {
        let passing = Streak::remembered(true);
        assert_eq!(passing.after(false, 1, 1), Streak::remembered(false));
        assert_eq!(passing.after(false, 1, 1).after(true, 1, 1), passing);
    }

    proptest! {
        #[test]
        fn invariant_a_check_turns_only_after_enough_results_in_a_row(
            rise in 1..6u32,
            fall in 1..6u32,
            results in prop::collection::vec(any::<bool>(), 1..60),
        ) {
            let mut streak = Streak::Unknown;
            for (i, success) in results.iter().enumerate() {
                let before = streak.passing();
                streak = streak.after(*success, rise, fall);
                let row = results[..=i].iter().rev().take_while(|r| *r == success).count();
                let needed = if *success { rise } else { fall };
                let enough = row >= usize::try_from(needed).expect("small");
                let turned = before.is_some() && before != streak.passing();
                prop_assert_eq!(turned, turned && enough && streak.passing() == Some(*success));
                prop_assert!(!enough || streak.passing() == Some(*success));
            }
        }
    }
}
