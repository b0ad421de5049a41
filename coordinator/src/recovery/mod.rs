//! A site that lost all coordinators is rebuilt from what its agents hold.
//!
//! ```text
//! coordctl recover: files as after `restore`, and recover.json
//!   |
//!   v          each agent dials, as always; is asked for all that it holds; is told nothing else
//! recovering --------------------------------------------------------------+
//!   | coordctl recover finish: restore.json, in one piece                  | killed: dials again,
//!   v                                                                      | told again
//! as after a restore: the records into the store, then it leads  <---------+
//! ```
//! Guarantees: of the backup the CA and what stands beside it are believed, and of its records only
//! what agents cannot know; nothing is granted and nothing is assigned before it is finished;
//! nobody of whom any agent knows is passed over without an admin's word.
//!
//! The idea: nothing that is told is written down before the end, so that a coordinator that is
//! killed begins again with an empty mind, and the end is one file.
//!
//! | module | holds |
//! |---|---|
//! | [`told`] | what one agent told, once it was read |
//! | [`roll`] | pure: whose word counts, and who is missing |
//! | [`document`] | pure: the site document |
//! | [`groups`] | pure: the claims and their groups |
//! | [`plan`] | pure: all of that together |
//! | [`records`] | pure: the store's records of a plan |
//! | [`base`] | what is there before any agent was heard |
//! | [`desk`] | what was heard so far, and finishing |
//! | [`session`], [`service`] | how agents and operators speak to it |

pub mod base;
pub mod desk;
pub mod document;
pub mod groups;
pub mod plan;
pub mod records;
pub mod roll;
pub mod service;
pub mod session;
#[cfg(test)]
mod tests;
pub mod told;
#[cfg(test)]
mod whole_tests;

pub use base::{Base, Begun};
pub use desk::Desk;
pub use told::{Id, Told};
