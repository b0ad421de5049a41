//! Lease datagrams: what members of a claim and coordinators tell each other, sealed.
//!
//! Guarantees: a datagram that opens was sealed by the one other holder of its key, in a run that
//! is not earlier than any seen before, and opens once; its messages speak for nobody but their
//! sender ([`Content::speaks_for`]). It never outgrows [`MAX_BYTES`].
//!
//! Idea: over TCP a lost segment holds back everything behind it for longer than a short lease
//! lives. A lost datagram costs one renewal of several.
//!
//! Absent: sockets, and deciding what a message means (`hamesh-claims`).

mod content;
mod sealed;

pub use content::{Content, DecodeError, MAX_BYTES};
pub use sealed::{Channel, OVERHEAD, OpenError, key_id};
