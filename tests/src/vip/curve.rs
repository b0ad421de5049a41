//! What a lease costs and brings: its length against the outage after a cut and against moves that
//! nothing called for.
//!
//! Pure. A short lease is soon over when its holder is gone, and sooner over by mistake.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::case::Case;
use super::record::Record;
use super::rival::Rival;
use super::table::{median, runs};

/// Leases beside each other; nothing where fewer than two were measured.
pub fn text(records: &[Record]) -> String {
    let leases: BTreeSet<Rival> = records
        .iter()
        .map(|record| record.rival)
        .filter(|rival| !rival.is_foreign())
        .collect();
    if leases.len() < 2 {
        return String::new();
    }
    let mut text = format!(
        "\nlease against outage and false moves (each minute: one run)\n\
         {:<16} {:>18} {:>20} {:>20}\n",
        "", "cut, ms (max)", "taken under loss", "taken under load"
    );
    for lease in leases {
        let cuts = runs(records, lease, Case::Cut);
        let outages = || cuts.iter().map(|run| run.worst_outage_ms());
        let cut = match median(outages()) {
            Some(median) => format!("{median:.0} ({:.0})", outages().fold(0.0, f64::max)),
            None => "-".to_owned(),
        };
        let [loss, load] = [Case::Loss, Case::Load].map(|case| taken(records, lease, case));
        let _ = writeln!(
            text,
            "{:<16} {cut:>18} {loss:>20} {load:>20}",
            lease.to_string()
        );
    }
    text
}

fn taken(records: &[Record], lease: Rival, case: Case) -> String {
    let runs = runs(records, lease, case);
    if runs.is_empty() {
        return "-".to_owned();
    }
    let taken: u32 = runs.iter().map(|run| run.takings).sum();
    format!("{taken} in {} min", runs.len())
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::super::record::Outcome;
    use super::super::table::tests::{outage, record};
    use super::*;

    #[test]
    fn leases_stand_in_order_with_what_each_brought() {
        let short: Rival = "hamesh:100ms".parse().expect("a rival");
        let long: Rival = "hamesh:1000ms".parse().expect("a rival");
        let moved = Figures {
            takings: 3,
            ..Figures::default()
        };
        let records = [
            outage(long, Case::Cut, 1010.0),
            outage(short, Case::Cut, 95.0),
            record(short, Case::Load, Outcome::Run(moved)),
        ];
        let text = text(&records);
        let at = |words: &str| {
            text.find(words)
                .unwrap_or_else(|| panic!("{words} in\n{text}"))
        };
        assert!(at("hamesh:100ms") < at("hamesh:1000ms"));
        assert!(at("95 (95)") < at("3 in 1 min"));
    }

    #[test]
    fn one_lease_is_no_curve() {
        assert_eq!(text(&[outage(Rival::HAMESH, Case::Cut, 300.0)]), "");
    }
}
