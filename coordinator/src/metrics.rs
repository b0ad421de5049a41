//! What the coordinator counts, in Prometheus' conventions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hamesh_proto::tls::ListenerCounters;
use prometheus::{
    Encoder as _, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::backup::metrics::BackupMetrics;
use crate::claims::metrics::{ClaimMetrics, LeaseMetrics};
use crate::roles::metrics::RoleMetrics;

/// From a fsync on a fast disk to the store's deadline.
const STORE_BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

const UNWRITTEN: &str = "Calls turned away without an entry in the audit trail, because the caller \
                         had been refused too often.";

/// Every metric family. The names start with `hamesh_coordinator_`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each family's help text is in the constructor")]
pub struct Metrics {
    registry: Registry,
    pub requests: IntCounterVec,
    pub enrolments: IntCounterVec,
    pub events: IntCounterVec,
    pub audit_unwritten: IntCounter,
    pub refused_messages: IntCounterVec,
    rejected_handshakes: IntCounterVec,
    pub store_seconds: HistogramVec,
    pub store_failures: IntCounterVec,
    pub store_healthy: IntGauge,
    pub sessions: IntGauge,
    pub node_state: IntGaugeVec,
    pub certificate_expiry: GaugeVec,
    pub own_certificate_expiry: GaugeVec,
    pub desired_generation: IntGauge,
    pub leader: LeaderMetrics,
    pub key_ring_version: IntGauge,
    pub leases: LeaseMetrics,
    pub claims: ClaimMetrics,
    pub roles: RoleMetrics,
    pub backups: BackupMetrics,
}

/// Who leads.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each family's help text is in the constructor")]
pub struct LeaderMetrics {
    pub epoch: IntGauge,
    pub leading: IntGauge,
    pub coordinators: IntGauge,
}

impl LeaderMetrics {
    fn new(register: &Families<'_>) -> Self {
        Self {
            epoch: register.gauge("epoch", "Epoch of this coordinator's leadership; 0: none."),
            leading: register.gauge(
                "leading",
                "1 while this coordinator leads, by its own count.",
            ),
            coordinators: register.gauge("coordinators", "Coordinators of the site."),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families, at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let register = Families {
            registry: &registry,
        };
        build_info(&register);
        Self {
            requests: register.counters(
                "requests_total",
                "Calls of the API by method and gRPC code.",
                &["method", "code"],
            ),
            enrolments: register.counters(
                "enrolments_total",
                "Attempts to enrol or re-enrol, by result.",
                &["result"],
            ),
            events: register.counters("events_total", "Events recorded, by kind.", &["kind"]),
            audit_unwritten: register.counter("audit_unwritten_total", UNWRITTEN),
            refused_messages: register.counters(
                "refused_messages_total",
                "Messages of agents' sessions that were refused, by reason.",
                &["reason"],
            ),
            rejected_handshakes: register.counters(
                "rejected_handshakes_total",
                "Connections refused before a request, by listener and reason.",
                &["listener", "reason"],
            ),
            store_seconds: register.histograms(
                "store_request_seconds",
                "How long the store took to answer, by operation.",
                &["operation"],
            ),
            store_failures: register.counters(
                "store_failures_total",
                "Calls that the store did not carry out or confirm, by operation.",
                &["operation"],
            ),
            store_healthy: register.gauge(
                "store_healthy",
                "Whether the store answers and has no alarm.",
            ),
            sessions: register.gauge("sessions", "Agents connected now."),
            node_state: register.gauges(
                "node_state",
                "1 for the state that each node is in, 0 for the others.",
                &["node", "state"],
            ),
            certificate_expiry: register.float_gauges(
                "certificate_expiry_seconds",
                "Seconds until the newest certificate of a node's agent expires.",
                &["node"],
            ),
            own_certificate_expiry: register.float_gauges(
                "own_certificate_expiry_seconds",
                "Seconds until the coordinator's own certificates expire.",
                &["certificate"],
            ),
            desired_generation: register
                .gauge("desired_generation", "Generation of the desired state."),
            leader: LeaderMetrics::new(&register),
            key_ring_version: register
                .gauge("gossip_key_ring_version", "Version of the gossip key ring."),
            leases: LeaseMetrics::new(&register),
            claims: ClaimMetrics::new(&register),
            roles: RoleMetrics::new(&register),
            backups: BackupMetrics::new(&register),
            registry: registry.clone(),
        }
    }

    /// Brings the listeners' own counters in.
    pub fn take_listener(&self, listener: &str, counters: &Arc<ListenerCounters>) {
        for (reason, counter) in [
            ("failed", &counters.failed),
            ("timed_out", &counters.timed_out),
            ("over_limit", &counters.over_limit),
            ("accept_error", &counters.accept_errors),
        ] {
            let shown = self
                .rejected_handshakes
                .with_label_values(&[listener, reason]);
            shown.inc_by(counter.load(Ordering::Relaxed).saturating_sub(shown.get()));
        }
    }

    /// The text exposition format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("our families have consistent names and labels");
        String::from_utf8(text).expect("names, help texts and labels are UTF-8")
    }
}

/// Negative when it is over.
pub(crate) fn seconds_until(then_unix_ms: u64, now_unix_ms: u64) -> f64 {
    (then_unix_ms as f64 - now_unix_ms as f64) / 1000.0
}

fn build_info(register: &Families<'_>) {
    let family = register.gauges("build_info", "1, with the version.", &["version"]);
    family.with_label_values(&[crate::version()]).set(1);
}

/// Makes families in a registry. Names and labels are constants, so a clash is a bug of ours.
pub(crate) struct Families<'a> {
    registry: &'a Registry,
}

impl Families<'_> {
    pub(crate) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let family = IntCounterVec::new(options(name, help), labels).expect("a valid family");
        self.registered(family)
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::with_opts(options(name, help)).expect("a valid gauge"))
    }

    pub(crate) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(options(name, help), labels).expect("a valid family"))
    }

    pub(crate) fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.registered(GaugeVec::new(options(name, help), labels).expect("a valid family"))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::from(options(name, help)).buckets(STORE_BUCKETS.to_vec());
        self.registered(HistogramVec::new(options, labels).expect("a valid family"))
    }

    /// A family of one counter.
    pub(crate) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::with_opts(options(name, help)).expect("a valid counter"))
    }

    /// A histogram without labels.
    pub(crate) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.registered(Histogram::with_opts(options).expect("a valid histogram"))
    }

    fn registered<T: prometheus::core::Collector + Clone + 'static>(&self, family: T) -> T {
        self.registry
            .register(Box::new(family.clone()))
            .expect("each name is used once");
        family
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("hamesh_coordinator_{name}"), help)
}
