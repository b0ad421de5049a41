//! The engine of roles: what a node is to have, what it has, and the steps between the two.
//!
//! ```text
//! Desired --+
//!           +--> plan --> Step --executor--> the machine --observer--> Observed --+
//! Observed -+                                                                     |
//!    ^----------------------------------------------------------------------------+
//! ```
//! Guarantees: a plan is a function of what is desired, observed and owned; an executor that stops
//! after any step, observes and plans again is left with exactly the rest of the steps; what could
//! not be looked at is never taken for absent; no secret is in a step's words.
//!
//! The idea: what has taken effect is observed like everything else. A service that runs with
//! files of before is a difference (it has *loaded* others), and so is a configuration that was
//! never proven to work. So nothing that is still to be done is kept in anyone's memory.
//!
//! | module | holds |
//! |---|---|
//! | [`resource`] | what a node can be made to have |
//! | [`desired`] | all of it for one node, and what proves that it works |
//! | [`observed`] | what the node has |
//! | [`plan`] | the steps, each with its reason |

pub mod desired;
mod difference;
pub mod digest;
#[cfg(test)]
pub(crate) mod model;
pub mod observed;
pub mod plan;
pub mod resource;
#[cfg(test)]
mod tests;

pub use desired::{Desired, Gate, Probe};
pub use digest::Digest;
pub use observed::{Observed, Owned, Seen, State};
pub use plan::{Action, Plan, Reason, Step, plan};
pub use resource::{
    Certificate, Command, Content, Contents, Directory, File, Live, Mount, Package, Resource,
    ResourceId, Table, Unit, User,
};
