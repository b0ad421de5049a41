//! HAProxy while it runs: what is told to it in place of a reload.
//!
//! | module | does |
//! |---|---|
//! | [`runtime`] | asks one question at its socket |
//! | [`certificates`] | hands it new certificates |
//! | [`servers`] | reads how its servers are (pure) |
//! | [`marks`] | which of them are marked down when their nodes die (pure) |
//! | [`leaders`] | which of them when the databases' leader changes (pure) |
//! | [`marker`] | marks them |
//! | [`drains`] | which of them get nothing new because their nodes are drained (pure) |
//! | [`drainer`] | has them get nothing new |
//! | [`series`] | what is counted |
//!
//! The executor of roles uses [`certificates`], at root's socket; the agent marks servers, at one
//! of its own.

pub mod certificates;
pub mod drainer;
pub mod drains;
pub mod leaders;
pub mod marker;
pub mod marks;
pub mod runtime;
pub mod series;
pub mod servers;
