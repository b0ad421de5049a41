//! What came of each case with each rival. Pure.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::case::Case;
use super::rival::Rival;

/// One run of one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whose cluster it was.
    pub rival: Rival,
    /// What was done to it.
    pub case: Case,
    /// The longest time without an acknowledgement from then on.
    pub outage: Duration,
    /// How long it took until a standby had each commit again.
    pub unsafe_for: Duration,
    /// Rows that were acknowledged.
    pub acknowledged: usize,
    /// Those of them that are not there.
    pub lost: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            outage,
            unsafe_for,
            acknowledged,
            lost,
            ..
        } = self;
        write!(
            f,
            "no write for {:.2} s, on two disks again after {:.1} s, {lost} of {acknowledged} lost",
            outage.as_secs_f64(),
            unsafe_for.as_secs_f64()
        )
    }
}

/// A line for each case: the median and the longest outage of each rival, hamesh's as a share of
/// Patroni's, and the rows that each lost in all runs.
pub fn table(outcomes: &[Outcome], rivals: &[Rival], cases: &[Case]) -> String {
    let mut text = format!("{:<28}", "seconds without a write");
    for rival in rivals {
        write!(text, "{rival:>24}").expect("a String takes everything");
    }
    text += "   hamesh / Patroni   rows lost\n";
    for case in cases {
        write!(text, "{case:<28}").expect("a String takes everything");
        let of = |rival: Rival| {
            let mut outages: Vec<_> = outcomes
                .iter()
                .filter(|it| it.rival == rival && it.case == *case)
                .map(|it| it.outage.as_secs_f64())
                .collect();
            outages.sort_by(f64::total_cmp);
            let median = outages.get(outages.len() / 2).copied();
            median.zip(outages.last().copied())
        };
        for rival in rivals {
            let cell = of(*rival).map_or_else(
                || "-".to_owned(),
                |(median, most)| format!("{median:.2} (most {most:.2})"),
            );
            write!(text, "{cell:>24}").expect("a String takes everything");
        }
        let share = of(Rival::Hamesh).zip(of(Rival::Patroni));
        let share = share.map_or_else(
            || "-".to_owned(),
            |((own, _), (theirs, _))| format!("{:.3}", own / theirs),
        );
        let lost = rivals.iter().map(|rival| {
            let runs = outcomes.iter();
            let runs = runs.filter(|it| it.rival == *rival && it.case == *case);
            runs.map(|it| it.lost).sum::<usize>().to_string()
        });
        let lost = lost.collect::<Vec<_>>().join(" / ");
        writeln!(text, "{share:>19}   {lost}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_median_the_longest_the_share_and_what_was_lost() {
        let outcome = |rival, seconds, lost| Outcome {
            rival,
            case: Case::Power,
            outage: Duration::from_secs(seconds),
            unsafe_for: Duration::ZERO,
            acknowledged: 10,
            lost,
        };
        let outcomes = [
            outcome(Rival::Hamesh, 3, 0),
            outcome(Rival::Hamesh, 2, 0),
            outcome(Rival::Hamesh, 4, 0),
            outcome(Rival::Patroni, 30, 5),
        ];
        let text = table(&outcomes, &[Rival::Hamesh, Rival::Patroni], &[Case::Power]);
        let line = text.lines().last().unwrap_or_default();
        for part in ["3.00 (most 4.00)", "30.00 (most 30.00)", "0.100", "0 / 5"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
