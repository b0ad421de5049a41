//! A second life of the modelled site, beside the first: one coordinator is restored from a backup
//! of the beginning, while the one of before goes on until all is calm.

use std::sync::Arc;

use hamesh_claims::grantor::Spec;
use hamesh_claims::group::Record;
use hamesh_claims::ids::{Epoch, GroupVersion, NodeName};
use hamesh_claims::message::ToCoordinator;
use hamesh_claims::{Grantor, Moment};

use super::bounds::Bounds;
use super::message::sender;
use super::world::{World, group, index, timing};

/// More changes than the group sees.
const VERSION: GroupVersion = GroupVersion(100);
/// The only leadership of the second life: it does not end.
const EPOCH: Epoch = Epoch {
    incarnation: 2,
    term: 1,
};

/// What is of the second life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restored {
    record: Arc<Record>,
    /// The coordinator that was restored.
    who: usize,
    /// The node that does not hear it yet, nor is heard.
    apart: Option<usize>,
}

impl World {
    /// The coordinator that does not lead is restored; this node does not hear it for a while.
    pub fn restore(&mut self, apart: Option<usize>, bounds: &Bounds) {
        let record = Record::new(group(bounds.members), timing().ttl).restored(VERSION);
        let now = Moment::from_nanos(self.now());
        let (spec, until) = (Spec::new(timing()), Moment::END);
        let grantor = Grantor::lead_with(bounds.rules, EPOCH, spec, record.clone(), until, now);
        let who = 1 - self.who();
        self.grantors[who] = Some(Arc::new(grantor));
        let record = Arc::new(record);
        self.restored = Some(Restored { record, who, apart });
    }

    /// Whether some node does not hear the restored coordinator.
    pub fn is_split(&self) -> bool {
        self.restored.as_ref().is_some_and(|it| it.apart.is_some())
    }

    /// Whether the coordinator `who` is the restored one, and this node does not hear it.
    pub fn is_apart(&self, who: usize, node: &NodeName) -> bool {
        let restored = self.restored.as_ref().filter(|it| it.who == who);
        restored.is_some_and(|it| it.apart == Some(index(node)))
    }

    /// All nodes hear the restored coordinator from now on.
    pub fn meet(&mut self) {
        if let Some(restored) = &mut self.restored {
            restored.apart = None;
        }
    }

    /// The coordinator of before is shown that the site was restored.
    pub fn end_outdated(&mut self) {
        if let Some(restored) = &self.restored {
            let before = 1 - restored.who;
            self.grantors[before] = None;
            self.meet();
        }
    }

    /// Whether the coordinator `who` is the restored one.
    pub fn is_restored(&self, who: usize) -> bool {
        self.restored.as_ref().is_some_and(|it| it.who == who)
    }

    /// What the restored coordinator wants written is in its store.
    pub fn write_restored(&mut self, record: &Record) {
        if let Some(restored) = &mut self.restored {
            restored.record = Arc::new(record.clone());
        }
    }

    /// Whether `node` and the coordinator `who` hear each other; a node tells one of before nothing
    /// more once it has heard of the restored one.
    pub fn hears(&self, message: &ToCoordinator, who: usize) -> bool {
        let seen = match message {
            ToCoordinator::Request(it) => it.seen,
            ToCoordinator::Knows(it) => it.seen,
            ToCoordinator::Consent(it) => it.epoch,
        };
        let outdated = !self.is_restored(who) && seen.incarnation == EPOCH.incarnation;
        !outdated && !self.is_apart(who, sender(message))
    }
}
