//! What the agent tells Prometheus about itself, prefix `hamesh_agent_`.
//!
//! Guarantees: every series exists from the start (a counter that never counted reads 0), names
//! and types follow Prometheus' conventions (`promtool check metrics` is clean).
//!
//! Absent: figures of the machine (load, memory, disks): an exporter of its own does that better.

use std::sync::Arc;

use crate::apply_link::series::RoleSeries;
use crate::checks::series::CheckSeries;
use crate::claims::machine::monotonic;
use crate::claims::metrics::ClaimMetrics;
use crate::gossip::series::GossipSeries;
use crate::haproxy::series::{DrainSeries, MarkSeries};
use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Handles of every series. Cheap to use from anywhere behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// When the node's certificate expires, Unix seconds; 0 before there is one.
    pub certificate_expiry: Gauge,
    /// The incarnation of the assignment in force.
    pub assignment_incarnation: IntGauge,
    /// The generation of the assignment in force.
    pub assignment_generation: IntGauge,
    /// Assignments refused, by reason.
    pub assignments_refused: IntCounter,
    /// The version of the gossip key ring in use.
    pub key_ring_version: IntGauge,
    /// 1 while a coordinator holds a session.
    pub session_connected: IntGauge,
    /// Sessions that began.
    pub sessions: IntCounter,
    /// Everything about gossip.
    pub gossip: GossipSeries,
    /// This node's clock minus the median of its peers'.
    pub clock_offset: Gauge,
    /// How many peers that median is of.
    pub clock_peers: IntGauge,
    /// Failed systemd units; NaN when systemd could not be asked.
    pub failed_units: Gauge,
    /// Renewals of the certificate, by result: `ok`, `failed`.
    pub renewals: IntCounterVec,
    /// 1 while what the agent must keep can be written to its state directory.
    pub state_writable: IntGauge,
    /// Everything about health checks.
    pub checks: CheckSeries,
    /// Servers of this node's proxy that were marked down.
    pub marks: MarkSeries,
    /// Servers of this node's proxy whose node is drained.
    pub drains: DrainSeries,
    /// Connections to the metrics port that came to nothing.
    pub connections_refused: IntCounter,
    /// Everything about the node's role.
    pub roles: RoleSeries,
    /// Everything about claims.
    pub claims: Arc<ClaimMetrics>,
}

impl Metrics {
    /// All series at zero.
    ///
    /// # Errors
    /// `prometheus`' own when two series clash, which would be a defect of this module.
    pub fn new(version: &str) -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("hamesh_agent".to_owned()), None)?;
        let new = Registering(&registry);
        let build = new.gauges(
            "build_info",
            "Always 1; the label tells the version.",
            "version",
        )?;
        build.with_label_values(&[version]).set(1.0);
        let metrics = Self {
            certificate_expiry: new.gauge(
                "certificate_expiry_timestamp_seconds",
                "When the node's certificate expires, Unix time; 0 before enrolment.",
            )?,
            assignment_incarnation: new.int_gauge(
                "assignment_incarnation",
                "Incarnation of the assignment in force.",
            )?,
            assignment_generation: new.int_gauge(
                "assignment_generation",
                "Generation of the assignment in force.",
            )?,
            assignments_refused: new.counter(
                "assignments_refused_total",
                "Assignments that were not taken.",
            )?,
            key_ring_version: new.int_gauge(
                "gossip_key_ring_version",
                "Version of the gossip keys in use.",
            )?,
            session_connected: new.int_gauge(
                "session_connected",
                "1 while a coordinator holds a session.",
            )?,
            sessions: new.counter("sessions_total", "Sessions with a coordinator that began.")?,
            gossip: GossipSeries::new(&new)?,
            clock_offset: new.gauge(
                "clock_offset_seconds",
                "This node's clock minus the median of its peers'; positive: ahead.",
            )?,
            clock_peers: new.int_gauge(
                "clock_peers",
                "How many peers the clock offset is the median of.",
            )?,
            failed_units: new.gauge(
                "failed_units",
                "Failed systemd units; NaN when systemd could not be asked.",
            )?,
            renewals: new.counters(
                "renewals_total",
                "Renewals of the node's certificate, by result.",
                "result",
            )?,
            state_writable: new.int_gauge(
                "state_directory_writable",
                "1 while the agent can keep what it is told on disk.",
            )?,
            checks: CheckSeries::new(&new)?,
            marks: MarkSeries::new(&new)?,
            drains: DrainSeries::new(&new)?,
            connections_refused: new.counter(
                "metrics_connections_refused_total",
                "Connections to the metrics port without a proper handshake, or one too many.",
            )?,
            roles: RoleSeries::new(&new)?,
            claims: Arc::new(ClaimMetrics::new()?),
            registry,
        };
        metrics.touch();
        Ok(metrics)
    }

    /// The text that `/metrics` answers.
    pub fn render(&self) -> String {
        let mut text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default();
        text.push_str(&self.claims.render(monotonic()));
        text
    }

    fn touch(&self) {
        self.state_writable.set(1);
        self.failed_units.set(f64::NAN);
        for result in ["ok", "failed"] {
            self.renewals.with_label_values(&[result]);
        }
    }
}

/// Makes a series and registers it.
pub(crate) struct Registering<'a>(&'a Registry);

impl Registering<'_> {
    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        series: C,
    ) -> prometheus::Result<C> {
        self.0.register(Box::new(series.clone()))?;
        Ok(series)
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.add(Gauge::new(name, help)?)
    }

    pub(crate) fn gauges(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<GaugeVec> {
        self.add(GaugeVec::new(Opts::new(name, help), &[label])?)
    }

    pub(crate) fn int_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help)?)
    }

    pub(crate) fn int_gauges(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), &[label])?)
    }

    pub(crate) fn int_gauges_by(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help)?)
    }

    pub(crate) fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), &[label])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hamesh_proto::metrics_http::promtool_complaints;

    #[test]
    fn promtool_finds_nothing_to_complain_of() {
        let metrics = Metrics::new("1.2.3").expect("no two series clash");
        let series = metrics.claims.of(&"vip/edge".parse().expect("a claim"));
        series.lapsed();
        let text = metrics.render();
        assert!(
            text.contains("hamesh_agent_build_info{version=\"1.2.3\"} 1"),
            "{text}"
        );
        assert!(text.contains("hamesh_agent_gossip_rejected_total{reason=\"replayed\"} 0"));
        let said = promtool_complaints(&text).expect("promtool (package prometheus) runs");
        assert!(said.is_empty(), "{said}\n{text}");
    }
}
