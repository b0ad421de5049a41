//! Brings the gauges up to date when somebody looks.

use std::sync::atomic::Ordering;

use crate::core::Core;
use crate::liveness::State;
use crate::metrics::seconds_until;

/// The metrics' text of this moment.
pub(super) fn text(core: &Core) -> String {
    let metrics = &core.metrics;
    let world = core.world();
    let integer = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.sessions.set(integer(core.sessions.count() as u64));
    metrics
        .desired_generation
        .set(integer(world.desired.record.generation));
    metrics.key_ring_version.set(integer(world.ring.version()));
    metrics.leader.epoch.set(integer(core.epoch()));
    metrics
        .leader
        .leading
        .set(i64::from(core.leadership.leads()));
    metrics
        .leader
        .coordinators
        .set(integer(world.coordinators.len() as u64));

    // Nodes come and go: what is not in the site any more must not be shown for ever.
    metrics.node_state.reset();
    for (node, verdict) in core.verdicts.borrow().iter() {
        for state in State::ALL {
            let gauge = metrics
                .node_state
                .with_label_values(&[node.as_str(), state.name()]);
            gauge.set(i64::from(verdict.state == state));
        }
    }
    let now_unix_ms = core.clock.unix_ms();
    metrics.certificate_expiry.reset();
    for (node, record) in &world.nodes {
        let newest = record
            .certificates
            .iter()
            .map(|it| it.not_after_unix_ms)
            .max();
        if let Some(newest) = newest {
            let gauge = metrics
                .certificate_expiry
                .with_label_values(&[node.as_str()]);
            gauge.set(seconds_until(newest, now_unix_ms));
        }
    }
    for (certificate, not_after_unix_ms) in [
        ("ca", core.authority.ca().not_after_unix_ms()),
        ("identity", core.live.current().not_after_unix_ms()),
        ("store", core.store_expires_unix_ms.load(Ordering::Relaxed)),
    ] {
        if not_after_unix_ms == 0 {
            continue;
        }
        let gauge = metrics
            .own_certificate_expiry
            .with_label_values(&[certificate]);
        gauge.set(seconds_until(not_after_unix_ms, now_unix_ms));
    }
    metrics.roles.show(core, now_unix_ms);
    metrics.text()
}
