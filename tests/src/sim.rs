//! A seeded simulation of a whole site: the real claims core, everything around it invented.
//!
//! Guarantees that one seed is one run: the same messages, faults and times, whatever machine runs
//! it. Time is virtual; a run of two minutes takes some hundredths of a second.
//!
//! Invented are five nodes with clocks that drift apart by up to 2.8 %, kernels whose fences close
//! up to 20 ms late, three coordinators that run the real election over a store, and a network that
//! loses, repeats, delays and reorders. Faults come at random: crashes, reboots, pauses,
//! partitions, one-way cuts, also between a coordinator and the store, requests to the store that
//! are carried out seconds later, a stalled disk of the store, blank machines in the place of lost
//! ones, a restore from an old backup beside the coordinators of before, group changes, drains,
//! moves, flushed fences, ill health. Then everything is mended, and the site must come to rest.
//!
//! Checked throughout: no two nodes' fences of one claim are open at one instant, no fence opens
//! against the node's own promise, no evicted worker serves, no two coordinators lead at one
//! instant by their own counts. Checked at the end: every claim is held.
//!
//! Absent: datagram sealing and replay protection (the core must stand without them), and a pause
//! of a whole machine with its clock, which no lease survives
//! (`docs/decisions/0010-claims-core.md`).

mod clock;
mod coordinator;
mod faults;
mod fence;
mod network;
mod node;
mod restore;
mod site;
mod store;
mod world;

use hamesh_claims::Rules;

pub use world::{Outcome, World};

/// How a simulation is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which rules the core keeps.
    pub rules: Rules,
    /// Whether every event is written down.
    pub traced: bool,
}

/// Runs one seed to its end, or to the first violation.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    faults::schedule(&mut world);
    restore::schedule(&mut world, seed);
    world.run()
}

/// Runs one seed of a site whose coordinators all stop for forty seconds, ten of its long promises,
/// while agents are restarted, holders' too. Nothing may move, or break off.
#[must_use]
pub fn run_outage(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    faults::schedule_outage(&mut world);
    world.run()
}

/// The first of `seeds` that shows a violation.
#[must_use]
pub fn first_violation(rules: Rules, seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    let options = Options {
        rules,
        traced: false,
    };
    seeds
        .into_iter()
        .find_map(|seed| run(seed, options).violation.map(|what| (seed, what)))
}
