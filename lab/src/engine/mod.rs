//! What a node runs on. Each engine says how to boot a node, how to get in, and how to stop time.

pub mod nspawn;
pub mod uml;

/// The exit status by which an engine says that its node asked for a reboot. It is nspawn's own
/// (EXIT_FORCE_RESTART).
pub const REBOOT: i32 = 133;
