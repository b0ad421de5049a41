//! Membership and health by gossip: chitchat over sealed UDP.
//!
//! | module | does |
//! |---|---|
//! | [`frame`] | one message as one or two datagrams (pure) |
//! | [`senders`] | replay protection and reassembly (pure) |
//! | [`clock`] | the offset between wall clocks (pure) |
//! | [`wire`] | the transport: seals, opens, counts what it drops |
//! | [`peers`] | who lives, and what each proved to have said (pure) |
//! | [`series`] | what is counted |
//! | [`mesh`] | runs it all on the assignment and keys in force |
//!
//! Intervals, thresholds and what was measured: docs/decisions/0003-gossip.md.

pub mod clock;
pub mod frame;
pub mod mesh;
pub mod peers;
pub mod senders;
pub mod series;
pub mod wire;

pub use mesh::{Mesh, PeersView};
