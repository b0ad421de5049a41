//! Static stability: a holder whom no coordinator answers lives on the promises of the others.
//!
//! Guarantees that such a lease ends with the first promise of those it needs, each counted from
//! when it was asked for; and that promises are released only once the holder relies on a
//! coordinator's word again.
//!
//! The holder begins to ask when three renewals in a row stayed unanswered: more than half of the
//! lease is then left for the others to answer in. It goes on asking the coordinators; its asks are
//! numbered together with its requests, so that one release names all asks sent before it.

use std::collections::BTreeMap;

use super::{Action, Member, Note, Part};
use crate::ids::{NodeName, RequestId};
use crate::lease;
use crate::message::{Ask, Promise, Release, ToPeer};
use crate::rules::Rule;
use crate::time::Moment;

/// Renewals in a row that stay unanswered before the others are asked.
const UNANSWERED: u32 = 3;

/// What a holder knows of the others' promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Alone {
    promises: BTreeMap<NodeName, Moment>,
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
        if silence < lease::renewal_interval(hold.ttl()) * UNANSWERED {
            return;
        }
        if hold.alone.is_none() {
            hold.alone = Some(Alone::default());
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
        let enough = now.plus(ttl - lease::renewal_interval(ttl));
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
        if let Some(alone) = &mut hold.alone {
            let end = alone.promises.entry(promise.from).or_insert(until);
            *end = until.max(*end);
            self.rearm(now, out);
        }
    }

    /// Relies on promises no more, if it did: what the others are to be told.
    pub(super) fn leave_alone(&mut self) -> Option<RequestId> {
        let Part::Holding(hold) = &mut self.part else {
            return None;
        };
        if self.rules.keeps(Rule::ReleaseEndsReliance) {
            hold.alone.take().map(|_| self.open.last())
        } else {
            hold.alone.as_ref().map(|_| self.open.last())
        }
    }

    /// Tells the others that they are free, up to the ask `upto`.
    pub(super) fn tell_released(&self, upto: Option<RequestId>, out: &mut Vec<Action>) {
        let (Some(upto), Some(group)) = (upto, &self.disk.group) else {
            return;
        };
        let release = Release {
            from: self.me.clone(),
            upto,
        };
        let tell = |to: &NodeName| Action::TellPeer(to.clone(), ToPeer::Release(release.clone()));
        out.extend(group.promisers(&self.me).map(tell));
        if matches!(self.part, Part::Holding(_)) {
            out.push(Action::Note(Note::NoLongerAlone));
        }
    }
}
