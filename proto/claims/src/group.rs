//! Who may hold a claim, and whose promises keep it when no coordinator answers.
//!
//! A [`Group`] is one version of that knowledge. Versions are handed out by the grantor, one change
//! at a time; a promise counts only between members that know the same version.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupVersion, NodeName};
use crate::time::Moment;

/// How many of the others must promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Quorum {
    /// Every one: each could take the claim itself.
    All,
    /// More than half: they cannot take it, only consent to its holder's eviction.
    Majority,
}

/// One version of the members of a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Its version.
    pub version: GroupVersion,
    /// The nodes that may hold the claim.
    pub candidates: BTreeSet<NodeName>,
    /// The nodes that promise.
    pub peers: BTreeSet<NodeName>,
    /// How many of the peers must promise.
    pub quorum: Quorum,
}

impl Group {
    /// A claim that any of `members` may hold: each promises to all others.
    #[must_use]
    pub fn exclusive(version: GroupVersion, members: BTreeSet<NodeName>) -> Self {
        Self {
            version,
            candidates: members.clone(),
            peers: members,
            quorum: Quorum::All,
        }
    }

    /// The claim of `worker` on itself, kept by a majority of `peers`.
    #[must_use]
    pub fn worker(version: GroupVersion, worker: &NodeName, peers: BTreeSet<NodeName>) -> Self {
        let candidates = BTreeSet::from([worker.clone()]);
        Self {
            version,
            candidates,
            peers,
            quorum: Quorum::Majority,
        }
    }

    /// Whether its parts go together: whoever could take a claim also promises not to, and a claim
    /// that peers only keep has one candidate.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self.quorum {
            Quorum::All => self.candidates.is_subset(&self.peers),
            Quorum::Majority => self.candidates.len() == 1,
        }
    }

    /// Whether `node` has any part in the claim.
    #[must_use]
    pub fn includes(&self, node: &NodeName) -> bool {
        self.candidates.contains(node) || self.peers.contains(node)
    }

    /// Everyone with a part in the claim.
    pub fn everyone(&self) -> impl Iterator<Item = &NodeName> {
        self.candidates.union(&self.peers)
    }

    /// The peers whose promises `holder` needs, or some of them.
    pub fn promisers<'a>(&'a self, holder: &'a NodeName) -> impl Iterator<Item = &'a NodeName> {
        self.peers.iter().filter(move |peer| *peer != holder)
    }

    /// How many of its promisers `holder` needs at one time.
    #[must_use]
    pub fn needed(&self, holder: &NodeName) -> usize {
        let others = self.promisers(holder).count();
        match self.quorum {
            Quorum::All => others,
            Quorum::Majority => others / 2 + 1,
        }
    }

    /// Until when enough promises stand together, from those that each peer's stands until.
    ///
    /// The only member of a group needs nobody: it may hold until it learns of a joiner.
    #[must_use]
    pub fn promised_until(
        &self,
        holder: &NodeName,
        stands: impl Fn(&NodeName) -> Option<Moment>,
        needed: usize,
    ) -> Option<Moment> {
        let Some(last) = needed.checked_sub(1) else {
            return Some(Moment::END);
        };
        let mut ends: Vec<Moment> = self.promisers(holder).filter_map(stands).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(last).copied()
    }
}

/// A change of the group that is under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The group to come.
    pub next: Group,
    /// Old members that an operator confirmed to be off: nobody waits for them.
    pub fenced: BTreeSet<NodeName>,
}

/// The claim was restored from a backup: members may still follow coordinators of before.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gathering {
    /// Nodes that an operator confirmed to be off: nobody waits for them.
    pub fenced: BTreeSet<NodeName>,
}

/// What must outlive a leader: read by the next one before it begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The group in force.
    pub group: Group,
    /// The change under way.
    pub change: Option<Change>,
    /// The longest time-to-live that a live lease may have.
    pub longest_ttl: Duration,
    /// The worker that was evicted and not readmitted yet.
    pub evicted: Option<NodeName>,
    /// Set since a restore, until every member was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gathering: Option<Gathering>,
}

impl Record {
    /// The record of a claim that nobody has held yet.
    #[must_use]
    pub fn new(group: Group, ttl: Duration) -> Self {
        Self {
            group,
            change: None,
            longest_ttl: ttl,
            evicted: None,
            gathering: None,
        }
    }

    /// What a site that is restored from a backup begins with: every version of the group that
    /// members may know is lower than `least`, and all of them are awaited.
    #[must_use]
    pub fn restored(mut self, least: GroupVersion) -> Self {
        self.group.version = self.group.version.max(least);
        if let Some(change) = &mut self.change {
            change.next.version = self.group.version.next();
        }
        self.gathering = Some(Gathering::default());
        self
    }

    /// The newest version of the group that members are to know.
    #[must_use]
    pub fn newest(&self) -> &Group {
        self.change
            .as_ref()
            .map_or(&self.group, |change| &change.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|n| NodeName::new(n)).collect()
    }

    fn at(n: u64) -> Moment {
        Moment::from_nanos(n)
    }

    #[test]
    fn an_exclusive_group_needs_every_other_member_until_the_first_ends() {
        let group = Group::exclusive(GroupVersion(1), names(&["a", "b", "c"]));
        let a = NodeName::new("a");
        assert_eq!(group.needed(&a), 2);
        let both = |n: &NodeName| Some(at(if n.as_ref() == "b" { 5 } else { 9 }));
        assert_eq!(group.promised_until(&a, both, 2), Some(at(5)));
        let one = |n: &NodeName| (n.as_ref() == "b").then_some(at(5));
        assert_eq!(group.promised_until(&a, one, 2), None);
    }

    #[test]
    fn a_worker_needs_a_majority_of_its_peers() {
        let worker = NodeName::new("w");
        for (peers, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let peers = (0..peers)
                .map(|n| NodeName::new(&format!("p{n}")))
                .collect();
            assert_eq!(
                Group::worker(GroupVersion(1), &worker, peers).needed(&worker),
                needed
            );
        }
    }

    #[test]
    fn the_only_member_needs_nobody_but_a_worker_without_peers_has_no_majority() {
        let a = NodeName::new("a");
        let alone = Group::exclusive(GroupVersion(1), names(&["a"]));
        assert_eq!(
            alone.promised_until(&a, |_| None, alone.needed(&a)),
            Some(Moment::END)
        );
        let worker = Group::worker(GroupVersion(1), &a, BTreeSet::new());
        assert_eq!(worker.promised_until(&a, |_| None, worker.needed(&a)), None);
    }
}
