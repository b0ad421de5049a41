//! Who may hold a claim: leases, promises and the rules that keep two nodes from holding one.
//!
//! Everything that at most one node may do at a time (answer for an address, accept writes, run a
//! worker's pods) is a **claim**. Two machines decide about it, one on each side:
//!
//! | type | runs in | decides |
//! |---|---|---|
//! | [`Member`] | the agent, one for each claim that concerns the node | when its fence is open |
//! | [`Grantor`] | the leading coordinator, one for each claim | who is granted the claim |
//!
//! A third, [`Election`], runs in every coordinator and decides which of them leads.
//!
//! Guarantees, for as long as clocks drift apart by no more than 3 % and a fence of the kernel
//! closes at most [`lease::FENCE_LATE`] after its time: at most one node's fence is open at any
//! moment, whatever messages are lost, repeated, delayed or reordered, and whoever crashes, pauses
//! or forgets. With a healthy candidate that a leader can hear, somebody holds the claim again
//! within its time-to-live and one renewal.
//!
//! The crate is **pure**: `(state, event, now) -> (state, actions)`. No clock, socket, thread, disk
//! or randomness; the dependency list proves it. The same code runs in production, in the seeded
//! simulator and under the model checker. Every decision carries a typed [`reason`].
//!
//! | module | holds |
//! |---|---|
//! | [`time`], [`ids`], [`group`] | moments, names and numbers, who has a part in a claim |
//! | [`lease`] | every sum of a moment and a time-to-live |
//! | [`message`], [`reason`] | what is said, and why |
//! | [`member`], [`grantor`] | the two machines |
//! | [`election`] | which coordinator leads, and until when |
//! | [`rules`] | the safety rules by name, for the checks that break them one by one |

pub mod election;
pub mod grantor;
pub mod group;
pub mod ids;
pub mod lease;
pub mod member;
pub mod message;
pub mod reason;
pub mod rules;
pub mod time;

pub use election::Election;
pub use grantor::Grantor;
pub use member::Member;
pub use rules::{Rule, Rules};
pub use time::Moment;
