//! Claims at the coordinator: who is granted what, and how the rest of the program takes part.
//!
//! ```text
//!             wishes, records, keys, moves                      lease datagrams, UDP
//!   keeper ------------------------------->  thread: the desk  <--------------------> members
//!   (store) <------------------------------  (one grantor per claim)
//!             records to write, notes  --> chronicle (events, last moves)
//! ```
//! Guarantees: nothing is granted of a claim before its record was read from the store; what a
//! grantor wants persisted is written before it counts, and a store that does not answer delays
//! that and nothing else: leases go on being given and renewed.
//!
//! | module | holds |
//! |---|---|
//! | [`wanted`] | pure: what the site wants of its claims |
//! | [`keys`] | the keys of lease datagrams |
//! | [`ends`], [`desk`], [`moves`] | who speaks, which grantor hears it, planned moves |
//! | [`thread`] | the thread that all of these run on |
//! | [`keeper`] | between the thread and the store |
//! | [`history`], [`chronicle`] | what happened, as events and as each claim's last moves |
//! | [`reports`] | what agents say of their claims, as events |
//! | [`board`] | how every claim is, for operators |
//! | [`metrics`], [`gauges`] | what is counted and shown |

pub mod board;
pub mod chronicle;
pub mod desk;
pub mod ends;
pub mod gauges;
pub mod history;
pub mod keeper;
pub mod keys;
pub mod metrics;
pub mod moves;
pub mod reports;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod wanted;

use std::io;
use std::sync::Arc;

use hamesh_claims::group::Record;
use hamesh_claims::ids::NodeName;
use hamesh_proto::ids::ClaimId;
use tokio::sync::{mpsc, oneshot, watch};

use desk::Seen;
use keys::{LeaseSecret, Parts, SessionKey};
use moves::{MoveAsked, MoveError, Moved};
use thread::{Command, Told, Waker};

/// Commands on their way to the thread: the keys of a whole large site that dials at once.
const COMMANDS: usize = 1024;
/// Records on their way to the store: one for each claim of a large site.
const RECORDS: usize = 256;
/// Notes on their way to the event log, one for each claim of the largest site at least; what does
/// not fit is counted.
const NOTES: usize = 4096;

/// What the services have of the claims.
#[derive(Debug)]
pub struct Claims {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    /// What keys between members are made from.
    pub secret: LeaseSecret,
    /// Who shares a claim with whom: they have a key with each other.
    pub parts: watch::Sender<Arc<Parts>>,
    /// What each claim's holder was when, as last noted.
    pub history: watch::Sender<Arc<history::History>>,
}

/// The other ends of [`Claims`], for those who serve it.
#[derive(Debug)]
pub struct Served {
    /// For the thread.
    pub commands: mpsc::Receiver<Command>,
    /// For the thread.
    pub records: mpsc::Sender<(ClaimId, Record)>,
    /// For the thread.
    pub told: mpsc::Sender<Told>,
    /// For the keeper.
    pub to_write: mpsc::Receiver<(ClaimId, Record)>,
    /// For the chronicle.
    pub notes: mpsc::Receiver<Told>,
}

/// The grantors' thread does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claims are not looked after now: the coordinator is starting or stopping; try again")]
pub struct Absent;

impl Claims {
    /// A handle, and what serves it.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new(secret: LeaseSecret) -> io::Result<(Self, Served)> {
        let (commands, for_thread) = mpsc::channel(COMMANDS);
        let (records, to_write) = mpsc::channel(RECORDS);
        let (told, notes) = mpsc::channel(NOTES);
        let claims = Self {
            commands,
            waker: Waker::new()?,
            secret,
            parts: watch::channel(Arc::default()).0,
            history: watch::channel(Arc::default()).0,
        };
        let served = Served {
            commands: for_thread,
            records,
            told,
            to_write,
            notes,
        };
        Ok((claims, served))
    }

    /// What wakes the thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The key of a new session: good when this returns, or as soon as the thread runs.
    pub async fn key(&self, key: SessionKey) -> Result<(), Absent> {
        self.send(Command::Key(key)).await
    }

    /// Moves a claim; `None`: to the best of the other candidates.
    pub async fn move_claim(
        &self,
        claim: ClaimId,
        to: Option<NodeName>,
    ) -> Result<Result<Moved, MoveError>, Absent> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Move(MoveAsked { claim, to, reply }))
            .await?;
        outcome.await.map_err(|_| Absent)
    }

    /// Confirms that a node is off; gives the claims whose group waited for it.
    pub async fn confirm_fenced(&self, node: NodeName) -> Result<Vec<ClaimId>, Absent> {
        let (reply, confirmed) = oneshot::channel();
        self.send(Command::Fenced(node, reply)).await?;
        confirmed.await.map_err(|_| Absent)
    }

    /// Every claim that is granted here, as it is at this moment.
    pub async fn look(&self) -> Result<Vec<Seen>, Absent> {
        let (reply, seen) = oneshot::channel();
        self.send(Command::Look(reply)).await?;
        seen.await.map_err(|_| Absent)
    }

    /// Ends the thread; when this returns, nothing is granted any more.
    pub async fn stop(&self) {
        // It may have ended by itself.
        let _ = self.send(Command::Stop).await;
        // Commands are obeyed in order, and those behind the last one go with the thread.
        let _ = self.look().await;
    }

    async fn send(&self, command: Command) -> Result<(), Absent> {
        let sent = self.commands.send(command).await;
        self.waker.wake();
        sent.map_err(|_| Absent)
    }
}
