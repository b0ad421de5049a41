//! What the holder needs of the machine around it: a clock, the kernel's fence, `/run`, a wire.
//!
//! A trait, so that the same holder runs in tests on a clock and a wire of memory.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hamesh_claims::Moment;
use hamesh_claims::member::RunMemory;
use hamesh_kernel::fence::Written;
use hamesh_proto::ids::ClaimId;

/// Why the kernel or `/run` did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing fences the addresses: someone flushed the rules.
    #[error("the fence is not loaded")]
    NotLoaded,
    /// An address has no interface to be on.
    #[error("no interface of this node is in the network of {0}")]
    Homeless(IpAddr),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// The machine around the holder.
pub trait World {
    /// The monotonic clock, read now.
    fn now(&mut self) -> Moment;

    /// Opens the fence for these addresses until then, puts them on their interfaces, announces
    /// them. On any other outcome than [`Written::Live`] nothing is held.
    ///
    /// # Errors
    /// [`Trouble`]: nothing is held.
    fn take(&mut self, addresses: &[IpAddr], until: Moment) -> Result<Written, Trouble>;

    /// Moves the deadline of an open fence. On any other outcome than [`Written::Live`] nothing is
    /// held.
    ///
    /// # Errors
    /// [`Trouble`]: nothing is held.
    fn renew(&mut self, addresses: &[IpAddr], until: Moment) -> Result<Written, Trouble>;

    /// Closes the fence and takes the addresses away.
    ///
    /// # Errors
    /// [`Trouble::NotLoaded`]: the addresses are away all the same. Any other: they may be open.
    fn give_back(&mut self, addresses: &[IpAddr]) -> Result<(), Trouble>;

    /// For how long all of these addresses are still open in the kernel, by whomever.
    fn still_open(&mut self, addresses: &[IpAddr]) -> Option<Duration>;

    /// Writes to `/run`; done when it returns.
    ///
    /// # Errors
    /// [`Trouble`]: the old memory is in place.
    fn remember(&mut self, claim: &ClaimId, memory: &RunMemory) -> Result<(), Trouble>;

    /// What was written to `/run` last.
    fn recall(&mut self, claim: &ClaimId) -> Option<RunMemory>;

    /// Sends a datagram; lost if the network will not take it now.
    fn send(&mut self, to: SocketAddr, datagram: &[u8]);

    /// A number that was never drawn before.
    fn draw(&mut self) -> u64;
}
