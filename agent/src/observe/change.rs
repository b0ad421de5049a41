//! Decides when observed figures have changed enough to be told to the others. Pure.
//!
//! Guarantees: a change of what people act on (failed units, interfaces, a full disk) is told at
//! once; figures that always move (load, memory, clock) are told when they moved by a step, and
//! at most every [`AT_MOST_EVERY`].
//!
//! Idea: each node's facts reach every other node, so that a needless version costs the square of
//! the site's size.

use std::time::{Duration, Instant};

use hamesh_proto::v1;

/// The shortest time between two tellings of figures that always move.
pub const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// A load of a tenth of the CPUs, but not less than this, is a step.
const LOAD_STEP: f64 = 0.25;
/// A step of memory or of a disk, in hundredths of its total.
const ROOM_STEP_PERCENT: u64 = 2;
/// A step of the clock.
const CLOCK_STEP_MS: u64 = 20;

/// What an observer saw, apart from who the node is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Health; `None`: could not look.
    pub health: Option<v1::Health>,
    /// Interfaces.
    pub interfaces: Vec<v1::Interface>,
}

/// Whether `seen` should replace `told`, which was told at `told_at`.
pub fn is_material(told: &Observed, told_at: Instant, seen: &Observed, now: Instant) -> bool {
    told.interfaces != seen.interfaces
        || match (&told.health, &seen.health) {
            (None, None) => false,
            (None, Some(_)) | (Some(_), None) => true,
            (Some(told), Some(seen)) => {
                states_differ(told, seen)
                    || (now.saturating_duration_since(told_at) >= AT_MOST_EVERY
                        && figures_differ(told, seen))
            }
        }
}

fn states_differ(told: &v1::Health, seen: &v1::Health) -> bool {
    told.failed_units != seen.failed_units
        || told.units_unknown.is_empty() != seen.units_unknown.is_empty()
        || told.cpus != seen.cpus
        || told.memory_total_bytes != seen.memory_total_bytes
        || told.disks.len() != seen.disks.len()
        || told
            .disks
            .iter()
            .zip(&seen.disks)
            .any(|(told, seen)| told.mount != seen.mount || told.total_bytes != seen.total_bytes)
}

fn figures_differ(told: &v1::Health, seen: &v1::Health) -> bool {
    let load_step = (f64::from(seen.cpus) / 10.0).max(LOAD_STEP);
    (told.load1 - seen.load1).abs() >= load_step
        || moved(
            told.memory_available_bytes,
            seen.memory_available_bytes,
            seen.memory_total_bytes,
        )
        || told.clock_offset_ms.abs_diff(seen.clock_offset_ms) >= CLOCK_STEP_MS
        || (told.clock_peers == 0) != (seen.clock_peers == 0)
        || told
            .disks
            .iter()
            .zip(&seen.disks)
            .any(|(told, seen)| moved(told.available_bytes, seen.available_bytes, seen.total_bytes))
}

fn moved(told: u64, seen: u64, total: u64) -> bool {
    told.abs_diff(seen) > total / 100 * ROOM_STEP_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Observed {
        let disk = v1::Disk {
            mount: "/".into(),
            total_bytes: 10_000,
            available_bytes: 5_000,
        };
        let health = v1::Health {
            load1: 0.10,
            cpus: 2,
            memory_total_bytes: 1_000_000,
            memory_available_bytes: 500_000,
            disks: vec![disk],
            ..v1::Health::default()
        };
        Observed {
            health: Some(health),
            interfaces: vec![],
        }
    }

    fn told(change: impl FnOnce(&mut v1::Health), after: Duration) -> bool {
        let (before, mut seen) = (quiet(), quiet());
        change(seen.health.as_mut().expect("health"));
        let now = Instant::now();
        is_material(&before, now, &seen, now + after)
    }

    #[test]
    fn a_failed_unit_is_told_at_once() {
        assert!(told(
            |health| health.failed_units.push("a.service".into()),
            Duration::ZERO
        ));
        assert!(told(
            |health| health.units_unknown.push_str("no bus"),
            Duration::ZERO
        ));
    }

    #[test]
    fn an_address_that_moved_is_told_at_once() {
        let (before, mut seen) = (quiet(), quiet());
        seen.interfaces.push(v1::Interface::default());
        let now = Instant::now();
        assert!(is_material(&before, now, &seen, now));
    }

    #[test]
    fn a_figure_that_moved_by_a_step_waits_for_its_turn() {
        let moves: [fn(&mut v1::Health); 4] = [
            |health| health.load1 = 1.0,
            |health| health.memory_available_bytes = 470_000,
            |health| health.disks[0].available_bytes = 4_000,
            |health| health.clock_offset_ms = -40,
        ];
        for change in moves {
            assert!(!told(change, AT_MOST_EVERY - Duration::from_millis(1)));
            assert!(told(change, AT_MOST_EVERY));
        }
    }

    #[test]
    fn a_figure_that_barely_moved_is_never_told() {
        let hour = Duration::from_secs(3600);
        assert!(!told(|health| health.load1 = 0.2, hour));
        assert!(!told(
            |health| health.memory_available_bytes = 510_000,
            hour
        ));
        assert!(!told(|health| health.uptime_s = 3600, hour));
        assert!(!told(
            |health| health.disks[0].available_bytes = 4_900,
            hour
        ));
    }
}
