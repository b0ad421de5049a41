//! The holder half: taking, prolonging, lapsing and giving back.
//!
//! Guarantees that a lease is believed from the sending of the request that was granted, and only
//! by a member whose own word does not forbid it; that a lapsed lease is never prolonged; and that
//! the fence is closed before anyone hears that the claim was given back.

use std::time::Duration;

use super::{Action, Member, Note, Part};
use crate::ids::{GrantId, RequestId};
use crate::lease;
use crate::member::open::Open;
use crate::member::promises::{Alone, Kept};
use crate::message::Want;
use crate::reason::{CloseReason, Declines, Dropped};
use crate::rules::Rule;
use crate::time::Moment;

/// A claim that is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hold {
    grant: GrantId,
    ttl: Duration,
    /// Until when the coordinators' last answer lets it hold.
    leased_until: Moment,
    /// Until when the kernel lets it serve.
    fence_until: Moment,
    /// When the last renewal that was granted had been sent.
    pub(super) heard: Moment,
    /// Set while no coordinator answers.
    pub(super) alone: Option<Alone>,
}

impl Hold {
    pub(super) const fn grant(&self) -> GrantId {
        self.grant
    }

    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(super) const fn fence_until(&self) -> Moment {
        self.fence_until
    }

    /// A hold whose fence has still to be opened, as the last run of the agent left it.
    pub(super) fn carried(kept: Kept, now: Moment) -> Self {
        Self {
            grant: kept.grant,
            ttl: kept.ttl,
            leased_until: kept.leased_until,
            fence_until: now,
            heard: kept.heard,
            alone: Some(kept.alone),
        }
    }

    /// What the next run of the agent may carry on: nothing that needs a coordinator's word.
    pub(super) fn kept(&self, last: RequestId) -> Option<Kept> {
        self.alone.clone().map(|alone| Kept {
            last,
            grant: self.grant,
            ttl: self.ttl,
            leased_until: self.leased_until,
            heard: self.heard,
            alone,
        })
    }

    /// Promises may stand for long, but they arm the fence for one time-to-live at most.
    fn at_most(&self, now: Moment) -> Moment {
        self.leased_until.max(now.plus(self.ttl))
    }

    pub(super) fn alone_since(&self) -> Option<Moment> {
        self.alone.as_ref().map(|_| self.heard)
    }
}

impl Member {
    /// A coordinator granted a request that was sent at `sent`.
    pub(super) fn granted(
        &mut self,
        grant: GrantId,
        ttl: Duration,
        sent: Moment,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        match &self.part {
            Part::Standby => self.take(grant, ttl, sent, now, out),
            Part::Holding(_) => self.prolong(grant, ttl, sent, now, out),
            Part::Returning { .. } => out.push(Action::Note(Note::Dropped(Dropped::Unwanted))),
        }
    }

    fn take(
        &mut self,
        grant: GrantId,
        ttl: Duration,
        sent: Moment,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        let until = lease::holder_deadline(sent, now, ttl, self.rules);
        let dropped = match self.declines(now) {
            Some(Declines::Promised(_)) => Some(Dropped::Promised),
            Some(Declines::Restarted) => Some(Dropped::Restarted),
            Some(
                Declines::Stopping | Declines::NotCandidate | Declines::NoGroup | Declines::Unable,
            ) => Some(Dropped::Unwanted),
            None => (now >= until).then_some(Dropped::TooLate),
        };
        if let Some(why) = dropped {
            out.push(Action::Note(Note::Dropped(why)));
            return;
        }
        self.part = Part::Holding(Hold {
            grant,
            ttl,
            leased_until: until,
            fence_until: until,
            heard: sent,
            alone: None,
        });
        self.next_request = sent.plus(lease::renewal_interval(ttl));
        out.push(Action::Open { grant, until });
    }

    fn prolong(
        &mut self,
        grant: GrantId,
        ttl: Duration,
        sent: Moment,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        let until = lease::holder_deadline(sent, now, ttl, self.rules);
        let Part::Holding(hold) = &mut self.part else {
            return;
        };
        hold.grant = hold.grant.max(grant);
        hold.ttl = ttl;
        hold.leased_until = hold.leased_until.max(until);
        hold.heard = hold.heard.max(sent);
        // An answer too old to hold by is no coordinator back: the promises are still needed.
        let back = now < until && hold.alone.is_some();
        let released = back.then(|| self.leave_alone(out)).flatten();
        self.calm(sent, now);
        self.rearm(now, out);
        self.tell_released(released, out);
    }

    /// Until when the claim may be held: by a coordinator's word or by the promises of all others.
    pub(super) fn lease_until(&self, now: Moment) -> Option<Moment> {
        let Part::Holding(hold) = &self.part else {
            return None;
        };
        let kept = hold.alone.as_ref().and_then(|alone| self.kept_until(alone));
        let until = kept.map_or(hold.leased_until, |kept| kept.max(hold.leased_until));
        (now < until).then_some(until)
    }

    /// Arms the fence for what is left of the lease.
    pub(super) fn rearm(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Some(lease_until) = self.lease_until(now) else {
            return;
        };
        let Part::Holding(hold) = &mut self.part else {
            return;
        };
        let until = lease_until.min(hold.at_most(now));
        if until != hold.fence_until {
            hold.fence_until = until;
            out.push(Action::Rearm(until));
        }
    }

    /// The fence closed by itself: the end of the lease, unless all others' promises outlast it.
    pub(super) fn close_if_due(&mut self, now: Moment, out: &mut Vec<Action>) {
        match &self.part {
            Part::Holding(hold) if now >= hold.fence_until => {
                self.reopen_or_lapse(CloseReason::Lapsed, now, out);
            }
            Part::Returning { until, .. } if now >= *until => self.returned(now),
            Part::Standby | Part::Holding(_) | Part::Returning { .. } => {}
        }
    }

    /// The kernel's element is gone: what is left of the lease is claimed anew, or nothing is.
    pub(super) fn fence_lost(&mut self, now: Moment, out: &mut Vec<Action>) {
        if matches!(self.part, Part::Holding(_)) {
            self.reopen_or_lapse(CloseReason::FenceLost, now, out);
        }
    }

    /// A fence that closed means a lapsed lease: its holder asks afresh, and is granted at once if
    /// nobody else was. Alone there is nobody to ask, but the promises of all others are proof.
    fn reopen_or_lapse(&mut self, why: CloseReason, now: Moment, out: &mut Vec<Action>) {
        let lease_until = self.lease_until(now);
        out.push(Action::Close(why));
        let Part::Holding(hold) = &mut self.part else {
            return;
        };
        if let (Some(until), true) = (lease_until, hold.alone.is_some()) {
            Self::open(hold, until, now, out);
            out.push(Action::Note(Note::Reopened));
            return;
        }
        if self.rules.keeps(Rule::LapsedAcquiresAfresh) {
            self.open.forget();
        }
        let released = self.leave_alone(out);
        self.part = Part::Standby;
        self.next_request = now;
        self.tell_released(released, out);
    }

    /// Goes on holding what the last run held, if the promises of all others still stand.
    pub(super) fn carry_on(&mut self, now: Moment, out: &mut Vec<Action>) {
        let may = self.declines(now).is_none();
        if let Some(kept) = self.run.kept.take().filter(|_| may) {
            self.open = Open::carrying_on(kept.last);
            self.part = Part::Holding(Hold::carried(kept, now));
        }
        let lease_until = self.lease_until(now);
        let (Part::Holding(hold), Some(until)) = (&mut self.part, lease_until) else {
            self.part = Part::Standby;
            out.push(Action::Remember(self.run.clone()));
            return;
        };
        self.run.kept = hold.kept(self.open.last());
        out.push(Action::Remember(self.run.clone()));
        Self::open(hold, until, now, out);
        out.push(Action::Note(Note::CarriedOn));
    }

    fn open(hold: &mut Hold, lease_until: Moment, now: Moment, out: &mut Vec<Action>) {
        hold.fence_until = lease_until.min(hold.at_most(now));
        let (grant, until) = (hold.grant, hold.fence_until);
        out.push(Action::Open { grant, until });
    }

    /// Closes the fence, forgets every open request, then tells the coordinators.
    pub(super) fn give_back(&mut self, why: CloseReason, now: Moment, out: &mut Vec<Action>) {
        let Part::Holding(hold) = &self.part else {
            return;
        };
        let (grant, until) = (hold.grant, hold.leased_until.max(hold.fence_until));
        if self.rules.keeps(Rule::GiveBackDropsEarlier) {
            self.open.forget();
        }
        let closes_first = self.rules.keeps(Rule::FenceClosesFirst);
        if closes_first {
            out.push(Action::Close(why.clone()));
        }
        let released = self.leave_alone(out);
        self.request(Want::GiveBack(grant), now, out);
        self.part = Part::Returning { grant, until };
        self.next_request = now.plus(lease::retry_interval(self.timing.ttl));
        self.tell_released(released, out);
        if !closes_first {
            out.push(Action::Close(why));
        }
    }

    /// The coordinators know that the claim was given back, or its lease would have run out by now.
    pub(super) fn returned(&mut self, now: Moment) {
        if matches!(self.part, Part::Returning { .. }) {
            if self.rules.keeps(Rule::GiveBackDropsEarlier) {
                self.open.forget();
            }
            self.part = Part::Standby;
            self.next_request = now;
        }
    }
}
