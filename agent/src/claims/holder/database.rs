//! What a database node is open to while it does not lead.

use std::time::Duration;

use hamesh_proto::ids::ClaimId;

use super::Holder;
use crate::claims::world::{Subject, World};

/// A node that only reads was last seen to do so this long ago at most, or is closed: four looks.
const READS_FOR: Duration = Duration::from_secs(2);

/// What is open without a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Patroni may take part: it does not believe in a leadership of before.
    pub stands_by: bool,
    /// PostgreSQL does nothing but read.
    pub reads: bool,
}

impl Holder {
    /// Opens what may be open without a lease, unless there is one: then the lease alone counts.
    pub(super) fn open_without(&mut self, without: Without, world: &mut impl World) {
        let now = world.now();
        let by_hand = self.by_hand.iter().any(ClaimId::is_database);
        let mut duties = self.duties.values();
        let duty = duties.find(|duty| duty.spec().subject() == Subject::Database);
        if by_hand || duty.is_none_or(|duty| duty.is_open(now)) {
            return;
        }
        // Tried again at the next look; a fence that is not there is loaded meanwhile.
        if without.stands_by {
            drop(world.stand_by());
        }
        if without.reads {
            drop(world.let_read(READS_FOR));
        }
    }
}
