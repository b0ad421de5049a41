//! What the grantors count, with counters that a thread may touch without waiting for anyone; and
//! what is shown of claims.

use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::ends::Dropped;
use crate::metrics::Families;

/// From a loaded machine's best to the time-to-live of an ordinary lease.
const ANSWER_BUCKETS: [f64; 10] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.35,
];
/// Around the renewal interval of a lease of 350 ms (50 ms), up to where it has run out.
const RENEWAL_BUCKETS: [f64; 10] = [0.025, 0.04, 0.05, 0.06, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4];

/// What the grantors' thread counts.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each family's help text is in the constructor")]
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

/// What is shown of each claim.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each family's help text is in the constructor")]
pub struct ClaimMetrics {
    pub transitions: IntCounterVec,
    pub holder: IntGaugeVec,
    pub held: IntGaugeVec,
    pub remaining: GaugeVec,
    pub paused: IntGaugeVec,
    pub awaited: IntGaugeVec,
    pub looked_after: IntGauge,
}

impl LeaseMetrics {
    /// All at zero.
    pub(crate) fn new(register: &Families) -> Self {
        let datagrams = register.counters(
            "lease_datagrams_total",
            "Lease datagrams, by what became of them.",
            &["result"],
        );
        let counter = |result: &str| datagrams.with_label_values(&[result]);
        let dropped = Dropped::ALL.map(|reason| (reason, counter(reason.name())));
        Self {
            accepted: counter("accepted"),
            sent: counter("sent"),
            unsent: counter("unsent"),
            unknown_claims: counter("unknown_claim"),
            untold: register.counter(
                "claim_notes_lost_total",
                "Notes of the grantors for which the event log had no room.",
            ),
            answer_seconds: register.histogram(
                "lease_answer_seconds",
                "From taking a lease datagram to having sent what it caused.",
                &ANSWER_BUCKETS,
            ),
            renewal_seconds: register.histogram(
                "lease_renewal_interval_seconds",
                "Between two renewals of one lease, as they arrive.",
                &RENEWAL_BUCKETS,
            ),
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

impl ClaimMetrics {
    /// Nothing shown yet.
    pub(crate) fn new(register: &Families) -> Self {
        Self {
            transitions: register.counters(
                "claim_transitions_total",
                "Times a claim changed hands or was left without a holder, by reason.",
                &["claim", "reason"],
            ),
            holder: register.gauges(
                "claim_holder",
                "1 for the node that holds the claim, as far as the coordinator knows.",
                &["claim", "node"],
            ),
            held: register.gauges(
                "claim_held",
                "1 when somebody holds the claim, 0 when nobody does.",
                &["claim"],
            ),
            remaining: register.float_gauges(
                "claim_lease_remaining_seconds",
                "What is left of the claim's lease, for the grantor.",
                &["claim"],
            ),
            paused: register.gauges("claim_paused", "1 while the claim is paused.", &["claim"]),
            awaited: register.gauges(
                "claim_awaited_members",
                "Members whose acknowledgement of the claim's new group is awaited.",
                &["claim"],
            ),
            looked_after: register.gauge(
                "claims_looked_after",
                "1 when the grantors answered lately, 0 when the gauges of claims are old.",
            ),
        }
    }
}
