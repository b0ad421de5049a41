//! What marking servers tells Prometheus, under `hamesh_agent_`.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::Registering;

/// The series of marks.
#[derive(Clone, Debug)]
pub struct MarkSeries(IntCounterVec);

/// What became of the server of a node that died, or leads the databases no more.
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
            "Servers of this proxy whose node fell silent or leads no more, by what was done.",
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

/// The series of drained servers.
#[derive(Clone, Debug)]
pub struct DrainSeries(IntGaugeVec);

impl DrainSeries {
    /// Registers them.
    pub(crate) fn new(new: &Registering<'_>) -> prometheus::Result<Self> {
        let series = Self(new.int_gauges(
            "proxy_drained_servers",
            "Servers of this proxy whose node is drained, by what they get: nothing new, or all.",
            "gets",
        )?);
        series.nothing();
        series.all();
        Ok(series)
    }

    /// Those that get nothing new.
    pub fn nothing(&self) -> IntGauge {
        self.0.with_label_values(&["nothing"])
    }

    /// Those that get all, as the last ones of their backend.
    pub fn all(&self) -> IntGauge {
        self.0.with_label_values(&["all"])
    }
}
