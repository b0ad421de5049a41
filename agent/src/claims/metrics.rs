//! What the agent tells Prometheus about its claims, prefix `hamesh_claim_`.
//!
//! Guarantees: every series of a claim exists from the moment the node has a part in it, and is
//! gone when it has none; reading them never waits for the holder's thread, nor it for them.

mod series;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hamesh_claims::Moment;
use hamesh_proto::ids::ClaimId;
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::channels::Refused;
pub use series::ClaimSeries;

/// From a renewal within one machine to one that comes too late for the default lease.
const RENEWAL_BUCKETS: [f64; 10] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35,
];
/// Why a claim began or ceased to be held.
const REASONS: [&str; 7] = [
    "taken",
    "lapsed",
    "fence_lost",
    "yielded",
    "left_group",
    "stopping",
    "break_glass",
];

/// Handles of every series about claims.
#[derive(Debug)]
pub struct ClaimMetrics {
    registry: Registry,
    each: EachClaim,
    /// Announcements of held addresses that were sent.
    pub announcements: IntCounter,
    /// What others changed and the agent put right, by step.
    pub put_right: IntCounterVec,
    /// Lease datagrams sent.
    pub sent: IntCounter,
    /// Lease datagrams that were opened.
    pub opened: IntCounter,
    refused: IntCounterVec,
    /// What the log or the disk was not told because it was behind.
    pub words_dropped: IntCounter,
    /// 1 while the holder's thread has real-time priority and locked memory.
    pub fit: IntGauge,
    /// 1 while the fence is loaded, or nothing is to be fenced.
    pub fence_loaded: IntGauge,
    deadlines: Mutex<BTreeMap<ClaimId, Arc<AtomicU64>>>,
}

impl ClaimMetrics {
    /// All series that belong to no claim, at zero.
    ///
    /// # Errors
    /// `prometheus`' own when two series clash, which would be a defect of this module.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("hamesh_claim".to_owned()), None)?;
        let new = Registering(&registry);
        let metrics = Self {
            each: EachClaim::new(&new)?,
            announcements: new.counter(
                "announcements_total",
                "Announcements of held addresses (gratuitous ARP, neighbour advertisements).",
            )?,
            put_right: new.counters(
                "put_right_total",
                "Changes by others to addresses or the fence that were put right, by step.",
                &["step"],
            )?,
            sent: new.counter("datagrams_sent_total", "Lease datagrams sent.")?,
            opened: new.counter("datagrams_opened_total", "Lease datagrams opened.")?,
            refused: new.counters(
                "datagrams_refused_total",
                "Lease datagrams dropped, by reason.",
                &["reason"],
            )?,
            words_dropped: new.counter(
                "words_dropped_total",
                "Words of the holder's thread to the log that found no room.",
            )?,
            fit: new.gauge(
                "holder_fit",
                "1 while the holder's thread has real-time priority and locked memory.",
            )?,
            fence_loaded: new.gauge(
                "fence_loaded",
                "1 while the rules of the fence are loaded, or nothing is to be fenced.",
            )?,
            deadlines: Mutex::default(),
            registry,
        };
        metrics.touch();
        Ok(metrics)
    }

    /// The series of one claim.
    pub fn of(&self, claim: &ClaimId) -> ClaimSeries {
        let label = claim.as_str();
        let transition = |reason| self.each.transitions.with_label_values(&[label, reason]);
        let deadline = Arc::new(AtomicU64::new(0));
        self.deadlines()
            .insert(claim.clone(), Arc::clone(&deadline));
        ClaimSeries {
            holding: self.each.holding.with_label_values(&[label]),
            alone: self.each.alone.with_label_values(&[label]),
            break_glass: self.each.break_glass.with_label_values(&[label]),
            able: self.each.able.with_label_values(&[label]),
            health: self.each.health.with_label_values(&[label]),
            renewals: self.each.renewals.with_label_values(&[label]),
            transitions: REASONS.map(transition),
            lapses: self.each.lapses.with_label_values(&[label]),
            duplicates: self.each.duplicates.with_label_values(&[label]),
            rivals: self.each.rivals.with_label_values(&[label]),
            deadline,
        }
    }

    /// This node has no part in the claim any more.
    pub fn forget(&self, claim: &ClaimId) {
        self.deadlines().remove(claim);
        let label = claim.as_str();
        // What was never there is no loss.
        for gauges in [
            &self.each.holding,
            &self.each.alone,
            &self.each.break_glass,
            &self.each.able,
            &self.each.health,
            &self.each.duplicates,
        ] {
            drop(gauges.remove_label_values(&[label]));
        }
        drop(self.each.remaining.remove_label_values(&[label]));
    }

    /// A datagram was dropped.
    pub fn refused(&self, why: Refused) {
        self.refused.with_label_values(&[why.word()]).inc();
    }

    /// The text that `/metrics` answers, beside the agent's own.
    pub fn render(&self, now: Moment) -> String {
        for (claim, deadline) in self.deadlines().iter() {
            let until = Moment::from_nanos(deadline.load(Ordering::Relaxed));
            let left = until.since(now).as_secs_f64();
            self.each
                .remaining
                .with_label_values(&[claim.as_str()])
                .set(left);
        }
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }

    fn deadlines(&self) -> std::sync::MutexGuard<'_, BTreeMap<ClaimId, Arc<AtomicU64>>> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.fit.set(1);
        self.fence_loaded.set(1);
        for why in Refused::ALL {
            self.refused.with_label_values(&[why.word()]);
        }
        for step in ["close", "remove", "add", "homeless"] {
            self.put_right.with_label_values(&[step]);
        }
    }
}

/// What there is once for each claim.
#[derive(Debug)]
struct EachClaim {
    holding: IntGaugeVec,
    alone: IntGaugeVec,
    break_glass: IntGaugeVec,
    able: IntGaugeVec,
    health: IntGaugeVec,
    remaining: GaugeVec,
    renewals: HistogramVec,
    transitions: IntCounterVec,
    lapses: IntCounterVec,
    duplicates: IntGaugeVec,
    rivals: IntCounterVec,
}

impl EachClaim {
    fn new(new: &Registering<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            holding: new.gauges("holding", "1 while this node holds the claim.")?,
            alone: new.gauges(
                "static_stability",
                "1 while this node holds the claim by the promises of the other members.",
            )?,
            break_glass: new.gauges("break_glass", "1 while the claim is opened by hand here.")?,
            able: new.gauges("able", "1 while the claim's fence can be opened here.")?,
            health: new.gauges(
                "health",
                "How well this node could serve: 2 healthy, 1 degraded, 0 failed.",
            )?,
            remaining: new.add(GaugeVec::new(
                Opts::new(
                    "lease_remaining_seconds",
                    "Time until the claim's fence closes by itself; 0 while not held.",
                ),
                &["claim"],
            )?)?,
            renewals: new.add(HistogramVec::new(
                HistogramOpts::new(
                    "renewal_duration_seconds",
                    "From asking a coordinator for a renewal to its grant.",
                )
                .buckets(RENEWAL_BUCKETS.to_vec()),
                &["claim"],
            )?)?,
            transitions: new.counters(
                "transitions_total",
                "How often the claim was taken and let go here, by reason.",
                &["claim", "reason"],
            )?,
            lapses: new.counters(
                "fence_lapses_total",
                "Fences that closed before they were renewed.",
                &["claim"],
            )?,
            duplicates: new.gauges(
                "duplicates",
                "Others that answered for an address of the claim in the last minute.",
            )?,
            rivals: new.counters(
                "rivals_total",
                "Words of others that spoke as the owner of an address held here.",
                &["claim"],
            )?,
        })
    }
}

struct Registering<'a>(&'a Registry);

impl Registering<'_> {
    fn add<C: Collector + Clone + 'static>(&self, series: C) -> prometheus::Result<C> {
        self.0.register(Box::new(series.clone()))?;
        Ok(series)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), &["claim"])?)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }
}
