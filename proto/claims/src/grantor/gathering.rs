//! After a restore: whom coordinators of before the backup may still grant to.
//!
//! Guarantees that a restored site extends and grants nothing until every member of the claim's
//! group has it on its disk that it believes no coordinator of before, or an operator confirmed
//! that the node is off; and that whatever was granted before then has run out, or was shown live,
//! before anything is granted to another.
//!
//! ```text
//!   gathering --each member told, or is confirmed fenced--> persisted --> start-up wait
//!       ^  |
//!       +--+ a node tells of a later group than the backup's: its members are awaited, too
//! ```
//! A holder is refused meanwhile and lives on the promises of all others, under the group of
//! before: so none of them is taught the newest one yet. A coordinator of before that still grants
//! cannot give the claim to a node that has promised, and takes back no lease of one that moved
//! on.
//!
//! The members of the backup's group know the one that followed it, those of that the next: no
//! joiner ever held before all old members had written its group down. So every node that may hold
//! is awaited in the end, whatever the backup knows of it.

use std::collections::BTreeSet;

use super::tenure::Tenure;
use super::{Grantor, Moment};
use crate::group::{Group, Record};
use crate::ids::NodeName;
use crate::lease;
use crate::message::Knows;
use crate::rules::Rule;

/// What members told since the restore.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Roll {
    /// The nodes that believe no coordinator of before.
    told: BTreeSet<NodeName>,
    /// The members of the groups that they know.
    known: BTreeSet<NodeName>,
}

impl Roll {
    fn answered(&mut self, knows: Knows) {
        self.known
            .extend(knows.group.iter().flat_map(Group::everyone).cloned());
        self.told.insert(knows.from);
    }

    /// Who has a part under `record`, and has not told that it left the coordinators of before.
    fn awaited<'a>(&'a self, record: &'a Record) -> BTreeSet<&'a NodeName> {
        let Some(gathering) = &record.gathering else {
            return BTreeSet::new();
        };
        let groups = [
            Some(&record.group),
            record.change.as_ref().map(|it| &it.next),
        ];
        let members = |group: &'a Group| group.everyone();
        let listed = groups.into_iter().flatten().flat_map(members);
        let all = listed.chain(&self.known);
        let there =
            |node: &&NodeName| self.told.contains(*node) || gathering.fenced.contains(*node);
        all.filter(|node| !there(node)).collect()
    }
}

impl Grantor {
    /// Whether nothing is extended or granted yet, since a member may follow a coordinator of
    /// before the restore.
    pub(super) fn gathers(&self) -> bool {
        self.record.gathering.is_some() && self.rules.keeps(Rule::RestoredGathersAll)
    }

    pub(super) fn told(&mut self, knows: Knows) {
        if knows.seen.incarnation >= self.epoch.incarnation {
            self.roll.answered(knows);
        }
    }

    /// The nodes that are awaited after a restore.
    pub(super) fn gathered_not_yet(&self) -> BTreeSet<&NodeName> {
        if self.gathers() {
            self.roll.awaited(&self.record)
        } else {
            BTreeSet::new()
        }
    }

    /// Ends the gathering once nobody is awaited. How long leases of before were the backup cannot
    /// know; none is longer than the longest promise. A later leader is to wait as long as this.
    pub(super) fn settle_gathering(&mut self) {
        if self.record.gathering.is_some() && self.gathered_not_yet().is_empty() {
            self.intent.gathering = None;
            let longest = self.spec.timing.longest_word();
            self.intent.longest_ttl = self.intent.longest_ttl.max(longest);
            self.longer_until = Moment::END;
        }
    }

    /// The store has it that all are there: what they were granted before runs out from now on.
    pub(super) fn gathered(&mut self, now: Moment) {
        let clear = lease::grantor_deadline(now, self.record.longest_ttl, self.rules);
        self.longer_until = clear;
        let until = if self.rules.keeps(Rule::StartUpWait) {
            clear
        } else {
            now
        };
        self.tenure = Tenure::Unknown { until };
    }
}
