//! What all runs came to, as text: a table for each case.
//!
//! Pure. A figure over several runs is its median and its largest.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::case::Case;
use super::figures::Figures;
use super::record::{Idle, Outcome, Record, Weight};
use super::rival::Rival;

/// The middle of some figures; of an even number the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(*upper);
    }
    values
        .get(middle.checked_sub(1)?)
        .map(|lower| (lower + upper) / 2.0)
}

/// The figures of all measured runs of a rival under a case.
pub fn runs(records: &[Record], rival: Rival, case: Case) -> Vec<&Figures> {
    let wanted = records
        .iter()
        .filter(|r| r.rival == rival && r.case == case);
    wanted
        .filter_map(|record| match &record.outcome {
            Outcome::Run(figures) => Some(figures),
            Outcome::Idle(_) | Outcome::SetAside(_) | Outcome::Failed(_) => None,
        })
        .collect()
}

/// The same with those that were set aside: what must never be is not excused by anything.
pub fn every_run(records: &[Record], rival: Rival, case: Case) -> Vec<&Figures> {
    let aside = records.iter().filter_map(|record| match &record.outcome {
        Outcome::SetAside(figures) if record.rival == rival && record.case == case => Some(figures),
        Outcome::SetAside(_) | Outcome::Run(_) | Outcome::Idle(_) | Outcome::Failed(_) => None,
    });
    runs(records, rival, case)
        .into_iter()
        .chain(aside)
        .collect()
}

/// What the daemon cost while idle, each time that it was weighed.
pub fn idles(records: &[Record], rival: Rival) -> Vec<&Idle> {
    let wanted = records.iter().filter(|r| r.rival == rival);
    wanted
        .filter_map(|record| match &record.outcome {
            Outcome::Idle(idle) => Some(idle),
            Outcome::Run(_) | Outcome::SetAside(_) | Outcome::Failed(_) => None,
        })
        .collect()
}

/// All tables.
pub fn all(records: &[Record]) -> String {
    let rivals: BTreeSet<Rival> = records.iter().map(|record| record.rival).collect();
    let mut text = machine(records);
    for case in Case::ALL.into_iter().filter(|case| *case != Case::Idle) {
        let rows: String = rivals
            .iter()
            .filter_map(|r| row(records, *r, case))
            .collect();
        if !rows.is_empty() {
            let _ = write!(text, "\n{} [{case}]\n{}{rows}", case.title(), heading());
        }
    }
    let rows: String = rivals
        .iter()
        .map(|rival| idle_rows(records, *rival))
        .collect();
    if !rows.is_empty() {
        let _ = write!(text, "\n{} [{}]\n", Case::Idle.title(), Case::Idle);
        let _ = writeln!(
            text,
            "{:<22} {:<8} {:>4} {:>6} {:>8} {:>8} {:>8}",
            "", "", "VIPs", "procs", "CPU %", "PSS MiB", "USS MiB"
        );
        text.push_str(&rows);
    }
    text.push_str(&failures(records));
    text
}

fn machine(records: &[Record]) -> String {
    let loads: Vec<f64> = records.iter().map(|r| r.machine.load).collect();
    let pressures = records.iter().filter_map(|r| r.machine.pressure);
    let processors = records.iter().map(|r| r.machine.processors).max();
    let mut text = format!(
        "{} runs on {} processors; load average when a run began: median {:.2}, largest {:.2}",
        records.len(),
        processors.unwrap_or_default(),
        median(loads.iter().copied()).unwrap_or_default(),
        loads.iter().copied().fold(0.0, f64::max),
    );
    if let Some(pressure) = median(pressures) {
        let _ = write!(text, "; CPU pressure (some, 10 s): median {pressure:.1} %");
    }
    text.push('\n');
    text
}

fn heading() -> String {
    format!(
        "{:<22} {:>4} {:>19} {:>21} {:>7} {:>17} {:>6}  {}\n",
        "",
        "runs",
        "outage ms (max)",
        "two holders ms (max)",
        "in runs",
        "dark after heal",
        "taken",
        "beside"
    )
}

/// One rival under one case; nothing where it has no run.
fn row(records: &[Record], rival: Rival, case: Case) -> Option<String> {
    let runs = runs(records, rival, case);
    if runs.is_empty() {
        return None;
    }
    let outage = spread(runs.iter().map(|run| run.worst_outage_ms()));
    let two = spread(runs.iter().map(|run| run.two_holders_ms()));
    let with_two = runs.iter().filter(|run| run.two_holders_ms() > 0.0).count();
    let dark: Vec<u32> = runs
        .iter()
        .filter_map(|run| run.unanswered_after_heal)
        .collect();
    let dark = match (dark.len(), dark.iter().filter(|dark| **dark > 0).count()) {
        (0, _) => "-".to_owned(),
        (all, runs_with) => format!("{} in {runs_with} of {all}", dark.iter().sum::<u32>()),
    };
    let taken: u32 = runs.iter().map(|run| run.takings).sum();
    Some(format!(
        "{:<22} {:>4} {outage:>19} {two:>21} {with_two:>7} {dark:>17} {taken:>6}  {}\n",
        rival.to_string(),
        runs.len(),
        beside(&runs, case)
    ))
}

/// What else a reader of this row must know.
fn beside(runs: &[&Figures], case: Case) -> String {
    let mut notes = Vec::new();
    let unserved = runs.iter().filter(|run| !run.served_again).count();
    if unserved > 0 {
        notes.push(format!("{unserved} not served before the end of the fault"));
    }
    let never: u32 = runs.iter().map(|run| run.never_recovered).sum();
    if never > 0 {
        notes.push(format!("{never} clients NEVER served again"));
    }
    let recoveries: Vec<f64> = runs.iter().filter_map(|run| run.recovery_ms).collect();
    if recoveries.iter().any(|recovery| *recovery > 0.0) {
        notes.push(format!(
            "after heal {}",
            spread(recoveries.into_iter()).trim()
        ));
    }
    let at_end = runs.iter().filter(|run| run.two_at_end).count();
    if at_end > 0 {
        notes.push(format!("{at_end} with two holders to the end"));
    }
    if case.is_long() {
        let share = median(runs.iter().map(|run| run.answered_share)).unwrap_or_default();
        notes.push(format!("{:.2} % answered", share * 100.0));
    }
    if case == Case::Move {
        let wait = spread(runs.iter().map(|run| run.longest_wait_ms));
        notes.push(format!("longest wait {}", wait.trim()));
        let known = runs.iter().filter_map(|run| run.established);
        let (open, reset) = known.fold((0, 0), |(o, r), e| (o + e.open, r + e.reset));
        notes.push(format!("{reset} of {open} open connections reset"));
    }
    notes.join("; ")
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    match median(values) {
        Some(median) => format!("{median:.0} ({largest:.0})"),
        None => "-".to_owned(),
    }
}

fn idle_rows(records: &[Record], rival: Rival) -> String {
    let mut text = String::new();
    for idle in idles(records, rival) {
        let vips = idle.addresses.to_string();
        for (place, vips, weight) in [
            ("holder", vips.as_str(), idle.holder),
            ("standby", "", idle.standby),
        ] {
            let Weight {
                processes,
                cpu_percent,
                pss_mib,
                uss_mib,
            } = weight;
            let _ = writeln!(
                text,
                "{:<22} {place:<8} {vips:>4} {processes:>6} {cpu_percent:>8.2} {pss_mib:>8.1} \
                 {uss_mib:>8.1}",
                rival.to_string()
            );
        }
    }
    text
}

fn failures(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        let Record {
            rival, case, run, ..
        } = record;
        let _ = match &record.outcome {
            Outcome::Failed(why) => {
                writeln!(text, "\nnot measured: {rival}, {case}, run {run}: {why}")
            }
            Outcome::SetAside(figures) => writeln!(
                text,
                "\nset aside: {rival}, {case}, run {run}: the machine stood still for {:.0} ms; \
                 outage {:.0} ms, two holders {:.0} ms",
                figures.stood_still_ms,
                figures.worst_outage_ms(),
                figures.two_holders_ms()
            ),
            Outcome::Run(_) | Outcome::Idle(_) => Ok(()),
        };
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::record::Machine;
    use super::*;

    pub(crate) fn record(rival: Rival, case: Case, outcome: Outcome) -> Record {
        let machine = Machine {
            processors: 2,
            load: 0.5,
            pressure: Some(1.0),
        };
        Record {
            rival,
            case,
            run: 1,
            began: 1,
            machine,
            outcome,
        }
    }

    pub(crate) fn outage(rival: Rival, case: Case, ms: f64) -> Record {
        let figures = Figures {
            outage_ms: vec![ms],
            served_again: true,
            ..Figures::default()
        };
        record(rival, case, Outcome::Run(figures))
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_there() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn each_case_that_was_run_has_a_table_and_no_other() {
        let records = [
            outage(Rival::HAMESH, Case::Cut, 300.0),
            outage(Rival::HAMESH, Case::Cut, 500.0),
            outage(Rival::KEEPALIVED, Case::Cut, 3100.0),
        ];
        let text = all(&records);
        assert!(
            text.contains("400 (500)") && text.contains("3100 (3100)"),
            "{text}"
        );
        assert!(
            text.contains("[cut]") && !text.contains("[power]"),
            "{text}"
        );
    }

    #[test]
    fn a_run_that_never_recovered_or_failed_is_shown_and_not_dropped() {
        let figures = Figures {
            never_recovered: 1,
            unanswered_after_heal: Some(2),
            two_at_end: true,
            ..Figures::default()
        };
        let records = [
            record(Rival::HAMESH, Case::Partition, Outcome::Run(figures)),
            record(
                Rival::HAMESH,
                Case::Cut,
                Outcome::Failed("no holder".into()),
            ),
        ];
        let text = all(&records);
        for wanted in [
            "2 in 1 of 1",
            "1 clients NEVER served again",
            "1 not served before",
            "two holders to the end",
            "not measured: hamesh, cut, run 1: no holder",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }

    #[test]
    fn the_cost_of_an_idle_daemon_is_shown_for_holder_and_standby() {
        let weight = Weight {
            processes: 2,
            cpu_percent: 0.25,
            pss_mib: 7.5,
            uss_mib: 6.0,
        };
        let idle = Idle {
            holder: weight,
            standby: weight,
            addresses: 2,
        };
        let text = all(&[record(Rival::KEEPALIVED, Case::Idle, Outcome::Idle(idle))]);
        assert_eq!(text.matches("0.25").count(), 2, "{text}");
        assert!(text.contains("standby"), "{text}");
    }
}
