//! Changes of the group, and what must be persisted before it is relied on.
//!
//! Guarantees that there is one change at a time; that a member which joins can hold only after
//! every old member has the new version on its disk (or an operator confirmed that it is off) and
//! the longest promise that it may have given before has run out; and that no lease is longer than
//! the store knows.
//!
//! ```text
//!   in force --change_group--> being persisted --> being learnt by all old members
//!      ^                                               |  all acknowledged, or confirmed fenced
//!      +------- persisted <--- the longest promise <---+
//!                              has run out
//! ```

use std::collections::BTreeSet;

use super::{Action, Grantor, Note, Spec};
use crate::group::{Change, Group, Record};
use crate::ids::{GroupVersion, NodeName};
use crate::lease;
use crate::message::{Hint, HintKind, ToMember};
use crate::rules::Rule;
use crate::time::Moment;

/// Why a change of the group was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// One change at a time.
    #[error(
        "the group is still changing to {0}; nothing was changed: wait, or confirm with --fenced \
         that a member which does not answer is off"
    )]
    Changing(GroupVersion),
    /// First the members of before are awaited.
    #[error(
        "the site was restored, and a member may still follow a coordinator of before; nothing was \
         changed: wait, or confirm with --fenced that a member which does not answer is off"
    )]
    Gathering,
    /// Nobody could hold it.
    #[error("a claim needs at least one candidate; nothing was changed: name one")]
    NoCandidate,
    /// Its promises would not keep it.
    #[error(
        "the candidates of the new group are not among those that promise, or it is of another \
         kind; nothing was changed: build it as the one in force is built"
    )]
    Unsound,
    /// There is no change to confirm anything for.
    #[error("the group is not changing, so nobody waits for {0}; nothing was changed")]
    NotChanging(NodeName),
    /// Nobody waits for that node.
    #[error("{0} is not an old member of the group; nothing was changed: check its name")]
    NotAwaited(NodeName),
}

impl Grantor {
    /// Changes the group to what `next` holds; its version is set here.
    ///
    /// # Errors
    /// When another change is under way, or nobody could hold `next` safely; nothing is changed
    /// then.
    pub fn change_group(
        &mut self,
        mut next: Group,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Result<GroupVersion, ChangeError> {
        if self.gathers() {
            return Err(ChangeError::Gathering);
        }
        if let Some(change) = &self.intent.change {
            return Err(ChangeError::Changing(change.next.version));
        }
        if next.candidates.is_empty() {
            return Err(ChangeError::NoCandidate);
        }
        if next.quorum != self.intent.group.quorum || !next.is_sound() {
            return Err(ChangeError::Unsound);
        }
        next.version = self.intent.group.version.next();
        let version = next.version;
        self.intent.change = Some(Change {
            next,
            fenced: BTreeSet::new(),
        });
        self.decide(now, out);
        Ok(version)
    }

    /// An operator confirms that the old member `node` is off: nobody waits for it any more.
    ///
    /// # Errors
    /// When nobody waits for it; nothing is changed then.
    pub fn confirm_fenced(
        &mut self,
        node: &NodeName,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Result<(), ChangeError> {
        let gathered = self.gathered_not_yet().contains(node);
        if let Some(gathering) = self.intent.gathering.as_mut().filter(|_| gathered) {
            gathering.fenced.insert(node.clone());
            self.decide(now, out);
            return Ok(());
        }
        let awaited = self.intent.group.includes(node);
        let Some(change) = &mut self.intent.change else {
            return Err(ChangeError::NotChanging(node.clone()));
        };
        if !awaited {
            return Err(ChangeError::NotAwaited(node.clone()));
        }
        change.fenced.insert(node.clone());
        self.decide(now, out);
        Ok(())
    }

    /// The members that must be heard first: after a restore, and where the group changes.
    #[must_use]
    pub fn awaited(&self) -> BTreeSet<&NodeName> {
        let mut all = self.gathered_not_yet();
        all.extend(self.unaware());
        all
    }

    /// The old members that have not acknowledged the change of the group.
    fn unaware(&self) -> impl Iterator<Item = &NodeName> {
        let change = self.record.change.as_ref();
        let old = self
            .record
            .group
            .everyone()
            .filter(move |_| change.is_some());
        old.filter(move |node| change.is_some_and(|change| !self.acknowledged_by(node, change)))
    }

    fn acknowledged_by(&self, node: &NodeName, change: &Change) -> bool {
        let knows = self.standings.get(node).map(|standing| standing.group);
        change.fenced.contains(node) || knows >= Some(change.next.version)
    }

    /// Puts the new group in force once no old member can act on the old one.
    pub(super) fn settle_change(&mut self, now: Moment) {
        let Some(change) = &self.record.change else {
            self.acknowledged = None;
            return;
        };
        let all = if self.rules.keeps(Rule::JoinerNeedsAllOld) {
            self.unaware().next().is_none()
        } else {
            self.unaware().count() < self.record.group.everyone().count()
        };
        if !all {
            return;
        }
        let since = *self.acknowledged.get_or_insert(now);
        let longest = self.spec.timing.longest_word().max(self.record.longest_ttl);
        let clear = if self.rules.keeps(Rule::JoinerWaits) {
            lease::grantor_deadline(since, longest, self.rules)
        } else {
            since
        };
        if now >= clear && self.intent.change.as_ref() == Some(change) {
            self.intent.group = change.next.clone();
            self.intent.change = None;
        }
    }

    /// Raises the longest time-to-live before, and lowers it after, leases of that length exist.
    pub(super) fn settle_ttl(&mut self, now: Moment) {
        let ttl = self.spec.timing.ttl;
        if ttl > self.intent.longest_ttl || now >= self.longer_until {
            self.intent.longest_ttl = ttl;
        }
    }

    /// What the site wants from now on. Leases as long as it wanted so far may still be live.
    pub(super) fn configure(&mut self, spec: Spec, now: Moment) {
        if spec.timing.ttl != self.spec.timing.ttl {
            let longest = lease::grantor_deadline(now, self.spec.timing.ttl, self.rules);
            self.longer_until = self.longer_until.max(longest);
        }
        self.spec = spec;
    }

    /// Has what ought to be in the store written, one write at a time.
    pub(super) fn persist(&mut self, out: &mut Vec<Action>) {
        if !self.saving && self.intent != self.record {
            self.saving = true;
            out.push(Action::Persist(self.intent.clone()));
        }
    }

    /// The store has `record`: it is relied on from here.
    pub(super) fn persisted(&mut self, record: Record, now: Moment, out: &mut Vec<Action>) {
        self.saving = false;
        let before = self.record.newest().version;
        let in_force = self.record.group.version;
        let evicted = self.record.evicted.clone();
        let gathered = self.gathers() && record.gathering.is_none();
        self.record = record;
        if gathered {
            self.gathered(now);
        }
        if self.record.group.version > in_force {
            out.push(Action::Note(Note::GroupInForce(self.record.group.version)));
        }
        if self.record.evicted != evicted {
            self.eviction_persisted(out);
        }
        let newest = self.record.newest();
        if newest.version > before {
            let learn = Hint {
                epoch: self.epoch,
                what: HintKind::Learn(newest.clone()),
            };
            let old = self.record.group.everyone().chain(newest.everyone());
            let all: BTreeSet<&NodeName> = old.collect();
            let tell = |to: &NodeName| Action::Tell(to.clone(), ToMember::Hint(learn.clone()));
            out.extend(all.into_iter().map(tell));
        }
    }
}
