//! How well this node could serve each of its claims, by the checks that the assignment asks for.
//!
//! ```text
//! assignment --> Checks --> one task per check: process | probe (tcp, http, command)
//!                  ^                     |
//!                  +---- its results ----+
//!                  v
//!     board (pure) --> reports --> the holder of claims
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`board`], [`streak`] | what the results mean (pure) |
//! | [`runner`] | starts and ends the checks, publishes what they say |
//! | [`probe`] | one probe after another, each within its time |
//! | [`tcp`], [`http`], [`command`] | the probes |
//! | [`process`], [`units`], [`exit`] | a service's main process, watched |
//! | [`memory`] | what the last run of the agent knew |
//!
//! Guarantees: a report is there for every claim of the assignment, from the first moment; every
//! check is bounded in time, memory and number; a process that ends is told at once.
//!
//! Absent: deciding who holds what. A report only says how well this node could.

use std::collections::BTreeMap;

use hamesh_claims::message::Health;
use hamesh_proto::ids::ClaimId;

pub mod board;
pub mod command;
pub mod exit;
pub mod http;
pub mod memory;
pub mod probe;
pub mod process;
pub mod runner;
pub mod series;
pub mod streak;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod units;

/// How well this node could serve one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// How well.
    pub health: Health,
    /// Why not better; empty: it is healthy.
    pub why: String,
}

/// A report for every claim of the assignment.
pub type Reports = BTreeMap<ClaimId, HealthReport>;

/// What one look gave: all is well, or what is not.
pub type Outcome = Result<(), String>;
