//! What the grantors count: counters that a thread may touch without waiting for anyone.

use prometheus::{Histogram, IntCounter, IntCounterVec};

use super::ends::Dropped;

/// From a loaded machine's best to the time-to-live of an ordinary lease.
pub const ANSWER_BUCKETS: [f64; 10] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.35,
];
/// Around the renewal interval of a lease of 350 ms (50 ms), up to where it has run out.
pub const RENEWAL_BUCKETS: [f64; 10] = [0.025, 0.04, 0.05, 0.06, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4];

/// See the module.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "each family's help text is in `crate::metrics`"
)]
pub struct LeaseMetrics {
    pub accepted: IntCounter,
    pub sent: IntCounter,
    pub unsent: IntCounter,
    pub untold: IntCounter,
    pub unknown_claims: IntCounter,
    pub answer_seconds: Histogram,
    pub renewal_seconds: Histogram,
    dropped: Vec<(Dropped, IntCounter)>,
}

impl LeaseMetrics {
    /// `datagrams` has the one label `result`.
    pub fn new(
        datagrams: &IntCounterVec,
        untold: IntCounter,
        answer_seconds: Histogram,
        renewal_seconds: Histogram,
    ) -> Self {
        let counter = |result: &str| datagrams.with_label_values(&[result]);
        let dropped = Dropped::ALL.map(|reason| (reason, counter(reason.name())));
        Self {
            accepted: counter("accepted"),
            sent: counter("sent"),
            unsent: counter("unsent"),
            unknown_claims: counter("unknown_claim"),
            untold,
            answer_seconds,
            renewal_seconds,
            dropped: dropped.into(),
        }
    }

    /// Counts a datagram that was dropped.
    pub fn dropped(&self, reason: Dropped) {
        let found = self.dropped.iter().find(|(known, _)| *known == reason);
        if let Some((_, counter)) = found {
            counter.inc();
        }
    }
}
