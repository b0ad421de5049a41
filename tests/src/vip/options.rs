//! The command line of the bench.

use clap::Parser;

use super::case::Case;
use super::rival::Rival;

/// hamesh beside keepalived: the same faults on the same two proxies.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "tests/bench/vip", max_term_width = 100)]
pub struct Options {
    /// Runs of each rival under each case, instead of 15, 5 (other settings) and 3 (of a minute)
    #[arg(long, value_name = "N")]
    pub runs: Option<u32>,
    /// Only these cases: cut,power,...
    #[arg(long, value_delimiter = ',')]
    pub cases: Vec<Case>,
    /// Only these rivals: hamesh,hamesh:200ms,keepalived:1s,keepalived:1s:script,...
    #[arg(long, value_delimiter = ',')]
    pub rivals: Vec<Rival>,
    /// Two runs of each, one of those that take a minute
    #[arg(long, conflicts_with = "runs")]
    pub quick: bool,
    /// Leases from 100 ms to 1 s under cut, loss and load, instead of rivals
    #[arg(long, conflicts_with = "rivals")]
    pub curve: bool,
    /// Keep the records that there are, and run only what is missing
    #[arg(long)]
    pub resume: bool,
    /// Print the tables of the records that there are, and run nothing
    #[arg(long)]
    pub table: bool,
    /// On a proxy: write into this file whether HAProxy has ended
    #[arg(long, value_name = "FILE", hide = true)]
    pub tell: Option<std::path::PathBuf>,
    /// Where the records are
    #[arg(long, value_name = "FILE", default_value = "target/bench/vip.jsonl")]
    pub records: std::path::PathBuf,
}

/// Runs to make of a rival under a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub rival: Rival,
    /// Under which fault.
    pub case: Case,
    /// How often.
    pub runs: u32,
}

impl Options {
    /// All runs to make, those of one rival together, the foreign ones first.
    pub fn wanted(&self) -> Vec<Wanted> {
        let mut rivals = match (&self.rivals[..], self.curve) {
            ([], true) => Rival::curve(),
            ([], false) => Rival::defaults(),
            (given, _) => given.to_vec(),
        };
        rivals.sort_by_key(|rival| !rival.is_foreign());
        let cases: Vec<Case> = match (&self.cases[..], self.curve) {
            ([], true) => Case::CURVE.into(),
            ([], false) => Case::ALL.into(),
            (given, _) => given.to_vec(),
        };
        let pairs = rivals
            .into_iter()
            .flat_map(|rival| cases.iter().map(move |case| (rival, *case)));
        pairs
            .map(|(rival, case)| Wanted {
                rival,
                case,
                runs: self.runs_of(rival, case),
            })
            .filter(|wanted| wanted.runs > 0)
            .collect()
    }

    fn runs_of(&self, rival: Rival, case: Case) -> u32 {
        match (case.runs(rival), self.runs, self.quick) {
            (0, _, _) => 0,
            (_, Some(runs), _) => runs,
            (usual, None, true) => usual.min(if case.is_long() { 1 } else { 2 }),
            (usual, None, false) => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn wanted(words: &str) -> Vec<Wanted> {
        let words = std::iter::once("vip").chain(words.split_whitespace());
        Options::parse_from(words).wanted()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_words_all_rivals_meet_all_their_cases_and_hamesh_is_last() {
        let all = wanted("");
        assert_eq!(all.last().map(|w| w.rival), Some(Rival::HAMESH));
        let cut = all.iter().filter(|w| w.case == Case::Cut);
        assert_eq!(cut.map(|w| w.runs).collect::<Vec<_>>(), [15, 5, 5, 15]);
        assert!(
            !all.iter()
                .any(|w| w.rival.is_foreign() && w.case == Case::CoordinatorGone)
        );
    }

    #[test]
    fn runs_cases_and_rivals_are_chosen_by_name() {
        let some = wanted("--runs 4 --cases power,loss --rivals hamesh:200ms,keepalived:2s");
        let seen: Vec<_> = some
            .iter()
            .map(|w| format!("{} {} {}", w.rival, w.case, w.runs))
            .collect();
        assert_eq!(
            seen,
            [
                "keepalived:2s power 4",
                "keepalived:2s loss 4",
                "hamesh:200ms power 4",
                "hamesh:200ms loss 4"
            ]
        );
    }

    #[test]
    fn a_quick_bench_runs_little_of_all() {
        assert!(
            wanted("--quick")
                .iter()
                .all(|w| w.runs <= if w.case.is_long() { 1 } else { 2 })
        );
    }

    #[test]
    fn a_curve_is_of_leases_under_what_a_lease_decides() {
        let curve = wanted("--curve");
        assert!(
            curve
                .iter()
                .all(|w| Case::CURVE.contains(&w.case) && !w.rival.is_foreign())
        );
        assert_eq!(curve.len(), Rival::curve().len() * Case::CURVE.len());
    }
}
