//! The promise half at work: answering a holder's ask, its release, and asks for consent.
//!
//! Guarantees that a promise is given only by a member that does not hold, knows the asker's
//! version of the group, and has written the promise down; and a consent only by a peer whose own
//! promise has run out.
//!
//! A member that hears a coordinator itself promises for one time-to-live only: should the holder
//! then die, the claim need not wait for a long promise to end.

use std::time::Duration;

use super::{Action, Member, Part};
use crate::group::Quorum;
use crate::lease;
use crate::message::{Ask, Consent, ConsentAsk, Promise, Release, ToCoordinator, ToPeer};
use crate::reason::PromiseRefusal;
use crate::rules::Rule;
use crate::time::Moment;

impl Member {
    /// Answers the ask of a holder.
    pub(super) fn promise(&mut self, ask: &Ask, now: Moment, out: &mut Vec<Action>) {
        let ruling = match self.refuses(ask, now) {
            Some(why) => Err(why),
            None => Ok(self.promise_for(ask, now)),
        };
        if let Ok(ttl) = ruling {
            let until = lease::grantor_deadline(now, ttl, self.rules);
            self.run.promise_to(&ask.from, ask.id, until, now);
            if self.rules.keeps(Rule::PromisePersistedFirst) {
                out.push(Action::Remember(self.run.clone()));
            }
        }
        let promise = Promise {
            from: self.me.clone(),
            id: ask.id,
            ruling,
        };
        out.push(Action::TellPeer(ask.from.clone(), ToPeer::Promise(promise)));
    }

    fn refuses(&self, ask: &Ask, now: Moment) -> Option<PromiseRefusal> {
        let Some(group) = &self.disk.group else {
            return Some(PromiseRefusal::NotMember);
        };
        if group.version != ask.group && self.rules.keeps(Rule::PromiseNamesGroup) {
            return Some(PromiseRefusal::KnowsGroup(group.version));
        }
        if !group.candidates.contains(&ask.from) || !group.peers.contains(&self.me) {
            return Some(PromiseRefusal::NotMember);
        }
        if let (Part::Holding(hold), true) =
            (&self.part, self.rules.keeps(Rule::HolderPromisesNothing))
        {
            return Some(PromiseRefusal::Holding(hold.grant()));
        }
        if let Some(other) = self
            .run
            .promise(now)
            .filter(|promised| promised.to != ask.from)
        {
            return Some(PromiseRefusal::PromisedTo(other.to.clone()));
        }
        if self.run.consents(now) && self.rules.keeps(Rule::ConsentBinds) {
            return Some(PromiseRefusal::Consented);
        }
        if group.quorum == Quorum::Majority && self.run.quiet(now) {
            return Some(PromiseRefusal::Restarted);
        }
        let over = self.released.as_ref().is_some_and(|(from, upto)| {
            *from == ask.from && upto.session == ask.id.session && ask.id.number <= upto.number
        });
        over.then_some(PromiseRefusal::Released)
    }

    fn promise_for(&self, ask: &Ask, now: Moment) -> Duration {
        let hears = self
            .answered
            .is_some_and(|at| now.since(at) < self.timing.lengthen_after);
        let most = if hears {
            self.timing.ttl
        } else {
            self.timing.longest_word()
        };
        ask.ttl.min(most)
    }

    /// The holder relies on its promise no more.
    pub(super) fn released(&mut self, release: &Release, now: Moment, out: &mut Vec<Action>) {
        if self.run.release(&release.from, release.upto, self.rules) {
            out.push(Action::Remember(self.run.clone()));
            self.next_request = now;
        }
        self.released = Some((release.from.clone(), release.upto));
    }

    /// Answers a coordinator that wants the holder evicted.
    pub(super) fn consent(&mut self, ask: &ConsentAsk, now: Moment, out: &mut Vec<Action>) {
        let ruling = match self.forbids(ask, now) {
            Some(why) => Err(why),
            None => Ok(ask.ttl.min(self.timing.longest_word())),
        };
        if let Ok(ttl) = ruling {
            let until = lease::grantor_deadline(now, ttl, self.rules);
            self.run.consented_until = self.run.consented_until.max(Some(until));
            out.push(Action::Remember(self.run.clone()));
        }
        let (from, epoch, number) = (self.me.clone(), ask.epoch, ask.number);
        let consent = Consent {
            from,
            epoch,
            number,
            ruling,
        };
        out.push(Action::Tell(ToCoordinator::Consent(consent)));
    }

    fn forbids(&self, ask: &ConsentAsk, now: Moment) -> Option<PromiseRefusal> {
        if ask.epoch < self.storing.seen {
            return Some(PromiseRefusal::StaleEpoch(self.storing.seen));
        }
        let Some(group) = self
            .disk
            .group
            .as_ref()
            .filter(|group| group.quorum == Quorum::Majority && group.peers.contains(&self.me))
        else {
            return Some(PromiseRefusal::NotMember);
        };
        if group.version != ask.group {
            return Some(PromiseRefusal::KnowsGroup(group.version));
        }
        if self.run.quiet(now) {
            return Some(PromiseRefusal::Restarted);
        }
        let promised = self.run.promise(now);
        promised
            .filter(|_| self.rules.keeps(Rule::ConsentAfterPromise))
            .map(|promised| PromiseRefusal::PromisedTo(promised.to.clone()))
    }
}
