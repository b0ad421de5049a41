//! Looks at the node: load, memory, disks, failed units, interfaces.
//!
//! | module | reads |
//! |---|---|
//! | [`system`] | load, memory, disks, kernel, boot |
//! | [`units`] | failed systemd units, over D-Bus |
//! | [`database`] | whether the node leads the databases, as its Patroni says |
//! | [`interfaces`] | network interfaces and addresses |
//! | [`change`] | nothing: decides what is worth telling (pure) |
//!
//! Guarantees: what could not be read is unknown, never empty; a reading that hangs (a dead disk)
//! holds up nothing but itself.

pub mod change;
pub mod database;
pub mod interfaces;
pub mod system;
pub mod units;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hamesh_proto::v1;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use change::Observed;
use system::{Machine, UsageObserver};
use units::{Units, UnitsObserver};

use crate::gossip::clock::Offset;
use crate::metrics::Metrics;

/// How often interfaces are looked at: an address that moves is news.
const INTERFACES_EVERY: Duration = Duration::from_secs(2);
/// How often load, memory and units are looked at.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// How often disks are looked at.
const DISKS_EVERY: Duration = Duration::from_secs(30);

/// Looks at the node for as long as anyone wants to know.
#[derive(Debug)]
pub struct Observer {
    usage: Option<UsageObserver>,
    units: UnitsObserver,
    cpus: u32,
    offset: watch::Receiver<Option<Offset>>,
    metrics: Arc<Metrics>,
    seen: Observed,
    disks: Vec<v1::Disk>,
    reading_disks: Option<JoinHandle<Vec<v1::Disk>>>,
}

impl Observer {
    /// An observer that reports the clock offset that gossip finds.
    pub fn new(
        machine: &Machine,
        units: UnitsObserver,
        offset: watch::Receiver<Option<Offset>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let usage = UsageObserver::new()
            .inspect_err(|error| tracing::warn!(%error, "load and memory cannot be read"))
            .ok();
        Self {
            usage,
            units,
            cpus: machine.cpus,
            offset,
            metrics,
            seen: Observed::default(),
            disks: Vec::new(),
            reading_disks: None,
        }
    }

    /// Publishes each material change, until nobody listens.
    pub async fn run(mut self, told: watch::Sender<Observed>) {
        let mut told_at = Instant::now();
        let mut interfaces = every(INTERFACES_EVERY);
        let mut health = every(HEALTH_EVERY);
        let mut disks = every(DISKS_EVERY);
        loop {
            tokio::select! {
                () = told.closed() => return,
                _ = disks.tick() => self.read_disks(),
                read = finished(&mut self.reading_disks) => self.disks = read,
                _ = interfaces.tick() => self.read_interfaces(),
                _ = health.tick() => self.read_health().await,
            }
            if let Some(health) = &mut self.seen.health {
                health.disks.clone_from(&self.disks);
            }
            let now = Instant::now();
            let material = change::is_material(&told.borrow(), told_at, &self.seen, now);
            if material {
                told_at = now;
                told.send_replace(self.seen.clone());
            }
        }
    }

    fn read_interfaces(&mut self) {
        match interfaces::read() {
            Ok(interfaces) => self.seen.interfaces = interfaces,
            Err(error) => tracing::warn!(%error, "network interfaces could not be read"),
        }
    }

    async fn read_health(&mut self) {
        let usage = self.usage.as_mut().and_then(|usage| usage.read().ok());
        let (failed_units, units_unknown) = match self.units.read().await {
            Units::Failed(names) => (names, String::new()),
            Units::Unknown(why) => (Vec::new(), why),
        };
        let offset = *self.offset.borrow();
        let failed = if units_unknown.is_empty() {
            count(failed_units.len())
        } else {
            f64::NAN
        };
        self.metrics.failed_units.set(failed);
        self.metrics
            .clock_peers
            .set(offset.map_or(0, |offset| i64::from(offset.peers)));
        self.metrics
            .clock_offset
            .set(offset.map_or(0.0, |offset| seconds(offset.ms)));
        self.seen.health = usage.map(|usage| v1::Health {
            load1: usage.load1,
            cpus: self.cpus,
            memory_total_bytes: usage.memory_total_bytes,
            memory_available_bytes: usage.memory_available_bytes,
            disks: Vec::new(),
            failed_units,
            units_unknown,
            clock_offset_ms: offset.map_or(0, |offset| offset.ms),
            clock_peers: offset.map_or(0, |offset| offset.peers),
            uptime_s: usage.uptime_s,
        });
    }

    /// Reads the disks beside everything else: a disk that hangs must not hang the agent. While
    /// one reading hangs no other is begun.
    fn read_disks(&mut self) {
        if self.reading_disks.is_none() {
            self.reading_disks = Some(tokio::task::spawn_blocking(system::disks));
        }
    }
}

/// Waits for a reading of the disks, if there is one.
async fn finished(reading: &mut Option<JoinHandle<Vec<v1::Disk>>>) -> Vec<v1::Disk> {
    match reading {
        None => std::future::pending().await,
        Some(handle) => {
            let read = handle.await;
            *reading = None;
            read.unwrap_or_default()
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a handful of units; milliseconds of an offset"
)]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an offset of some thousand years is exact enough"
)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_without_a_bus_is_observed_all_the_same() {
        let (_offset, offset) = watch::channel(Some(Offset { ms: -7, peers: 3 }));
        let metrics = Arc::new(Metrics::new("0").expect("no clash"));
        let units = UnitsObserver::at("unix:path=/nonexistent/bus");
        let observer = Observer::new(&Machine::read(), units, offset, Arc::clone(&metrics));
        let (told, mut observed) = watch::channel(Observed::default());
        let running = tokio::spawn(observer.run(told));
        let complete = observed.wait_for(|observed| observed.health.is_some());
        let health = complete
            .await
            .expect("told")
            .health
            .clone()
            .expect("awaited");
        assert!(health.memory_total_bytes > 0);
        assert!(
            health.units_unknown.contains("D-Bus"),
            "{}",
            health.units_unknown
        );
        assert_eq!((health.clock_offset_ms, health.clock_peers), (-7, 3));
        assert!(metrics.failed_units.get().is_nan(), "unknown is not none");
        drop(observed);
        running.await.expect("ends when nobody listens");
    }
}
