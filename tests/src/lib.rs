//! What the tests of the whole project share.
//!
//! | module | holds |
//! |---|---|
//! | [`lab`] | the lab, driven by its own command |
//! | [`model`] | the claims core under a model checker |
//! | [`properties`] | what must hold after every event of the claims core, whatever came before |
//! | [`scale`] | the scale bench: many simulated agents against one leader |
//! | [`scenarios`] | what must hold on a whole site, one function each |
//! | [`sim`] | a seeded simulation of a whole site around the claims core |
//! | [`site`] | a booted site, seen and used as its operators do |
//! | [`soak`] | static stability over minutes, watched |
//! | [`tidy`] | rules that hold for every file of the tree: layering, sizes, words, links |
//! | [`vip`] | the VIP bench: hamesh beside keepalived under the same faults |

pub mod failover;
pub mod lab;
pub mod model;
pub mod patroni;
pub mod properties;
pub mod scale;
pub mod scenarios;
pub mod sim;
pub mod site;
pub mod soak;
pub mod sql;
pub mod tidy;
pub mod vip;
