//! What a node runs on. Each engine says how to boot a node, how to get in, and how to stop time.

pub mod nspawn;
pub mod uml;
