//! The coordinator: keeps the desired state and the identities of a site, tells each agent its
//! part of it, and tells operators how the site is.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | etcd behind a small trait, and its twin in memory |
//! | [`records`] | the store's keys and values |
//! | [`ledger`] | changes with their events, exactly once |
//! | [`init`], [`config`] | a site's first files, and where they are |
//! | [`desired`] | pure: the desired state, and what each node is told of it |
//! | [`authority`] | who gets which certificate |
//! | [`liveness`] | pure: whether a node is alive, and why |
//! | [`ctl`] | `coordctl`: commands and screens |
//! | [`clock`] | the wall clock as a value |

pub mod agents;
pub mod authority;
pub mod clock;
pub mod config;
pub mod core;
pub mod ctl;
pub mod desired;
pub mod enrolment;
pub mod init;
pub mod ledger;
pub mod liveness;
pub mod metrics;
pub mod operators;
pub mod records;
mod refusal;
pub mod rotation;
pub mod sessions;
pub mod store;
pub mod watcher;
pub mod world;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
