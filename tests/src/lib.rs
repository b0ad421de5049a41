//! What the tests of the whole project share.
//!
//! | module | holds |
//! |---|---|
//! | [`tidy`] | rules that hold for every file of the tree: layering, sizes, words, links |

pub mod tidy;
