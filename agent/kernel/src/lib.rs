//! The Linux side of a claim: the fence, the address, the announcement, and what tells of trouble.
//!
//! Guarantees that a claimed address works on this node only while its lease lives, by means of the
//! kernel alone: if the agent is killed, stopped or starved, the fence closes at the deadline.
//!
//! Pure, tested on any machine: [`ruleset`] (the fence as text), [`nf`] (its elements as bytes),
//! [`interfaces`] (where an address belongs), [`frames`] (announcements and probes), [`announcer`]
//! (when to announce), [`duplicates`] (who else answers), [`reconcile`] (what others changed).
//!
//! Dull drivers, tested in network namespaces: [`fence`], [`database`], [`load`], [`rtnl`],
//! [`packet`], [`exit`], [`thread`], and [`vips`], which puts them in order. They block, wait for
//! the kernel alone, and work without an asynchronous runtime: the holder's thread polls their
//! descriptors.
//!
//! Absent on purpose: leases and decisions. A caller brings the deadline.

pub mod announcer;
mod changes;
pub mod database;
pub mod device;
pub mod duplicates;
pub mod exit;
pub mod fence;
pub mod frames;
pub mod interfaces;
pub mod load;
mod netlink;
pub mod nf;
mod nla;
pub mod packet;
pub mod reconcile;
pub mod rtnl;
mod rules;
pub mod ruleset;
pub mod thread;
pub mod vips;
