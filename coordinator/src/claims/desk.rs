//! All claims of one leadership: which grantor hears what, and what each of them says.
//!
//! Guarantees: a member's word reaches the grantor of the claim that it is about, as of a reading
//! of the clock after it arrived; what a grantor wants persisted is handed out until it is taken;
//! a claim that left the site is granted no more.
//!
//! Level-triggered: the wishes come whole, and a group that differs from what is wanted is changed
//! as soon as no other change is under way.
//!
//! Absent: socket, clock and store. They are the thread's and the keeper's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Duration;

use hamesh_claims::grantor::{Action, Event, Explanation, Note};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{Epoch, GrantId, GroupVersion, NodeName};
use hamesh_claims::message::{Answer, Ruling, ToMember};
use hamesh_claims::{Grantor, Moment};
use hamesh_proto::ids::ClaimId;
use hamesh_proto::leases::Content;
use hamesh_proto::spiffe::Principal;

use super::ends::{Dropped, Ends};
use super::keys::SessionKey;
use super::moves::{MoveAsked, Moves};
use super::wanted::{Wanted, Wishes};

/// Messages of one datagram: two nodes share a handful of claims, and a group of a hundred nodes
/// in each of these still fits.
const PER_DATAGRAM: usize = 2;

/// The least time between two ticks of one grantor.
const LEAST_REST: Duration = Duration::from_millis(1);

/// The grantors, and whom they hear.
#[derive(Debug)]
pub struct Desk {
    epoch: Epoch,
    leading_until: Moment,
    ends: Ends,
    seats: BTreeMap<ClaimId, Seat>,
    /// When each seat is due: of thousands of claims few are, each time that somebody looks.
    due: BTreeSet<(Moment, ClaimId)>,
    /// The seats with a record that was not taken yet.
    unwritten: BTreeSet<ClaimId>,
    wanted: BTreeMap<ClaimId, Wanted>,
    moves: Moves,
}

#[derive(Debug)]
struct Seat {
    grantor: Grantor,
    wake: Moment,
    unwritten: Option<Record>,
    /// The grant that was confirmed last, and when.
    extended: Option<(GrantId, Moment)>,
}

/// What is to be done outside.
#[derive(Debug, Default)]
pub struct Out {
    /// For each node what it is to be told.
    pub tell: BTreeMap<NodeName, Vec<(ClaimId, ToMember)>>,
    /// For people and metrics.
    pub notes: Vec<(ClaimId, Note)>,
    /// A higher epoch was shown: this leadership is over for good.
    pub succeeded: Option<Epoch>,
    /// Claims that this node asked about and that nobody grants here.
    pub unknown_claims: u64,
    /// Leases that were extended: how long after they were granted or extended before.
    pub gaps: Vec<(ClaimId, Duration)>,
}

/// One claim as its grantor sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The claim.
    pub claim: ClaimId,
    /// Who holds it, and why.
    pub explanation: Explanation,
    /// What is left of the lease.
    pub remaining: Option<Duration>,
    /// The newest group's version.
    pub group: GroupVersion,
}

impl Desk {
    /// The desk of the leadership `epoch` of the coordinator `own`, whose start is numbered `run`.
    pub fn new(epoch: Epoch, own: Principal, run: u64) -> Self {
        Self {
            epoch,
            leading_until: Moment::ZERO,
            ends: Ends::new(own, run),
            seats: BTreeMap::new(),
            due: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            wanted: BTreeMap::new(),
            moves: Moves::default(),
        }
    }

    /// This coordinator leads until then. The one place that says so.
    pub fn leading(&mut self, until: Moment, now: Moment, out: &mut Out) {
        self.leading_until = until;
        let claims: Vec<ClaimId> = self.seats.keys().cloned().collect();
        for claim in claims {
            self.event(&claim, Event::Leading(until), now, out);
        }
    }

    /// The site wants this now.
    pub fn wish(&mut self, wishes: &Wishes, now: Moment, out: &mut Out) {
        self.ends.settle(wishes);
        let kept = |claim: &ClaimId| wishes.claims.contains_key(claim);
        self.seats.retain(|claim, _| kept(claim));
        self.due.retain(|(_, claim)| kept(claim));
        self.unwritten.retain(kept);
        let before = std::mem::replace(&mut self.wanted, wishes.claims.clone());
        let claims: Vec<ClaimId> = self.seats.keys().cloned().collect();
        for claim in claims {
            let wanted = self.wanted.get(&claim);
            if let Some(wanted) = wanted
                && before.get(&claim).is_none_or(|it| it.spec != wanted.spec)
            {
                let spec = wanted.spec.clone();
                self.event(&claim, Event::Configure(spec), now, out);
            }
            self.settle_group(&claim, now, out);
        }
    }

    /// Begins to grant a claim, with what the store holds of it.
    pub fn lead(&mut self, claim: &ClaimId, record: Record, now: Moment, out: &mut Out) {
        let Some(wanted) = self.wanted.get(claim) else {
            return;
        };
        if self.seats.contains_key(claim) {
            return;
        }
        let spec = wanted.spec.clone();
        let seat = Seat {
            grantor: Grantor::lead(self.epoch, spec, record, self.leading_until, now),
            wake: now,
            unwritten: None,
            extended: None,
        };
        self.seats.insert(claim.clone(), seat);
        self.due.insert((now, claim.clone()));
        self.event(claim, Event::Tick, now, out);
        self.settle_group(claim, now, out);
    }

    /// The store has this record.
    pub fn persisted(&mut self, claim: &ClaimId, record: Record, now: Moment, out: &mut Out) {
        self.event(claim, Event::Persisted(record), now, out);
        self.settle_group(claim, now, out);
    }

    /// A session's new key.
    pub fn key(&mut self, key: SessionKey) {
        let ttls = self
            .seats
            .values()
            .map(|seat| seat.grantor.record().longest_ttl);
        // The other members may have promised an earlier machine of that name, too.
        let promises = self.wanted.values().map(|it| it.spec.timing.long_promise);
        let longest = ttls.chain(promises).max().unwrap_or_default();
        self.ends.key(key, longest);
    }

    /// A datagram that came from `from`; `now` was read after it came.
    pub fn datagram(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        now: Moment,
        out: &mut Out,
    ) -> Result<(), Dropped> {
        let (_, content) = self.ends.open(bytes, from, now)?;
        let Content::ToCoordinator(messages) = content else {
            return Err(Dropped::OtherSender);
        };
        for (claim, message) in messages {
            if self.seats.contains_key(&claim) {
                self.event(&claim, Event::FromMember(message), now, out);
            } else {
                out.unknown_claims += 1;
            }
        }
        Ok(())
    }

    /// An operator wants a claim elsewhere.
    pub fn move_claim(&mut self, asked: MoveAsked, now: Moment, out: &mut Out) {
        let Some(seat) = self.seats.get_mut(&asked.claim) else {
            return asked.refuse_unknown();
        };
        let wanted = self.wanted.get(&asked.claim);
        let Some((claim, to)) = self.moves.begin(asked, &seat.grantor, wanted, now) else {
            return;
        };
        let mut actions = Vec::new();
        seat.grantor.wish(Some(to), now, &mut actions);
        self.take(&claim, actions, now, out);
    }

    /// An operator confirms that a node is off; gives the claims whose group waited for it.
    pub fn confirm_fenced(
        &mut self,
        node: &NodeName,
        now: Moment,
        out: &mut Out,
    ) -> BTreeSet<ClaimId> {
        let waits = |seat: &Seat| seat.grantor.awaited().contains(node);
        let waiting: BTreeSet<ClaimId> = self
            .seats
            .iter()
            .filter(|(_, seat)| waits(seat))
            .map(|(claim, _)| claim.clone())
            .collect();
        let mut confirmed = BTreeSet::new();
        for claim in waiting {
            let mut actions = Vec::new();
            let Some(seat) = self.seats.get_mut(&claim) else {
                continue;
            };
            if seat.grantor.confirm_fenced(node, now, &mut actions).is_ok() {
                self.take(&claim, actions, now, out);
                confirmed.insert(claim);
            }
        }
        confirmed
    }

    /// Lets everything happen that is due at `now`.
    pub fn wake(&mut self, now: Moment, out: &mut Out) {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<ClaimId> = due.map(|(_, claim)| claim.clone()).collect();
        for claim in due {
            self.event(&claim, Event::Tick, now, out);
        }
        for claim in self.moves.give_up(now) {
            if let Some(seat) = self.seats.get_mut(&claim) {
                let mut actions = Vec::new();
                seat.grantor.wish(None, now, &mut actions);
                self.take(&claim, actions, now, out);
            }
        }
    }

    /// When [`Desk::wake`] is due.
    pub fn next_wake(&self) -> Moment {
        let first = self.due.first().map(|(at, _)| *at);
        let ends = first.into_iter().chain(self.moves.next_end());
        ends.min().unwrap_or(Moment::END)
    }

    /// Hands out the records to be written, for as long as they are taken.
    pub fn unwritten(&mut self, mut taken: impl FnMut(&ClaimId, &Record) -> bool) {
        let seats = &mut self.seats;
        self.unwritten.retain(|claim| {
            let seat = seats.get_mut(claim);
            seat.is_some_and(|seat| {
                seat.unwritten.take_if(|record| taken(claim, record));
                seat.unwritten.is_some()
            })
        });
    }

    /// The claims that are granted here after this one, or from the first; so many at most.
    pub fn look(&self, after: Option<&ClaimId>, most: usize, now: Moment) -> Vec<Seen> {
        let seen = |(claim, seat): (&ClaimId, &Seat)| {
            let explanation = seat.grantor.explain(now);
            Seen {
                claim: claim.clone(),
                remaining: explanation
                    .holder
                    .as_ref()
                    .map(|(_, _, until)| until.since(now)),
                explanation,
                group: seat.grantor.record().newest().version,
            }
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let seats = self.seats.range::<ClaimId, _>((from, Bound::Unbounded));
        seats.take(most).map(seen).collect()
    }

    /// Seals what a node is to be told: at most [`PER_DATAGRAM`] messages in each datagram.
    pub fn seal(
        &mut self,
        to: &NodeName,
        messages: Vec<(ClaimId, ToMember)>,
        mut send: impl FnMut(Option<(SocketAddr, Vec<u8>)>),
    ) {
        let mut rest = messages.into_iter().peekable();
        while rest.peek().is_some() {
            let some = rest.by_ref().take(PER_DATAGRAM).collect();
            send(self.ends.seal(to, &Content::ToMember(some)));
        }
    }

    fn event(&mut self, claim: &ClaimId, event: Event, now: Moment, out: &mut Out) {
        let Some(seat) = self.seats.get_mut(claim) else {
            return;
        };
        let mut actions = Vec::new();
        seat.grantor.handle(event, now, &mut actions);
        self.take(claim, actions, now, out);
    }

    /// Changes the group to who is wanted, unless a change is under way: then it is tried again
    /// when that is persisted.
    fn settle_group(&mut self, claim: &ClaimId, now: Moment, out: &mut Out) {
        let (Some(seat), Some(wanted)) = (self.seats.get_mut(claim), self.wanted.get(claim)) else {
            return;
        };
        let newest = &seat.grantor.record().newest().candidates;
        if wanted.members.is_empty() || *newest == wanted.members {
            return;
        }
        let next = Group::exclusive(GroupVersion::default(), wanted.members.clone());
        let mut actions = Vec::new();
        if seat.grantor.change_group(next, now, &mut actions).is_ok() {
            self.take(claim, actions, now, out);
        }
    }

    fn take(&mut self, claim: &ClaimId, actions: Vec<Action>, now: Moment, out: &mut Out) {
        let Some(seat) = self.seats.get_mut(claim) else {
            return;
        };
        for action in actions {
            match action {
                Action::Tell(to, message) => {
                    if let Some(grant) = granted(&message) {
                        let before = seat.extended.replace((grant, now));
                        let before = before.filter(|(of, _)| *of == grant);
                        let gap = before.map(|(_, at)| (claim.clone(), now.since(at)));
                        out.gaps.extend(gap);
                    }
                    out.tell
                        .entry(to)
                        .or_default()
                        .push((claim.clone(), message));
                }
                Action::Persist(record) => {
                    seat.unwritten = Some(record);
                    self.unwritten.insert(claim.clone());
                }
                Action::StepDown(epoch) => out.succeeded = Some(epoch),
                Action::Note(note) => {
                    self.moves.noted(claim, &note, now);
                    out.notes.push((claim.clone(), note));
                }
                // Only workers are evicted, and no such claim is granted here yet.
                Action::Evicted(_) => {}
            }
        }
        let wake = seat.grantor.next_wake(now).max(now.plus(LEAST_REST));
        let before = std::mem::replace(&mut seat.wake, wake);
        if before != wake {
            self.due.remove(&(before, claim.clone()));
            self.due.insert((wake, claim.clone()));
        }
    }
}

/// The grant that a message gives or extends.
fn granted(message: &ToMember) -> Option<GrantId> {
    match message {
        ToMember::Answer(Answer {
            ruling: Ruling::Granted { grant, .. },
            ..
        }) => Some(*grant),
        ToMember::Answer(_) | ToMember::Hint(_) | ToMember::ConsentAsk(_) => None,
    }
}
