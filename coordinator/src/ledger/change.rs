//! A change to the records, as it is put together before it is carried out.

use hamesh_proto::ids::NodeId;

use super::events::EventKind;
use super::{EVENTS_KEPT, Kept};
use crate::records::{EventHead, EventRecord, Record, encode, keys};
use crate::store::{Guard, Revision, Txn, Write};

/// Records to write, what they start from, and the events that tell of it.
#[derive(Debug, Clone)]
pub struct Change {
    actor: String,
    at_unix_ms: u64,
    transaction: String,
    guards: Vec<Guard>,
    writes: Vec<Write>,
    events: Vec<NewEvent>,
}

/// An event that has no number yet.
#[derive(Debug, Clone)]
pub(super) struct NewEvent {
    pub kind: EventKind,
    pub node: String,
    pub text: String,
}

/// The newest event: its number, and the revision of the head's record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub number: u64,
    pub revision: Option<Revision>,
}

impl Head {
    pub fn advanced(self, change: &Change, revision: Revision) -> Self {
        Self {
            number: self.number + change.events.len() as u64,
            revision: Some(revision),
        }
    }
}

impl Change {
    /// An empty change. `actor` is the SPIFFE path of who causes it.
    pub fn new(actor: impl Into<String>, at_unix_ms: u64) -> Self {
        let nonce: [u8; 16] = hamesh_proto::random::bytes();
        Self {
            actor: actor.into(),
            at_unix_ms,
            transaction: hamesh_proto::hex::encode(&nonce),
            guards: Vec::new(),
            writes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Writes a record that must not exist yet.
    pub fn create<T: Record>(mut self, key: &str, value: &T) -> Self {
        self.guards.push(Guard {
            key: key.to_owned(),
            revision: None,
        });
        self.writes.push(Write::Put {
            key: key.to_owned(),
            value: encode(value),
        });
        self
    }

    /// Writes a record anew that must still be as it was read.
    pub fn replace<T: Record>(mut self, kept: &Kept<T>, value: &T) -> Self {
        self.writes.push(Write::Put {
            key: kept.key.clone(),
            value: encode(value),
        });
        self.unchanged(kept)
    }

    /// Removes a record that must still be as it was read.
    pub fn remove<T: Record>(mut self, kept: &Kept<T>) -> Self {
        self.writes.push(Write::Delete {
            key: kept.key.clone(),
        });
        self.unchanged(kept)
    }

    /// Demands that a record still is as it was read.
    pub fn unchanged<T: Record>(mut self, kept: &Kept<T>) -> Self {
        self.guards.push(Guard {
            key: kept.key.clone(),
            revision: Some(kept.revision),
        });
        self
    }

    /// Demands this as well.
    pub(super) fn guarded(mut self, guard: Option<&Guard>) -> Self {
        let new = guard.filter(|guard| !self.guards.contains(guard));
        self.guards.extend(new.cloned());
        self
    }

    /// Writes a record that was read, or was found absent.
    pub fn put<T: Record>(self, key: &str, kept: Option<&Kept<T>>, value: &T) -> Self {
        match kept {
            Some(kept) => self.replace(kept, value),
            None => self.create(key, value),
        }
    }

    /// Tells of the change, or of something that happened.
    pub fn event(
        mut self,
        kind: EventKind,
        node: Option<&NodeId>,
        text: impl Into<String>,
    ) -> Self {
        let node = node.map(ToString::to_string).unwrap_or_default();
        self.events.push(NewEvent {
            kind,
            node,
            text: text.into(),
        });
        self
    }

    /// Who causes the change.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    pub(super) fn transaction(&self) -> &str {
        &self.transaction
    }

    pub(super) fn events(&self) -> &[NewEvent] {
        &self.events
    }

    pub(super) fn into_txn(self) -> Txn {
        Txn {
            guards: self.guards,
            writes: self.writes,
        }
    }

    /// The whole transaction, with the events numbered on from this head.
    pub(super) fn txn_on(&self, head: Head) -> Txn {
        let mut txn = Txn {
            guards: self.guards.clone(),
            writes: self.writes.clone(),
        };
        txn.guards.push(Guard {
            key: keys::EVENTS_HEAD.to_owned(),
            revision: head.revision,
        });
        let mut number = head.number;
        for event in &self.events {
            number += 1;
            let record = EventRecord {
                number,
                at_unix_ms: self.at_unix_ms,
                kind: event.kind.name().to_owned(),
                node: event.node.clone(),
                text: event.text.clone(),
                actor: self.actor.clone(),
                transaction: self.transaction.clone(),
            };
            txn.writes.push(Write::Put {
                key: keys::event(number),
                value: encode(&record),
            });
            if let Some(old) = number.checked_sub(EVENTS_KEPT).filter(|old| *old > 0) {
                txn.writes.push(Write::Delete {
                    key: keys::event(old),
                });
            }
        }
        let value = encode(&EventHead { number });
        txn.writes.push(Write::Put {
            key: keys::EVENTS_HEAD.to_owned(),
            value,
        });
        txn
    }
}
