//! Whether this coordinator leads: the election ([`hamesh_claims::Election`]) over the store.
//!
//! Guarantees: time is read before anything is sent; one request is under way at a time, and one
//! that is given up may still be carried out, which the election knows; the leadership is taken
//! over in one transaction with its epoch and its event.
//!
//! Absent: what a leader does. It is told until when it leads, and stops by itself.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hamesh_claims::election::{Action, Candidate, Event, Leadership as Record, Pace};
use hamesh_claims::ids::NodeName;
use hamesh_claims::{Election, Moment};
use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_proto::ids::NodeId;
use hamesh_proto::random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::Clock;
use crate::ledger::{Kept, Ledger};
use crate::records::LeaderRecord;
use requests::{Answer, Asked, PATIENCE, patiently, read, renew, take_over};

mod requests;

/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(3600);

/// How this coordinator stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// The store was not read yet.
    #[default]
    Looking,
    /// This node led when the store was last read; `None`: nobody.
    Follows(Option<NodeId>),
    /// It leads.
    Leads {
        /// The epoch of its grants.
        term: u64,
        /// Until when it may grant.
        until: Instant,
    },
    /// It led, and another one does now.
    Deposed,
    /// It has stopped leading, for the process is to end.
    Resigned,
}

impl Standing {
    /// The term, if it leads or cannot know yet that it does not any more.
    pub fn term(&self) -> Option<u64> {
        match self {
            Self::Leads { term, .. } => Some(*term),
            Self::Looking | Self::Follows(_) | Self::Deposed | Self::Resigned => None,
        }
    }

    /// Until when it may grant; past when it may not.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Leads { until, .. } => Some(*until),
            Self::Looking | Self::Follows(_) | Self::Deposed | Self::Resigned => None,
        }
    }
}

/// What the rest of the program has of the election.
#[derive(Debug, Clone)]
pub struct Leadership {
    standing: watch::Receiver<Standing>,
    alone: watch::Sender<bool>,
    /// Another coordinator was let near the store in this leadership.
    company: Arc<AtomicBool>,
    resign: watch::Sender<bool>,
}

impl Leadership {
    /// How this coordinator stands, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Whether it leads at this moment, by its own count.
    pub fn leads(&self) -> bool {
        let until = self.standing.borrow().until();
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether the site has no other coordinator, as was read.
    pub fn alone(&self, alone: bool) {
        let company = self.company.load(Ordering::Acquire);
        self.alone.send_replace(alone && !company);
    }

    /// Another coordinator is about to be let near the store: until the next leadership this one is
    /// not alone, whatever is read.
    pub fn has_company(&self) {
        self.company.store(true, Ordering::Release);
        self.alone.send_replace(false);
    }

    /// Stops leading, and tells the others so. Grants must have ended before.
    pub async fn resign(&self) {
        self.resign.send_replace(true);
        let mut standing = self.standing.clone();
        let over = standing.wait_for(|standing| standing.term().is_none());
        // Whoever does not hear of it takes over later.
        let _ = timeout(PATIENCE, over).await;
    }

    /// Whether this leadership has ended for good: what waits to be written is the next one's.
    pub fn is_over(&self) -> bool {
        match *self.standing.borrow() {
            Standing::Deposed | Standing::Resigned => true,
            Standing::Looking | Standing::Follows(_) | Standing::Leads { .. } => false,
        }
    }

    /// Resolves when another coordinator leads.
    pub async fn deposed(&self) {
        let mut standing = self.standing.clone();
        let deposed = standing.wait_for(|standing| *standing == Standing::Deposed);
        if deposed.await.is_err() {
            // The election ended with the process only.
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when this coordinator's own count has run out: it may grant nothing until the store
    /// confirms that it leads on.
    pub async fn lapsed(&self) {
        let mut standing = self.standing.clone();
        loop {
            let until = standing.borrow_and_update().until();
            let until = match until {
                Some(until) if until > Instant::now() => until,
                Some(_) | None => return,
            };
            tokio::select! {
                () = sleep_until(until) => {}
                changed = standing.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// The number of this machine among those that ever bore its name, drawn once.
///
/// # Errors
/// When the file cannot be read or written.
pub fn instance(path: &Path) -> io::Result<u64> {
    match std::fs::read_to_string(path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let instance = u64::from_le_bytes(random::bytes());
            write_atomic(path, format!("{instance:016x}\n").as_bytes(), SECRET)?;
            Ok(instance)
        }
        Err(error) => Err(error),
    }
}

/// Runs the election.
pub struct Elector {
    ledger: Arc<Ledger>,
    clock: Clock,
    node: NodeId,
    election: Election,
    started: Instant,
    kept: Option<Kept<LeaderRecord>>,
    term: u64,
    standing: watch::Sender<Standing>,
    alone: watch::Receiver<bool>,
    resign: watch::Receiver<bool>,
}

impl Elector {
    /// A candidate on `node`, and the handle to it.
    pub fn new(
        ledger: Arc<Ledger>,
        clock: Clock,
        node: NodeId,
        instance: u64,
    ) -> (Self, Leadership) {
        let me = Candidate {
            name: NodeName::new(node.as_str()),
            instance,
            run: u64::from_le_bytes(random::bytes()),
        };
        let (standing, standing_of) = watch::channel(Standing::Looking);
        let (alone_set, alone) = watch::channel(false);
        let (resign_set, resign) = watch::channel(false);
        let elector = Self {
            ledger,
            clock,
            node,
            election: Election::new(me, Pace::SITE),
            started: Instant::now(),
            kept: None,
            term: 0,
            standing,
            alone,
            resign,
        };
        let leadership = Leadership {
            standing: standing_of,
            alone: alone_set,
            company: Arc::default(),
            resign: resign_set,
        };
        (elector, leadership)
    }

    /// Runs until it is deposed or resigns.
    pub async fn run(mut self) {
        let mut asked: Option<Asked> = None;
        let mut event = Event::Tick;
        loop {
            if let Some(next) = self.happen(event) {
                asked = Some(next);
            }
            if matches!(*self.standing.borrow(), Standing::Deposed) {
                return;
            }
            let wake = self.election.next_wake().since(Moment::ZERO).min(
                // A sum with the end of time would be none.
                self.started.elapsed() + LONGEST,
            );
            event = tokio::select! {
                biased;
                (answer, kept) = answered(&mut asked) => {
                    asked = None;
                    self.kept = kept;
                    answer
                }
                Ok(()) = self.alone.changed() => Event::Alone(*self.alone.borrow_and_update()),
                Ok(()) = self.resign.changed() => return self.resign(asked).await,
                () = sleep_until(self.started + wake) => Event::Tick,
            };
        }
    }

    /// Tells the election; gives what it asks of the store.
    fn happen(&mut self, event: Event) -> Option<Asked> {
        let now = Moment::ZERO.plus(self.started.elapsed());
        let looked = matches!(event, Event::Read(..));
        let mut out = Vec::new();
        self.election.handle(event, now, &mut out);
        let mut asked = None;
        for action in out {
            match action {
                Action::Read => asked = Some(patiently(read(Arc::clone(&self.ledger)))),
                Action::Write { over, next } => asked = Some(self.write(over, next)),
                Action::Leads { term, until } => {
                    tracing::info!(term, "this coordinator leads");
                    self.term = term;
                    self.leads(until);
                }
                Action::Extended(until) => self.leads(until),
                Action::Deposed(by) => {
                    let by = by.map(|record| record.leader.name.to_string());
                    tracing::warn!(by, "this coordinator no longer leads");
                    self.standing.send_replace(Standing::Deposed);
                }
            }
        }
        if looked {
            self.follow();
        }
        asked
    }

    fn leads(&self, until: Moment) {
        let until = self.started + until.since(Moment::ZERO);
        let term = self.term;
        self.standing.send_replace(Standing::Leads { term, until });
    }

    /// Says whom it follows.
    fn follow(&self) {
        if self.standing.borrow().term().is_some() {
            return;
        }
        let known = self.election.known().filter(|known| !known.resigned);
        let node = known.and_then(|known| known.leader.name.as_ref().parse().ok());
        let node = node.filter(|node| *node != self.node);
        self.standing.send_if_modified(|standing| {
            let next = Standing::Follows(node);
            let changed = !matches!(standing, Standing::Deposed) && *standing != next;
            if changed {
                *standing = next;
            }
            changed
        });
    }

    fn write(&mut self, over: Option<Record>, next: Record) -> Asked {
        let ledger = Arc::clone(&self.ledger);
        let kept = self.kept.take();
        if is_renewal(over.as_ref(), &next) {
            return patiently(renew(ledger, kept, over, next));
        }
        let (clock, node) = (self.clock.clone(), self.node.clone());
        patiently(take_over(ledger, clock, node, kept, next))
    }

    /// The last that it does.
    async fn resign(mut self, asked: Option<Asked>) {
        if let Some(asked) = asked {
            let (answer, kept) = asked.await;
            self.kept = kept;
            drop(self.happen(answer));
        }
        if let Some(write) = self.happen(Event::Resign) {
            write.await;
        }
        self.standing.send_replace(Standing::Resigned);
    }
}

impl std::fmt::Debug for Elector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elector")
            .field("election", &self.election)
            .finish_non_exhaustive()
    }
}

/// Whether the leader stays the same.
fn is_renewal(over: Option<&Record>, next: &Record) -> bool {
    over.is_some_and(|over| over.term == next.term && over.leader == next.leader)
}

/// The answer to what was asked; never, if nothing was.
async fn answered(asked: &mut Option<Asked>) -> Answer {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}
