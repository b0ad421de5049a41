//! After a restore: whom coordinators of before the backup may still grant to.
//!
//! Guarantees that a restored site extends and grants nothing until every member of the claim's
//! group has it on its disk that it believes no coordinator of before, or an operator confirmed
//! that the node is off; and that whatever was granted before then has run out, was shown live, or
//! was said by all to be held by none, before anything is granted to another.
//!
//! ```text
//!   gathering --each member told, or is confirmed fenced--> persisted --> start-up wait --> vacant
//!       ^  |                                                                  |               ^
//!       +--+ a node tells of a later group than the backup's:                 +-- it is over, +
//!            its members are awaited, too                 or each member's fence is closed
//! ```
//! A holder is refused meanwhile and lives on the promises of all others, under the group of
//! before: so none of them is taught the newest one yet. A coordinator of before that still grants
//! cannot give the claim to a node that has promised, and takes back no lease of one that moved
//! on.
//!
//! The members of the backup's group know the one that followed it, those of that the next: no
//! joiner ever held before all old members had written its group down. So every node that may hold
//! is awaited in the end, whatever the backup knows of it.
//!
//! A fence that is closed stays so: promises only prolong what is held, whatever a coordinator of
//! before answered is dropped, over a restart too, and nobody of this incarnation grants before the
//! wait is over. So it does not matter when a member said it, how long that was under way, or
//! whether the leader of then was succeeded before anything was persisted. A node that an operator
//! confirmed to be off has said nothing: it is waited for. What a leader is told after it had the
//! claim held or vacant, or if it found that all were gathered, counts for nothing.

use std::collections::BTreeSet;

use super::tenure::Tenure;
use super::{Action, Grantor, Moment};
use crate::group::{Group, Record};
use crate::ids::NodeName;
use crate::lease;
use crate::message::Knows;
use crate::reason::VacantReason;
use crate::rules::Rule;

/// What members told since the restore.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Roll {
    /// The nodes that believe no coordinator of before.
    told: BTreeSet<NodeName>,
    /// Of these, the nodes whose fence is closed.
    closed: BTreeSet<NodeName>,
    /// The members of the groups that they know; once all are there, of the backup's, too.
    known: BTreeSet<NodeName>,
}

impl Roll {
    fn knows(&mut self, group: &Group) {
        self.known.extend(group.everyone().cloned());
    }

    fn answered(&mut self, from: NodeName, closed: bool) {
        if closed {
            self.closed.insert(from.clone());
        }
        self.told.insert(from);
    }

    /// Who has a part under `record`, or in a group that a member knows.
    fn members<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = &'a NodeName> {
        let listed = record.group.everyone().chain(record.newest().everyone());
        listed.chain(&self.known)
    }

    /// Who has a part, and has not told that it left the coordinators of before.
    fn awaited<'a>(&'a self, record: &'a Record) -> BTreeSet<&'a NodeName> {
        let Some(gathering) = &record.gathering else {
            return BTreeSet::new();
        };
        let there =
            |node: &&NodeName| self.told.contains(*node) || gathering.fenced.contains(*node);
        self.members(record).filter(|node| !there(node)).collect()
    }

    fn all_closed(&self, record: &Record) -> bool {
        self.members(record).all(|node| self.closed.contains(node))
    }
}

impl Grantor {
    /// Whether nothing is extended or granted yet, since a member may follow a coordinator of
    /// before the restore.
    pub(super) fn gathers(&self) -> bool {
        self.record.gathering.is_some() && self.rules.keeps(Rule::RestoredGathersAll)
    }

    /// Whether `node` may still hold by a coordinator of before that it follows no more.
    pub(super) fn may_be_open(&self, node: &NodeName) -> bool {
        let roll = self.roll.as_ref().filter(|_| self.waits());
        roll.is_some_and(|it| it.known.contains(node) && !it.closed.contains(node))
    }

    pub(super) fn told(&mut self, knows: Knows) {
        let closed = knows.closed || !self.rules.keeps(Rule::ClosedSaidByAll);
        let Some(roll) = &mut self.roll else {
            return;
        };
        if knows.seen.incarnation < self.epoch.incarnation {
            return;
        }
        // Whoever joins once all are there holds by no coordinator of before.
        if let (Some(group), true) = (&knows.group, self.record.gathering.is_some()) {
            roll.knows(group);
        }
        roll.answered(knows.from, closed);
    }

    /// The nodes that are awaited after a restore.
    pub(super) fn gathered_not_yet(&self) -> BTreeSet<&NodeName> {
        let roll = self.roll.as_ref().filter(|_| self.gathers());
        roll.map_or_else(BTreeSet::new, |roll| roll.awaited(&self.record))
    }

    /// Ends the gathering once nobody is awaited. How long leases of before were the backup cannot
    /// know; none is longer than the longest promise. A later leader is to wait as long as this,
    /// but where no fence is open there is no lease.
    pub(super) fn settle_gathering(&mut self) {
        if self.record.gathering.is_none() || !self.gathered_not_yet().is_empty() {
            return;
        }
        self.longer_until = Moment::END;
        self.intent.gathering = None;
        let closed = |roll: &Roll| roll.all_closed(&self.record);
        if !self.roll.as_ref().is_some_and(closed) {
            let longest = self.spec.timing.longest_word();
            self.intent.longest_ttl = self.intent.longest_ttl.max(longest);
        }
    }

    /// The store has it that all are there: what they were granted before runs out from now on.
    pub(super) fn gathered(&mut self, now: Moment) {
        if let Some(roll) = &mut self.roll {
            roll.knows(&self.record.group);
            roll.knows(self.record.newest());
        }
        let longest = self.spec.timing.longest_word().max(self.record.longest_ttl);
        let clear = lease::grantor_deadline(now, longest, self.rules);
        self.longer_until = clear;
        let until = if self.rules.keeps(Rule::StartUpWait) {
            clear
        } else {
            now
        };
        self.tenure = Tenure::Unknown { until };
    }

    /// Waits no longer once all fences are closed. A lease that was shown since is dead: its holder
    /// had asked for more before it lapsed, and drops the answer.
    pub(super) fn settle_closed(&mut self, now: Moment, out: &mut Vec<Action>) {
        let roll = self.roll.as_ref().filter(|_| self.waits());
        if !roll.is_some_and(|roll| roll.known.is_subset(&roll.closed)) {
            return;
        }
        self.longer_until = now;
        let shown = self.tenure.lease().map(|lease| lease.node.clone());
        let why = shown.map_or(VacantReason::NobodyShown, VacantReason::RanOut);
        self.vacate(why, None, out);
    }

    /// Whether all were gathered in this leadership, and leases of before may be live.
    fn waits(&self) -> bool {
        let unproven = match &self.tenure {
            Tenure::Unknown { .. } | Tenure::Shown { .. } => true,
            Tenure::Held(_) | Tenure::Vacant(_) => false,
        };
        unproven && self.record.gathering.is_none()
    }
}
