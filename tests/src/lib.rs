//! What the tests of the whole project share.
//!
//! | module | holds |
//! |---|---|
//! | [`lab`] | the lab, driven by its own command |
//! | [`tidy`] | rules that hold for every file of the tree: layering, sizes, words, links |

pub mod lab;
pub mod tidy;
