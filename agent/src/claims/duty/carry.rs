//! Carries out what a member wants done, in its order.

use std::time::Duration;

use hamesh_claims::Moment;
use hamesh_claims::lease::{self, Commit};
use hamesh_claims::member::{Action, Note};
use hamesh_claims::message::{ToCoordinator, Want};
use hamesh_claims::reason::{CloseReason, Declines};
use hamesh_kernel::fence::Written;

use super::{Duty, MOST_TIMED};
use crate::claims::outbox::{Outbox, Said};
use crate::claims::world::{Trouble, World};

/// A commit that is late so often in a row is given up: the machine is too slow to hold anything.
const MOST_COMMITS: u32 = 3;
/// After trouble of an unknown kind the kernel is asked again after this.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);
/// A node that was too slow to take a claim does not ask for it again for so long.
const SLOW_PAUSE: Duration = Duration::from_secs(1);

impl Duty {
    /// Carries actions out; true: the fence is lost.
    pub(super) fn carry_out(
        &mut self,
        actions: Vec<Action>,
        world: &mut impl World,
        out: &mut Outbox,
    ) -> bool {
        let mut lost = false;
        for action in actions {
            match action {
                Action::Open { grant, until } => {
                    let opened = self.open(until, world, out);
                    lost |= !opened;
                    if opened {
                        self.series.opened(until);
                        out.say(&self.id, Said::Took(grant));
                    }
                }
                Action::Rearm(until) => lost |= !self.rearm(until, world, out),
                Action::Close(why) => self.close(why, world, out),
                Action::Remember(memory) => {
                    self.unwritten = Some(memory);
                    self.settle_debts(world, out);
                }
                Action::Tell(message) => self.tell(message, world, out),
                Action::TellPeer(to, message) => {
                    if self.settle_debts(world, out) {
                        out.tell_peer(to, &self.id, message);
                    }
                }
                Action::Store(disk) => {
                    out.store(&self.id, &disk);
                    self.storing = Some(disk);
                }
                Action::Note(note) => self.note(note, out),
            }
        }
        self.series.alone(self.member.alone_since().is_some());
        lost
    }

    fn open(&mut self, until: Moment, world: &mut impl World, out: &mut Outbox) -> bool {
        let read = world.now();
        let written = world.take(self.spec.subject(), until);
        self.inherited = None;
        // Whatever was left open under an earlier lease is open under this one.
        self.unclosed = false;
        let opened = self.judge_commit(written, until, read, world, out);
        if !opened && self.why_unable().is_none() {
            // Another node may be faster: it is let first.
            let slow = Trouble::Other("opening the fence took longer than the lease".to_owned());
            self.unable = Some((slow, world.now().plus(SLOW_PAUSE)));
        }
        opened
    }

    fn rearm(&mut self, until: Moment, world: &mut impl World, out: &mut Outbox) -> bool {
        let read = world.now();
        let written = world.renew(self.spec.subject(), until);
        let armed = self.judge_commit(written, until, read, world, out);
        if armed {
            self.series.armed(until);
        }
        armed
    }

    /// Whether the fence stands, closing in time.
    fn judge_commit(
        &mut self,
        mut written: Result<Written, Trouble>,
        until: Moment,
        mut read: Moment,
        world: &mut impl World,
        out: &mut Outbox,
    ) -> bool {
        for _ in 0..MOST_COMMITS {
            match written {
                Ok(Written::Live) => {}
                Ok(Written::Lapsed | Written::TooLate) => {
                    self.series.lapsed();
                    return false;
                }
                Err(trouble) => {
                    self.trouble(trouble, world.now(), out);
                    return false;
                }
            }
            match lease::after_commit(until, read, world.now()) {
                Commit::Stands => return true,
                Commit::Again(_) => {
                    read = world.now();
                    written = world.renew(self.spec.subject(), until);
                }
                Commit::Delete => break,
            }
        }
        self.series.lapsed();
        self.unclosed = true;
        self.settle_debts(world, out);
        false
    }

    fn close(&mut self, why: CloseReason, world: &mut impl World, out: &mut Outbox) {
        self.inherited = None;
        self.unclosed = true;
        self.settle_debts(world, out);
        self.series.closed(&why);
        out.say(&self.id, Said::Closed(why));
    }

    fn tell(&mut self, mut message: ToCoordinator, world: &mut impl World, out: &mut Outbox) {
        if !self.settle_debts(world, out) {
            return;
        }
        match &mut message {
            ToCoordinator::Request(request) => match &request.want {
                Want::Acquire if self.why_unable().is_some() || self.must_not() => {
                    request.want = Want::Nothing(Declines::Unable);
                }
                Want::Renew(_) => {
                    if self.timed.len() == MOST_TIMED {
                        self.timed.pop_front();
                    }
                    self.timed.push_back((request.id, world.now()));
                }
                Want::Acquire | Want::GiveBack(_) | Want::Nothing(_) => {}
            },
            // The member knows only of what it opened itself.
            ToCoordinator::Knows(knows) => knows.closed &= !self.is_open(world.now()),
            ToCoordinator::Consent(_) => {}
        }
        out.tell_coordinators(&self.id, message);
    }

    /// Closes and writes what should be closed and written. Whether all is.
    pub(super) fn settle_debts(&mut self, world: &mut impl World, out: &mut Outbox) -> bool {
        if self.unclosed {
            match world.give_back(self.spec.subject()) {
                Ok(()) | Err(Trouble::NotLoaded) => self.unclosed = false,
                Err(trouble) => out.say(&self.id, Said::NotClosed(trouble)),
            }
        }
        if let Some(memory) = &self.unwritten {
            match world.remember(&self.id, memory) {
                Ok(()) => self.unwritten = None,
                Err(trouble) => out.say(&self.id, Said::NotRemembered(trouble)),
            }
        }
        !self.unclosed && self.unwritten.is_none()
    }

    fn trouble(&mut self, trouble: Trouble, now: Moment, out: &mut Outbox) {
        let until = match &trouble {
            Trouble::NotLoaded => {
                out.fence_lost();
                self.fence = Some(trouble.to_string());
                return;
            }
            Trouble::Homeless(_) => Moment::END,
            Trouble::Other(_) => now.plus(TROUBLE_PAUSE),
        };
        out.say(&self.id, Said::Unable(trouble.clone()));
        self.unable = Some((trouble, until));
        // What failed half way may have left something open.
        self.unclosed = true;
    }

    /// A standby is refused ten times a second: what is said again is not worth a word.
    fn note(&mut self, note: Note, out: &mut Outbox) {
        if self.last_note.as_ref() != Some(&note) {
            out.say(&self.id, Said::Note(note.clone()));
            self.last_note = Some(note);
        }
    }
}
