//! The bars that hamesh must pass, judged from the records.
//!
//! Pure. Medians of hamesh with its own settings, beside keepalived with its usual ones in the same
//! records. What was not measured is not passed.

use std::fmt;

use super::case::Case;
use super::figures::Figures;
use super::record::Record;
use super::rival::Rival;
use super::table::{every_run, idles, median, runs};

const OUTAGE_MS: f64 = 350.0;
const SHARE_OF_KEEPALIVED: f64 = 0.15;
const HAPROXY_KILLED_MS: f64 = 50.0;
const MOVE_WAIT_MS: f64 = 20.0;
const IDLE_CPU_PERCENT: f64 = 1.0;
const IDLE_ADDRESSES: u32 = 2;

/// One bar and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What is demanded.
    pub demand: String,
    /// How it stands.
    pub verdict: Verdict,
    /// The figures.
    pub seen: String,
}

/// How a bar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passed.
    Pass,
    /// Failed.
    Fail,
    /// The runs that would tell are missing.
    Unmeasured,
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Unmeasured => "UNMEASURED",
        };
        write!(f, "{verdict:<10} {}: {}", self.demand, self.seen)
    }
}

/// All bars.
pub fn all(records: &[Record]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for case in [Case::Cut, Case::Power] {
        let ours = outages(records, Rival::HAMESH, case);
        let theirs = outages(records, Rival::KEEPALIVED, case);
        bars.push(at_most(
            format!("{case}: median outage at most {OUTAGE_MS} ms"),
            median(ours.iter().copied()),
            OUTAGE_MS,
            "ms",
        ));
        let share = median(ours)
            .zip(median(theirs))
            .map(|(ours, theirs)| ours / theirs);
        bars.push(at_most(
            format!("{case}: at most {SHARE_OF_KEEPALIVED} of keepalived at 1 s"),
            share,
            SHARE_OF_KEEPALIVED,
            "of it",
        ));
    }
    bars.push(at_most(
        format!("HAProxy killed: median outage at most {HAPROXY_KILLED_MS} ms"),
        median(outages(records, Rival::HAMESH, Case::HaproxyKilled)),
        HAPROXY_KILLED_MS,
        "ms",
    ));
    bars.push(planned_move(records));
    bars.push(never_two(records));
    bars.push(none(
        records,
        "no client dark 1 s after a heal",
        // There the outage is unbounded by design, and the heal is a coordinator's start.
        |case| case != Case::CoordinatorGone,
        |run| {
            run.unanswered_after_heal
                .map(|dark| dark + run.never_recovered)
        },
    ));
    for case in Case::ALL.into_iter().filter(|case| case.expects_no_move()) {
        bars.push(none(
            records,
            &format!("{case}: no false move"),
            |other| other == case,
            |run| Some(run.takings),
        ));
    }
    let enough = |idle: &&&super::record::Idle| idle.addresses >= IDLE_ADDRESSES;
    let idle = idles(records, Rival::HAMESH);
    let cpu = idle
        .iter()
        .filter(enough)
        .map(|idle| idle.holder.cpu_percent);
    bars.push(at_most(
        format!("idle with two VIPs: under {IDLE_CPU_PERCENT} % of a core"),
        median(cpu),
        IDLE_CPU_PERCENT - f64::EPSILON,
        "%",
    ));
    bars
}

/// The runs as they are and what is demanded of them, a line each.
pub fn text(records: &[Record]) -> String {
    all(records).iter().map(|bar| format!("{bar}\n")).collect()
}

fn outages(records: &[Record], rival: Rival, case: Case) -> Vec<f64> {
    let figures = runs(records, rival, case).into_iter();
    // A run that was not served again has no figure that could stand for its outage.
    figures
        .map(|run| {
            if run.served_again {
                run.worst_outage_ms()
            } else {
                f64::INFINITY
            }
        })
        .collect()
}

/// A bar that a figure passes up to this limit; unmeasured without one.
pub fn at_most(demand: String, seen: Option<f64>, limit: f64, unit: &str) -> Bar {
    let (verdict, seen) = match seen {
        None => (Verdict::Unmeasured, "no runs".to_owned()),
        Some(seen) if seen <= limit => (Verdict::Pass, format!("{seen:.3} {unit}")),
        Some(seen) => (Verdict::Fail, format!("{seen:.3} {unit}")),
    };
    Bar {
        demand,
        verdict,
        seen,
    }
}

fn planned_move(records: &[Record]) -> Bar {
    let runs = runs(records, Rival::HAMESH, Case::Move);
    let waits = || runs.iter().map(|run| run.longest_wait_ms);
    let demand = format!("planned move: no new connection waits over {MOVE_WAIT_MS} ms");
    let mut bar = at_most(demand, median(waits()), MOVE_WAIT_MS, "ms (median of runs)");
    let over = waits().filter(|wait| *wait > MOVE_WAIT_MS).count();
    let known = runs.iter().filter_map(|run| run.established);
    let (open, reset) = known.fold((0, 0), |(o, r), e| (o + e.open, r + e.reset));
    let count = runs.len();
    bar.seen +=
        &format!(", over it in {over} of {count} runs; {reset} of {open} established ones reset");
    bar
}

fn never_two(records: &[Record]) -> Bar {
    let two = Case::ALL.into_iter().flat_map(|case| {
        let runs = every_run(records, Rival::HAMESH, case).into_iter();
        runs.map(move |run| (case, run.two_holders_ms(), run.two_at_end))
    });
    let two: Vec<_> = two.collect();
    let bad = two.iter().filter(|(_, ms, at_end)| *ms > 0.0 || *at_end);
    let bad: Vec<String> = bad.map(|(case, ms, _)| format!("{case} {ms} ms")).collect();
    let (verdict, seen) = match (two.len(), bad.len()) {
        (0, _) => (Verdict::Unmeasured, "no runs".to_owned()),
        (all, 0) => (Verdict::Pass, format!("0 ms in all {all} runs")),
        (all, some) => (
            Verdict::Fail,
            format!("in {some} of {all} runs: {}", bad.join(", ")),
        ),
    };
    Bar {
        demand: "two holders for exactly 0 ms in every run of every case".to_owned(),
        verdict,
        seen,
    }
}

/// A count that must be zero in every run of hamesh under the wanted cases.
fn none(
    records: &[Record],
    demand: &str,
    wanted: impl Fn(Case) -> bool,
    count: impl Fn(&Figures) -> Option<u32>,
) -> Bar {
    let cases = Case::ALL.into_iter().filter(|case| wanted(*case));
    let counts: Vec<u32> = cases
        .flat_map(|case| runs(records, Rival::HAMESH, case))
        .filter_map(count)
        .collect();
    let sum: u32 = counts.iter().sum();
    let verdict = match (counts.len(), sum) {
        (0, _) => Verdict::Unmeasured,
        (_, 0) => Verdict::Pass,
        (_, _) => Verdict::Fail,
    };
    Bar {
        demand: demand.to_owned(),
        verdict,
        seen: format!("{sum} in {} runs", counts.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Idle, Outcome, Weight};
    use super::super::table::tests::{outage, record};
    use super::*;

    fn verdict(records: &[Record], words: &str) -> Verdict {
        let bars = all(records);
        let found = bars.iter().find(|bar| bar.demand.contains(words));
        found
            .unwrap_or_else(|| panic!("{words} in {bars:?}"))
            .verdict
    }

    fn run(case: Case, change: impl Fn(&mut Figures)) -> Record {
        let mut figures = Figures {
            served_again: true,
            ..Figures::default()
        };
        change(&mut figures);
        record(Rival::HAMESH, case, Outcome::Run(figures))
    }

    #[test]
    fn without_runs_nothing_is_passed() {
        assert!(
            all(&[])
                .iter()
                .all(|bar| bar.verdict == Verdict::Unmeasured)
        );
    }

    #[test]
    fn an_outage_is_judged_alone_and_beside_keepalived() {
        let theirs = outage(Rival::KEEPALIVED, Case::Cut, 3000.0);
        for (ours, alone, beside) in [
            (350.0, Verdict::Pass, Verdict::Pass),
            (351.0, Verdict::Fail, Verdict::Pass),
            (460.0, Verdict::Fail, Verdict::Fail),
        ] {
            let records = [theirs.clone(), outage(Rival::HAMESH, Case::Cut, ours)];
            assert_eq!(verdict(&records, "cut: median outage"), alone);
            assert_eq!(verdict(&records, "cut: at most 0.15"), beside);
        }
    }

    #[test]
    fn a_run_that_was_not_served_again_counts_as_endless() {
        let endless = run(Case::Cut, |figures| figures.served_again = false);
        assert_eq!(verdict(&[endless], "cut: median outage"), Verdict::Fail);
    }

    #[test]
    fn one_run_with_two_holders_fails_however_many_had_none() {
        let mut records = vec![run(Case::Cut, |_| {}); 20];
        assert_eq!(verdict(&records, "two holders"), Verdict::Pass);
        records.push(run(Case::DaemonStopped, |figures| {
            figures.two_by_arp_ms = Some(10.0)
        }));
        assert_eq!(verdict(&records, "two holders"), Verdict::Fail);
    }

    #[test]
    fn a_run_set_aside_counts_for_two_holders_alone() {
        let figures = Figures {
            two_by_address_ms: 1.0,
            never_recovered: 1,
            unanswered_after_heal: Some(1),
            ..Figures::default()
        };
        let aside = record(Rival::HAMESH, Case::Partition, Outcome::SetAside(figures));
        assert_eq!(
            verdict(std::slice::from_ref(&aside), "two holders"),
            Verdict::Fail
        );
        assert_eq!(verdict(&[aside], "dark"), Verdict::Unmeasured);
    }

    #[test]
    fn a_dark_client_or_a_false_move_fails() {
        let dark = run(Case::Partition, |figures| {
            figures.unanswered_after_heal = Some(1)
        });
        assert_eq!(verdict(&[dark], "dark"), Verdict::Fail);
        let well = run(Case::Partition, |figures| {
            figures.unanswered_after_heal = Some(0)
        });
        assert_eq!(verdict(&[well], "dark"), Verdict::Pass);
        let moved = run(Case::Loss, |figures| figures.takings = 1);
        assert_eq!(verdict(&[moved], "loss: no false move"), Verdict::Fail);
        assert_eq!(
            verdict(&[run(Case::Load, |_| {})], "load: no false move"),
            Verdict::Pass
        );
    }

    #[test]
    fn an_idle_agent_is_judged_with_two_addresses_and_under_one_percent() {
        for (cpu_percent, addresses, wanted) in [
            (0.99, 2, Verdict::Pass),
            (1.0, 2, Verdict::Fail),
            (0.5, 1, Verdict::Unmeasured),
        ] {
            let idle = Idle {
                holder: Weight {
                    cpu_percent,
                    ..Weight::default()
                },
                addresses,
                ..Idle::default()
            };
            let records = [record(Rival::HAMESH, Case::Idle, Outcome::Idle(idle))];
            assert_eq!(verdict(&records, "idle"), wanted);
        }
    }

    #[test]
    fn a_move_says_how_many_connections_were_reset() {
        let moved = run(Case::Move, |figures| {
            figures.longest_wait_ms = 4.0;
            figures.established = Some(super::super::figures::Established {
                open: 20,
                reset: 20,
            });
        });
        let bar = all(&[moved])
            .into_iter()
            .find(|bar| bar.demand.contains("planned move"));
        let bar = bar.expect("the bar");
        assert_eq!(bar.verdict, Verdict::Pass);
        assert!(bar.seen.contains("20 of 20 established"), "{bar}");
    }
}
