//! Backups of everything that coordinators know, the CA's key among it.
//!
//! Guarantees: a backup is the store at one revision, with the keys that lie beside it; it is
//! sealed under a key that a passphrase gives, and says of itself whether it is whole; whoever has
//! the passphrase can check it without any coordinator.
//!
//! | module | holds |
//! |---|---|
//! | [`key`] | from a passphrase to a key |
//! | [`container`] | the file: its parts, and what can be wrong with them |
//! | [`snapshot`] | what is inside, and whether a site can be restored from it |
//! | [`rebirth`] | what its records become when a site is restored from them |
//! | [`schedule`] | backups by the clock, as the site document asks for them |

pub mod container;
pub mod key;
pub mod metrics;
pub mod rebirth;
#[cfg(test)]
mod restore_tests;
pub mod schedule;
pub mod snapshot;
#[cfg(test)]
mod tests;

pub use container::{Container, ContainerError, Header};
pub use key::{BackupKey, KeyError};
pub use snapshot::{Contents, Snapshot, SnapshotError};
