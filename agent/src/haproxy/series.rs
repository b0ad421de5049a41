//! What marking servers tells Prometheus, under `hamesh_agent_`.

use prometheus::{IntCounter, IntCounterVec};

use crate::metrics::Registering;

/// The series of marks.
#[derive(Clone, Debug)]
pub struct MarkSeries(IntCounterVec);

/// What became of the server of a node that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was marked down.
    Marked,
    /// It is the last of its backend, and was left as it is.
    Spared,
    /// HAProxy could not be told.
    Failed,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Outcome; 3] = [Outcome::Marked, Outcome::Spared, Outcome::Failed];

    /// The value of the label `outcome`.
    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Marked => "marked",
            Outcome::Spared => "spared",
            Outcome::Failed => "failed",
        }
    }
}

impl MarkSeries {
    /// Registers them.
    pub(crate) fn new(new: &Registering<'_>) -> prometheus::Result<Self> {
        let series = Self(new.counters(
            "proxy_marks_total",
            "Servers of this proxy whose node fell silent, by what was done about them.",
            "outcome",
        )?);
        for outcome in Outcome::ALL {
            series.of(outcome);
        }
        Ok(series)
    }

    /// The counter of one.
    pub fn of(&self, outcome: Outcome) -> IntCounter {
        self.0.with_label_values(&[outcome.label()])
    }
}
