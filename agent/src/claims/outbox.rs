//! What the holder wants said once everything in the kernel is done: messages to coordinators and
//! members, and words to the asynchronous side, which writes to disk and to the log.
//!
//! Idea: messages of one turn to one receiver share a datagram.

use hamesh_claims::ids::{GrantId, NodeName};
use hamesh_claims::member::{Durable, Note};
use hamesh_claims::message::{ToCoordinator, ToPeer};
use hamesh_claims::reason::CloseReason;
use hamesh_kernel::device::Mac;
use hamesh_kernel::reconcile::Step;
use hamesh_proto::ids::ClaimId;

use super::world::Trouble;

/// Messages in one datagram at most: far below what a content may hold.
pub const MOST_TOGETHER: usize = 8;

/// What happened, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The fence was opened under this grant.
    Took(GrantId),
    /// The fence was closed.
    Closed(CloseReason),
    /// The member's own note.
    Note(Note),
    /// The fence cannot be opened.
    Unable(Trouble),
    /// The fence could not be closed; it closes by itself at its deadline.
    NotClosed(Trouble),
    /// `/run` could not be written.
    NotRemembered(Trouble),
    /// Another node spoke as the owner of an address that is held here.
    Rival(Mac),
    /// More than one answered for an address.
    Duplicate(Vec<Mac>),
    /// Someone else changed addresses or the fence; this put it right.
    PutRight(Step),
    /// Opened by hand, or closed again.
    BreakGlass(bool),
}

/// For the asynchronous side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Write this, then say that it is stored.
    Store(ClaimId, Durable),
    /// For the log.
    Said(ClaimId, Said),
    /// Load the fence: it is gone, or interfaces changed.
    LoadFence,
}

/// What is to be said.
#[derive(Debug, Default)]
pub struct Outbox {
    /// For every coordinator.
    pub coordinators: Vec<(ClaimId, ToCoordinator)>,
    /// For one member each.
    pub peers: Vec<(NodeName, ClaimId, ToPeer)>,
    /// For the asynchronous side.
    pub words: Vec<Word>,
}

impl Outbox {
    /// Adds a message to the coordinators.
    pub fn tell_coordinators(&mut self, claim: &ClaimId, message: ToCoordinator) {
        self.coordinators.push((claim.clone(), message));
    }

    /// Adds a message to a member.
    pub fn tell_peer(&mut self, to: NodeName, claim: &ClaimId, message: ToPeer) {
        self.peers.push((to, claim.clone(), message));
    }

    /// Wants this written.
    pub fn store(&mut self, claim: &ClaimId, disk: &Durable) {
        self.words.push(Word::Store(claim.clone(), disk.clone()));
    }

    /// Has something for the log.
    pub fn say(&mut self, claim: &ClaimId, said: Said) {
        self.words.push(Word::Said(claim.clone(), said));
    }

    /// The fence is gone, or must be looked at.
    pub fn fence_lost(&mut self) {
        if !self.words.contains(&Word::LoadFence) {
            self.words.push(Word::LoadFence);
        }
    }
}
