//! What a grantor answers: to acquire, to renew, to give back.
//!
//! Guarantees that every grant to another node begins in a vacancy; that a renewal extends only
//! what the grantor knows to be that node's, or what nobody else can hold; and that a give-back
//! frees only the grant that it names.

use std::time::Duration;

use super::tenure::{Lease, Tenure};
use super::{Action, Grantor, Note};
use crate::ids::{GrantId, NodeName};
use crate::lease;
use crate::message::Ruling;
use crate::reason::{GrantReason, Ineligible, Refusal, VacantReason};
use crate::rules::Rule;
use crate::time::Moment;

impl Grantor {
    pub(super) fn acquire(
        &mut self,
        from: &NodeName,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Ruling {
        if self.evicted(from) {
            return Ruling::Refused(Refusal::Evicted);
        }
        let trusting = !self.rules.keeps(Rule::AdoptionIsNoProof);
        match &self.tenure {
            Tenure::Unknown { .. } => Ruling::Refused(Refusal::StartingUp),
            Tenure::Shown { lease, .. } if trusting && lease.node == *from => {
                self.grant(from, GrantReason::SameNode, now, out)
            }
            Tenure::Shown { .. } => Ruling::Refused(Refusal::StartingUp),
            Tenure::Held(lease) if lease.node == *from => {
                if self.record.newest().candidates.contains(from) {
                    self.grant(from, GrantReason::SameNode, now, out)
                } else {
                    Ruling::Refused(Refusal::Ineligible(Ineligible::Leaving))
                }
            }
            Tenure::Held(lease) => Ruling::Refused(Refusal::HeldBy(lease.node.clone())),
            Tenure::Vacant(vacancy) => {
                let why = GrantReason::Free(vacancy.why.clone());
                let offered = vacancy
                    .offer
                    .as_ref()
                    .filter(|offer| offer.exclusive && now < offer.until && offer.to != *from);
                let offered = offered.map(|offer| Refusal::OfferedTo(offer.to.clone()));
                let no = self
                    .why_not(from, now)
                    .or_else(|| self.outranked(from, now));
                match no.map(Refusal::Ineligible).or(offered) {
                    Some(refusal) => Ruling::Refused(refusal),
                    None => self.grant(from, why, now, out),
                }
            }
        }
    }

    pub(super) fn renew(
        &mut self,
        from: &NodeName,
        shown: GrantId,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Ruling {
        if self.evicted(from) {
            return Ruling::Refused(Refusal::Evicted);
        }
        match &self.tenure {
            Tenure::Unknown { until } => {
                let until = *until;
                self.adopt(from, shown, Some(until), now, out)
            }
            Tenure::Shown { lease, .. } | Tenure::Held(lease) if lease.node != *from => {
                Ruling::Refused(Refusal::HeldBy(lease.node.clone()))
            }
            Tenure::Shown { lease, .. } | Tenure::Held(lease) if lease.carries(shown) => {
                self.extend(shown, now)
            }
            Tenure::Shown { lease, .. } | Tenure::Held(lease) => {
                Ruling::Refused(Refusal::NotYourGrant(lease.grant))
            }
            Tenure::Vacant(vacancy) => match vacancy.returned {
                Some(returned) if shown <= returned => {
                    Ruling::Refused(Refusal::NotYourGrant(returned))
                }
                Some(_) | None => self.adopt(from, shown, None, now, out),
            },
        }
    }

    pub(super) fn take_back(
        &mut self,
        from: &NodeName,
        grant: GrantId,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Ruling {
        let Some(lease) = self.tenure.lease().filter(|lease| lease.node == *from) else {
            return Ruling::Freed(grant);
        };
        if lease.grant != grant && self.rules.keeps(Rule::GiveBackNamesGrant) {
            return Ruling::Refused(Refusal::NotYourGrant(lease.grant));
        }
        self.vacate(VacantReason::GivenBack(from.clone()), Some(grant), out);
        self.move_or_offer(now, out);
        Ruling::Freed(grant)
    }

    /// For how long a grant is good now: never for longer than the store knows of.
    fn ttl(&self) -> Duration {
        let persisted = self.record.longest_ttl.min(self.intent.longest_ttl);
        if self.rules.keeps(Rule::TtlPersistedFirst) {
            self.spec.timing.ttl.min(persisted)
        } else {
            self.spec.timing.ttl
        }
    }

    fn number(&mut self) -> GrantId {
        self.numbered += 1;
        GrantId {
            epoch: self.epoch,
            number: self.numbered,
        }
    }

    fn grant(
        &mut self,
        to: &NodeName,
        why: GrantReason,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Ruling {
        let (grant, ttl) = (self.number(), self.ttl());
        let deadline = lease::grantor_deadline(now, ttl, self.rules);
        out.push(Action::Note(Note::Granted(to.clone(), grant, why)));
        let before = self.tenure.lease().filter(|lease| lease.node == *to);
        let lease = Lease {
            node: to.clone(),
            grant,
            oldest: before.map_or(grant, |lease| lease.oldest),
            shown: before.and_then(|lease| lease.shown),
            until: before.map_or(deadline, |lease| lease.until.max(deadline)),
            heard: now,
            yields: before.and_then(|lease| lease.yields.clone()),
        };
        self.tenure = Tenure::Held(lease);
        if self.wish.as_ref() == Some(to) {
            self.wish = None;
        }
        Ruling::Granted {
            grant,
            ttl,
            yields: None,
        }
    }

    /// Carries on a lease that `from` shows to be live. If it is not, `from` drops the answer.
    ///
    /// A predecessor may have given it for longer than is given now: it binds for as long as any
    /// lease of a predecessor may.
    fn adopt(
        &mut self,
        from: &NodeName,
        shown: GrantId,
        unproven_until: Option<Moment>,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Ruling {
        let newest = self.record.newest();
        if !newest.candidates.contains(from) && !self.record.group.candidates.contains(from) {
            return Ruling::Refused(Refusal::Ineligible(Ineligible::NotCandidate));
        }
        let (grant, ttl) = (self.number(), self.ttl());
        let until = lease::grantor_deadline(now, ttl, self.rules);
        let until = unproven_until.map_or(until, |clear| clear.max(until));
        let why = GrantReason::ShownLive(shown);
        out.push(Action::Note(Note::Granted(from.clone(), grant, why)));
        let lease = Lease {
            node: from.clone(),
            grant,
            oldest: grant,
            shown: Some(shown),
            until,
            heard: now,
            yields: None,
        };
        self.tenure = match unproven_until {
            Some(until) => Tenure::Shown { lease, until },
            None => Tenure::Held(lease),
        };
        Ruling::Granted {
            grant,
            ttl,
            yields: None,
        }
    }

    /// Extends the lease in force. A number given here proves that its holder lived on it.
    fn extend(&mut self, shown: GrantId, now: Moment) -> Ruling {
        let ttl = self.ttl();
        let until = lease::grantor_deadline(now, ttl, self.rules);
        if let (Tenure::Shown { lease, .. }, true) = (&self.tenure, shown.epoch == self.epoch) {
            self.tenure = Tenure::Held(lease.clone());
        }
        match self.tenure.lease_mut() {
            Some(lease) => {
                lease.until = lease.until.max(until);
                lease.heard = now;
                let yields = lease.yields.as_ref().map(|(why, _)| why.clone());
                Ruling::Granted {
                    grant: lease.grant,
                    ttl,
                    yields,
                }
            }
            None => Ruling::Refused(Refusal::StartingUp),
        }
    }
}
