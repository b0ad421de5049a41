//! What the tests of the whole project share.
//!
//! | module | holds |
//! |---|---|
//! | [`lab`] | the lab, driven by its own command |
//! | [`scenarios`] | what must hold on a whole site, one function each |
//! | [`sim`] | a seeded simulation of a whole site around the claims core |
//! | [`site`] | a booted site, seen and used as its operators do |
//! | [`tidy`] | rules that hold for every file of the tree: layering, sizes, words, links |

pub mod lab;
pub mod scenarios;
pub mod sim;
pub mod site;
pub mod tidy;
