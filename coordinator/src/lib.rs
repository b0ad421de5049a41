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
//! | [`liveness`] | pure: whether a node is alive, and why |
//! | [`authority`] | who gets which certificate |
//! | [`leadership`] | whether this coordinator leads |
//! | [`world`], [`sessions`] | the state as last read, and who is connected |
//! | [`upgrade`] | upgrades of hamesh itself: the order, and carrying it out |
//! | [`watcher`], [`rotation`] | the loops that judge nodes and rotate the gossip key |
//! | [`claims`] | who is granted what: the grantors' thread, its keys and its store |
//! | [`databases`] | how the databases' cluster is, and what operators have done with it |
//! | [`questions`] | asks nodes' agents, and waits for their answers |
//! | [`backup`] | backups: the file, what is in it, the schedule |
//! | [`recovery`] | a site that lost all coordinators, rebuilt from its agents |
//! | [`joining`], [`join`] | how a machine becomes a coordinator: the leader's side, and its own |
//! | [`enrolment`], [`agents`], [`operators`] | the services |
//! | [`outdated`] | how a coordinator ends whose site was restored elsewhere |
//! | [`core`], [`server`] | what the services share, and how it is all built and run |
//! | [`ctl`] | `coordctl`: commands and screens |
//! | [`metrics`], [`clock`], [`notify`], [`cli`] | the small parts |

pub mod agents;
pub mod authority;
pub mod backup;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod ctl;
pub mod databases;
pub mod desired;
pub mod enrolment;
mod harmless;
pub mod init;
pub mod join;
pub mod joining;
pub mod leadership;
pub mod ledger;
pub mod liveness;
pub mod metrics;
pub mod notify;
pub mod operators;
pub mod outdated;
pub mod questions;
pub mod records;
pub mod recovery;
mod refusal;
pub mod roles;
pub mod rotation;
pub mod server;
pub mod sessions;
pub mod store;
#[cfg(test)]
mod testing;
pub mod upgrade;
pub mod watcher;
pub mod world;

use std::sync::LazyLock;

/// The version that was compiled in.
const BUILT: &str = env!("CARGO_PKG_VERSION");

/// The version of the coordinator, as it tells it to others: that of the package that it was
/// started from.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let program = "hamesh-coordinator";
        hamesh_proto::version::running(program, program, BUILT)
    });
    &VERSION
}
