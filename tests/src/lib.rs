//! What the tests of the whole project share.
//!
//! | module | holds |
//! |---|---|
//! | [`lab`] | the lab, driven by its own command |
//! | [`site`] | a booted site, seen and used as its operators do |
//! | [`scenarios`] | what must hold on a whole site, one function each |
//! | [`tidy`] | rules that hold for every file of the tree: layering, sizes, words, links |

pub mod lab;
pub mod scenarios;
pub mod site;
pub mod tidy;
