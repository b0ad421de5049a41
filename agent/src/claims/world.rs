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

/// What a claim stands for in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Addresses, held together.
    Addresses(&'a [IpAddr]),
    /// Leading the databases.
    Database,
}

impl<'a> Subject<'a> {
    /// The addresses that come with it.
    pub const fn addresses(self) -> &'a [IpAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Database => &[],
        }
    }
}

/// The machine around the holder.
pub trait World {
    /// The monotonic clock, read now.
    fn now(&mut self) -> Moment;

    /// Opens the fence of a claim until then, puts its addresses on their interfaces, announces
    /// them. On any other outcome than [`Written::Live`] nothing is held.
    ///
    /// # Errors
    /// [`Trouble`]: nothing is held.
    fn take(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble>;

    /// Moves the deadline of an open fence. On any other outcome than [`Written::Live`] nothing is
    /// held.
    ///
    /// # Errors
    /// [`Trouble`]: nothing is held.
    fn renew(&mut self, what: Subject<'_>, until: Moment) -> Result<Written, Trouble>;

    /// Closes the fence and takes the addresses away.
    ///
    /// # Errors
    /// [`Trouble::NotLoaded`]: the addresses are away all the same. Any other: they may be open.
    fn give_back(&mut self, what: Subject<'_>) -> Result<(), Trouble>;

    /// For how long all of it is still open in the kernel, by whomever.
    fn still_open(&mut self, what: Subject<'_>) -> Option<Duration>;

    /// Lets Patroni take part without a lease. Not to be called while one is live.
    ///
    /// # Errors
    /// [`Trouble`]: all is as it was.
    fn stand_by(&mut self) -> Result<(), Trouble>;

    /// Lets others read from this node's database for so long.
    ///
    /// # Errors
    /// [`Trouble`]: all is as it was.
    fn let_read(&mut self, during: Duration) -> Result<(), Trouble>;

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
