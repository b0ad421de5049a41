//! What was felt of each kind of fault. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::sql::Written;

/// One fault, from before it began until all was well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its kind.
    pub kind: &'static str,
    /// When it began, on the clock of the requests.
    pub from: Duration,
    /// When all was well again.
    pub until: Duration,
}

/// What came of requests and rows in all.
#[derive(Clone, Debug)]
pub struct Report {
    /// Every fault.
    pub windows: Vec<Window>,
    /// Requests for the page.
    pub requests: Written,
    /// Rows.
    pub rows: Written,
    /// Rows that were acknowledged and are not there.
    pub lost: usize,
    /// How long two nodes held each claim.
    pub two_holders: BTreeMap<&'static str, Duration>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: BTreeMap<_, Vec<&Window>> =
            self.windows
                .iter()
                .fold(BTreeMap::new(), |mut kinds, window| {
                    kinds
                        .entry(window.kind)
                        .or_insert_with(Vec::new)
                        .push(window);
                    kinds
                });
        writeln!(f, "{:<22} faults  longest outage: page       SQL", "kind")?;
        for (kind, windows) in kinds {
            let longest = |of: &Written| {
                let silences = windows
                    .iter()
                    .map(|it| of.silence_within(it.from, it.until));
                silences.max().unwrap_or_default().as_secs_f64()
            };
            writeln!(
                f,
                "{kind:<22} {:>6}         {:>8.2} s  {:>8.2} s",
                windows.len(),
                longest(&self.requests),
                longest(&self.rows)
            )?;
        }
        for (what, of) in [("requests", &self.requests), ("rows", &self.rows)] {
            writeln!(
                f,
                "{what:<22} {:>8} sent, {:>6} failed",
                of.rows.len(),
                of.failed()
            )?;
        }
        writeln!(f, "acknowledged rows lost {:>8}", self.lost)?;
        for (claim, both) in &self.two_holders {
            writeln!(f, "two held {claim:<13} {:>8} ms", both.as_millis())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Row;

    fn written(acknowledged: &[u64]) -> Written {
        let row = |(number, at): (usize, &u64)| Row {
            number: number as u64,
            sent: Duration::from_secs(*at),
            acknowledged: Some(Duration::from_secs(*at)),
        };
        Written {
            rows: acknowledged.iter().enumerate().map(row).collect(),
            complaints: String::new(),
        }
    }

    #[test]
    fn an_outage_belongs_to_the_faults_that_it_lies_in() {
        let window = |kind, from, until| Window {
            kind,
            from: Duration::from_secs(from),
            until: Duration::from_secs(until),
        };
        let report = Report {
            windows: vec![window("kill", 10, 20), window("cut", 30, 40)],
            requests: written(&[0, 9, 11, 12, 31, 32]),
            rows: written(&[0, 9, 17, 29, 31, 32]),
            lost: 0,
            two_holders: [("vip/edge", Duration::ZERO)].into(),
        };
        let text = report.to_string();
        assert!(
            text.contains("kill                        1            19.00 s     12.00 s"),
            "{text}"
        );
        assert!(
            text.contains("cut                         1            19.00 s      2.00 s"),
            "{text}"
        );
    }
}
