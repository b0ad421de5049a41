//! Static stability: a holder whom no coordinator answers lives on the promises of the others.
//!
//! Guarantees that such a lease ends with the first promise of those it needs, each counted from
//! when it was asked for; and that promises are released only once the holder relies on a
//! coordinator's word again.
//!
//! The holder begins to ask when three requests in a row stayed unanswered: nearly half of the
//! lease is then left for the others to answer in. It goes on asking the coordinators; its asks are
//! numbered together with its requests, so that one release names all asks sent before it.
//!
//! What it lives on is remembered in `/run` ([`Kept`]): a run of the agent that starts while the
//! promises stand goes on holding, whoever answers. It is forgotten before they are released.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Action, Member, Note, Part};
use crate::ids::{GrantId, NodeName, RequestId};
use crate::lease;
use crate::message::{Ask, Promise, Release, ToPeer};
use crate::reason::Dropped;
use crate::rules::Rule;
use crate::time::Moment;

/// How often a release is repeated: a peer that misses it is bound for up to a long promise.
const RELEASE_REPEATS: u32 = 2;

/// What a holder knows of the others' promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Alone {
    /// Asks up to this one belong to an earlier time alone, and were released.
    after: u64,
    promises: BTreeMap<NodeName, Moment>,
}

/// What a holder that lives on promises remembers for the next run of its agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kept {
    /// The next run goes on with these numbers, so that it can release what this one asked for.
    pub(super) last: RequestId,
    pub(super) grant: GrantId,
    pub(super) ttl: Duration,
    pub(super) leased_until: Moment,
    pub(super) heard: Moment,
    pub(super) alone: Alone,
}

impl Member {
    /// Until when enough of the others promised.
    pub(super) fn kept_until(&self, alone: &Alone) -> Option<Moment> {
        let group = self.disk.group.as_ref()?;
        let needed = group.needed(&self.me);
        let needed = if self.rules.keeps(Rule::PromisesOfAll) {
            needed
        } else {
            needed.saturating_sub(1).max(1)
        };
        group.promised_until(&self.me, |peer| alone.promises.get(peer).copied(), needed)
    }

    /// Asks the others for promises while no coordinator answers, and keeps the fence armed.
    pub(super) fn keep_alone(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Part::Holding(hold) = &mut self.part else {
            return;
        };
        let silence = now.since(hold.heard);
        if silence < lease::lost_after(hold.ttl()) {
            return;
        }
        if hold.alone.is_none() {
            hold.alone = Some(Alone {
                after: self.open.last().number,
                promises: BTreeMap::new(),
            });
            out.push(Action::Note(Note::Alone));
        }
        self.ask(now, out);
        self.rearm(now, out);
    }

    fn ask(&mut self, now: Moment, out: &mut Vec<Action>) {
        let (Part::Holding(hold), Some(group)) = (&self.part, &self.disk.group) else {
            return;
        };
        let Some(alone) = &hold.alone else {
            return;
        };
        let long = now.since(hold.heard) >= self.timing.lengthen_after;
        let ttl = if long {
            self.timing.long_promise.max(hold.ttl())
        } else {
            hold.ttl()
        };
        let enough = now.plus(ttl - lease::retry_interval(ttl));
        let fresh = |peer: &NodeName| alone.promises.get(peer).is_some_and(|end| *end > enough);
        let asked: Vec<NodeName> = group
            .promisers(&self.me)
            .filter(|peer| !fresh(peer))
            .cloned()
            .collect();
        if asked.is_empty() {
            return;
        }
        let ask = Ask {
            from: self.me.clone(),
            id: self.open.send(now),
            group: group.version,
            ttl,
        };
        out.extend(
            asked
                .into_iter()
                .map(|to| Action::TellPeer(to, ToPeer::Ask(ask.clone()))),
        );
    }

    /// Another member answered an ask.
    pub(super) fn promised(&mut self, promise: Promise, now: Moment, out: &mut Vec<Action>) {
        let known = self.open.sent(promise.id);
        let keeps = self.rules.keeps(Rule::FreshAnswersOnly);
        let Some(sent) = known.or((!keeps).then_some(now)) else {
            return;
        };
        let ttl = match promise.ruling {
            Ok(ttl) => ttl,
            Err(why) => {
                out.push(Action::Note(Note::PromiseRefused(promise.from, why)));
                return;
            }
        };
        let until = lease::holder_deadline(sent, now, ttl, self.rules);
        let Part::Holding(hold) = &mut self.part else {
            return;
        };
        let Some(alone) = &mut hold.alone else {
            return;
        };
        if promise.id.number <= alone.after && self.rules.keeps(Rule::ReleaseDropsEarlier) {
            out.push(Action::Note(Note::Dropped(Dropped::NotAsked)));
            return;
        }
        let end = alone.promises.entry(promise.from).or_insert(until);
        *end = until.max(*end);
        self.run.kept = hold.kept(self.open.last());
        self.rearm(now, out);
        out.push(Action::Remember(self.run.clone()));
    }

    /// Relies on promises no more, if it did: what the others are to be told.
    pub(super) fn leave_alone(&mut self, out: &mut Vec<Action>) -> Option<RequestId> {
        let Part::Holding(hold) = &mut self.part else {
            return None;
        };
        hold.alone.as_ref()?;
        if self.rules.keeps(Rule::ReleaseEndsReliance) {
            hold.alone = None;
        }
        if self.run.kept.is_some() && self.rules.keeps(Rule::KeptForgottenFirst) {
            self.run.kept = None;
            out.push(Action::Remember(self.run.clone()));
        }
        Some(self.open.last())
    }

    /// Tells the others that they are free, up to the ask `upto`.
    pub(super) fn tell_released(&mut self, upto: Option<RequestId>, out: &mut Vec<Action>) {
        let Some(upto) = upto else {
            return;
        };
        self.tell_free(upto, out);
        self.freeing = Some((upto, RELEASE_REPEATS));
        if matches!(self.part, Part::Holding(_)) {
            out.push(Action::Note(Note::NoLongerAlone));
        }
    }

    /// Repeats the last release: it names its asks, so it can do no harm to a later promise.
    pub(super) fn free_again(&mut self, out: &mut Vec<Action>) {
        if let Some((upto, left)) = self.freeing.take() {
            self.tell_free(upto, out);
            self.freeing = (left > 1).then(|| (upto, left - 1));
        }
    }

    fn tell_free(&self, upto: RequestId, out: &mut Vec<Action>) {
        let Some(group) = &self.disk.group else {
            return;
        };
        let release = Release {
            from: self.me.clone(),
            upto,
        };
        let tell = |to: &NodeName| Action::TellPeer(to.clone(), ToPeer::Release(release.clone()));
        out.extend(group.promisers(&self.me).map(tell));
    }
}
