//! The agent of a hamesh site: one runs on every VM, as root, under systemd.
//!
//! | module | does |
//! |---|---|
//! | [`cli`], [`commands`] | the command line and what its commands do |
//! | [`agent`] | builds the running agent and connects its parts |
//! | [`enrol`], [`renewal`] | the node's identity: how it comes and how it stays fresh |
//! | [`session`] | the stream with a coordinator |
//! | [`held`], [`assignment`], [`keys`], [`state`] | what the node was told, and its disk |
//! | [`gossip`] | membership and health among the nodes |
//! | [`checks`] | how well the node could serve each of its claims |
//! | [`claims`] | holds addresses under leases, by a thread of its own |
//! | [`observe`], [`publish`] | what the node sees of itself, and says |
//! | [`http`], [`metrics`], [`status`] | what others can ask |
//! | [`apply`], [`apply_link`] | what applies roles, a process of its own; the way to it |
//! | [`database`] | what runs on a database's node, asked for a coordinator |
//! | [`haproxy`] | the runtime API of the proxies |
//! | [`upgrade`] | upgrades of hamesh's own packages, as the coordinator orders them |
//! | [`backoff`], [`notify`], [`stopping`] | pauses between attempts; systemd |
//!
//! An agent needs a coordinator only to be told something new: it starts from disk, gossips and
//! answers without one.

pub mod agent;
pub mod apply;
pub mod apply_link;
pub mod assignment;
pub mod backoff;
pub mod checks;
pub mod claims;
pub mod cli;
pub mod commands;
pub mod database;
pub mod enrol;
pub mod gossip;
pub mod haproxy;
pub mod held;
pub mod http;
pub mod keys;
pub mod metrics;
pub mod notify;
pub mod observe;
pub mod primary;
pub mod publish;
pub mod renewal;
pub mod session;
pub mod state;
pub mod status;
pub mod stopping;
#[cfg(test)]
mod testing;
pub mod upgrade;

use std::sync::LazyLock;

/// The version that was compiled in.
const BUILT: &str = env!("CARGO_PKG_VERSION");

/// The agent's version, as it tells it to others: that of the package that it was started from.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| hamesh_proto::version::running("hamesh-agent", "hamesh-agent", BUILT));
    &VERSION
}
