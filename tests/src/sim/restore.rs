//! A site that is restored from a backup while its coordinators of before still run.
//!
//! One coordinator's machine is made blank and begins anew, with a store of its own that holds an
//! older state, under a later incarnation. The others know nothing of it and go on, until a member
//! that follows the restored one speaks to them, or everything is mended: then they are switched
//! off for good.
//!
//! Workers are not evicted in such a run: what an eviction before the backup means to the restored
//! site is for operators to say.

use fastrand::Rng;

use super::clock::MS;
use super::faults::Fault;
use super::site::COORDINATORS;
use super::store::Store;
use super::world::{STORM, What, World};

/// Draws when the backup is made and when it is restored: in one run of four, from a stream of
/// random numbers of its own, so that all other runs are what they were.
pub fn schedule(world: &mut World, seed: u64) {
    let mut rng = Rng::with_seed(seed ^ 0x0052_6573_746f_7265);
    if rng.u32(0..4) > 0 {
        return;
    }
    world.restores = true;
    let backup = rng.u64(2000 * MS..STORM / 2);
    let restore = backup + rng.u64(1..15_000) * MS;
    let who = rng.usize(0..COORDINATORS);
    world.at(backup, What::Fault(Fault::Backup));
    let span = rng.u64(1..2500) * MS;
    world.at(restore, What::Fault(Fault::Restore(who, span)));
}

impl World {
    pub(super) fn back_up(&mut self) {
        self.backup = Some(self.stores[0].records.clone());
    }

    pub(super) fn restore(&mut self, who: usize, span: u64) {
        let Some(records) = self.backup.take() else {
            return;
        };
        self.blank_coordinator(who);
        self.stores.push(Store::restored(records));
        self.coordinators[who].home = self.stores.len() - 1;
        self.at(self.now + span, What::StartCoordinator(who));
    }

    /// Switches off for good what was restored over.
    pub(super) fn switch_off_outdated(&mut self) {
        let latest = self.stores.len() - 1;
        for who in 0..COORDINATORS {
            if self.coordinators[who].home < latest {
                self.kill_coordinator(who);
            }
        }
    }
}
