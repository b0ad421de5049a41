//! What the grantor does of itself: wanting the claim back, and offering it.
//!
//! Guarantees that nothing moves on suspicion (only a give-back or an expiry frees the claim), that
//! a claim moves only to a candidate that could take it at this moment, and that it does not go
//! back by itself unless the site asks for that.

use super::tenure::{Offer, Tenure};
use super::{Action, Grantor, Note};
use crate::ids::NodeName;
use crate::lease;
use crate::message::{Health, Hint, HintKind, ToMember};
use crate::reason::{KeepReason, MoveReason};
use crate::time::Moment;

impl Grantor {
    /// Wants the claim back if it ought to move, or offers it if nobody holds it.
    pub(super) fn move_or_offer(&mut self, now: Moment, out: &mut Vec<Action>) {
        let lease = self.tenure.lease();
        let Some(holder) = lease.map(|lease| lease.node.clone()) else {
            self.offer(now, out);
            return;
        };
        self.watch_better(&holder, now);
        let why = self.ought_to_move(&holder, now);
        self.note_kept(&holder, why.is_none(), now, out);
        let every = lease::retry_interval(self.spec.timing.ttl);
        let epoch = self.epoch;
        let Some(lease) = self.tenure.lease_mut() else {
            return;
        };
        let told = lease.yields.take();
        let Some(why) = why else {
            return;
        };
        let again = told
            .as_ref()
            .filter(|(told, _)| *told == why)
            .map(|(_, at)| at.plus(every));
        let due = again.is_none_or(|at| now >= at);
        if again.is_none() {
            out.push(Action::Note(Note::Moving(holder.clone(), why.clone())));
        }
        if due {
            let what = HintKind::GiveBack(lease.grant, why.clone());
            out.push(Action::Tell(holder, ToMember::Hint(Hint { epoch, what })));
        }
        let at = if due {
            now
        } else {
            told.map_or(now, |(_, at)| at)
        };
        lease.yields = Some((why, at));
    }

    fn ought_to_move(&self, holder: &NodeName, now: Moment) -> Option<MoveReason> {
        if !self.record.newest().candidates.contains(holder) {
            return Some(MoveReason::Leaving);
        }
        if self.spec.paused {
            return None;
        }
        let wish = self.wish.as_ref().filter(|to| *to != holder);
        if let Some(to) = wish.filter(|to| self.why_not(to, now).is_none()) {
            return Some(MoveReason::Asked(to.clone()));
        }
        let other = self.best(now, |node| node != holder)?;
        let (health, better) = (self.health(holder), self.health(&other));
        if self.spec.drained.contains(holder) && better < Health::Failed {
            return Some(MoveReason::Drained);
        }
        if better < health {
            return Some(MoveReason::Unhealthy(health));
        }
        let (to, since) = self.better_since.as_ref()?;
        let patience = self.spec.fail_back?;
        (now.since(*since) >= patience).then(|| MoveReason::FailBack(to.clone()))
    }

    /// Since when a node that the site prefers to the holder could have taken the claim.
    fn watch_better(&mut self, holder: &NodeName, now: Moment) {
        let preferred = self.spec.fail_back.and_then(|_| {
            let (place, health) = (self.place(holder), self.health(holder));
            self.best(now, |node| {
                self.place(node) < place && self.health(node) <= health
            })
        });
        self.better_since = preferred.map(|node| match self.better_since.take() {
            Some((known, since)) if known == node => (node, since),
            Some(_) | None => (node, now),
        });
    }

    fn note_kept(&mut self, holder: &NodeName, stays: bool, now: Moment, out: &mut Vec<Action>) {
        let kept = if stays { self.keeps(holder, now) } else { None };
        if kept != self.kept {
            if let Some(why) = kept {
                out.push(Action::Note(Note::Keeps(holder.clone(), why)));
            }
            self.kept = kept;
        }
    }

    /// Why a holder that is drained or unwell keeps the claim all the same.
    pub(super) fn keeps(&self, holder: &NodeName, now: Moment) -> Option<KeepReason> {
        let unwell = self.standings.get(holder).map(|standing| standing.health);
        let unwell = unwell.filter(|health| *health > Health::Healthy);
        let drained = self.spec.drained.contains(holder);
        if self.ought_to_move(holder, now).is_some() || (unwell.is_none() && !drained) {
            None
        } else if self.spec.paused {
            Some(KeepReason::Paused)
        } else if drained {
            Some(KeepReason::NowhereToGo)
        } else {
            unwell.map(KeepReason::LeastBad)
        }
    }

    /// Offers a free claim to the best candidate; to the next best if that one does not ask for it.
    fn offer(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Tenure::Vacant(vacancy) = &self.tenure else {
            return;
        };
        let waits = |offer: &Offer| now < offer.until && self.why_not(&offer.to, now).is_none();
        if vacancy.offer.as_ref().is_some_and(waits) {
            return;
        }
        let exclusive = !vacancy.offered;
        let meant_for = vacancy.meant_for.clone().filter(|_| exclusive);
        let silent = vacancy.offer.as_ref().map(|offer| offer.to.clone());
        if let Some(standing) = silent.and_then(|node| self.standings.get_mut(&node)) {
            standing.passed = Some(now);
        }
        let meant_for = meant_for.filter(|to| self.why_not(to, now).is_none());
        let to = meant_for.or_else(|| self.best(now, |_| true));
        let until = now.plus(lease::retry_interval(self.spec.timing.ttl));
        if let Tenure::Vacant(vacancy) = &mut self.tenure {
            vacancy.offered |= to.is_some();
            vacancy.offer = to.clone().map(|to| Offer {
                to,
                until,
                exclusive,
            });
        }
        if let Some(to) = to {
            let hint = Hint {
                epoch: self.epoch,
                what: HintKind::Ask,
            };
            out.push(Action::Tell(to, ToMember::Hint(hint)));
        }
    }
}
