//! The scale bench: many simulated agents with twice as many claims against one real leader.
//!
//! The leader is a coordinator with its etcd on a VM of the lab, installed from the packages. The
//! agents live in one process in the network namespace of the lab's client, each with an address of
//! its own. They are the real agent's library: enrolment, session, published facts, and the holder
//! with its members, keys and seals, over UDP. Each two of them share a network and its claims.
//!
//! | module | holds |
//! |---|---|
//! | [`layout`] | pure: names, addresses, the site's document |
//! | [`figures`], [`seen`] | pure: one size measured; what agents saw of their claims |
//! | [`table`], [`bars`] | pure: what is printed of all sizes |
//! | [`options`] | the command line |
//! | [`world`] | the machine around a simulated holder: a fence of memory, a real socket |
//! | [`driver`], [`agent`], [`crowd`] | one holder's loop, one agent, all of them |
//! | [`leader`], [`bench`](mod@bench) | drivers of the lab, and the order of it all |
//!
//! Absent: gossip among the simulated agents, checks, kernel fences, and facts that change while
//! nothing happens. The leader sees none of the first three.

pub mod agent;
pub mod bars;
pub mod bench;
pub mod crowd;
pub mod driver;
pub mod figures;
pub mod layout;
pub mod leader;
pub mod options;
pub mod seen;
pub mod table;
pub mod world;
