//! Opens and closes the fence: writes the live elements into the kernel over netlink.
//!
//! Guarantees:
//! - what was written lapses in the kernel by itself at the deadline, at the latest;
//! - a lapsed element is never renewed, only reported: the holder acquires afresh;
//! - after a commit the clock is read again, and what came too late is deleted at once.
//!
//! ```text
//!            take                     renew (delete + add)
//!   closed ----------> live ------------------------------> live
//!      ^                |  \________________________________/
//!      |                |
//!      +----------------+   close, or the deadline, in the kernel
//! ```
//!
//! Absent on purpose: loading the rules (see [`crate::load`]; that needs `nft` and may be slow),
//! and any decision: the deadline comes from the lease.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use thiserror::Error;

use crate::changes::{self, Change};
use crate::netlink::{Netlink, NetlinkError};
use crate::nf::{self, Family, Kind};
use crate::ruleset::{ChainName, Observed, TABLE};

/// A list that changed while it was read is read again, so often at most.
const LOOKS: u32 = 4;
/// Addresses in one call: a claim has a few. Three tables, three changes each, fit one datagram.
pub const MOST_ADDRESSES: usize = 64;
/// One change is below 100 bytes.
const BATCH: usize = MOST_ADDRESSES * 9 * 128;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The elements are in the kernel until the deadline.
    Live,
    /// An element had run out: the fence is closed and stays so. Acquire the claim afresh.
    Lapsed,
    /// The deadline had passed, before or during the write: the fence is closed.
    TooLate,
}

/// Why the fence could not be written or read.
#[derive(Debug, Error)]
pub enum FenceError {
    /// The tables are not loaded (someone flushed them). Nothing was changed. Give the address
    /// back: nothing fences it.
    #[error(
        "the fence is not loaded (no set {set} in table {family} {TABLE}); nothing was changed; \
         give the address back and load the fence"
    )]
    NotLoaded {
        /// The family whose table or set is missing.
        family: Family,
        /// The set that is missing.
        set: &'static str,
    },
    /// The table of the databases is not loaded. Nothing was changed.
    #[error("the fence of the databases is not loaded (no table inet hamesh_database)")]
    NoDatabase,
    /// More addresses in one call than the fence is built for. Nothing was changed.
    #[error(
        "{count} addresses in one claim, at most {MOST_ADDRESSES} can be fenced; \
         nothing was changed"
    )]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// The kernel refused or did not answer.
    #[error("cannot write the fence")]
    Netlink(#[from] NetlinkError),
}

/// How long an address is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The longest time left in any table; none where an element without an end was written by
    /// someone else.
    pub remaining: Option<Duration>,
    /// In how many tables; fewer than the fence has means that someone else deleted elements.
    pub tables: usize,
}

/// The fence of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Fence {
    netlink: Netlink,
    request: Vec<u8>,
}

impl Fence {
    /// Opens the way to the kernel. Needs CAP_NET_ADMIN for every later call.
    pub fn open() -> Result<Self, FenceError> {
        Ok(Self {
            netlink: Netlink::open(NETLINK_NETFILTER)?,
            request: Vec::with_capacity(BATCH),
        })
    }

    /// Opens the fence for these addresses until the deadline, whatever elements were there.
    pub fn take(&mut self, addresses: &[IpAddr], deadline: Instant) -> Result<Written, FenceError> {
        let Some(ms) = milliseconds_left(deadline) else {
            self.close(addresses)?;
            return Ok(Written::TooLate);
        };
        match self.commit(addresses, changes::taking(addresses, ms)) {
            Ok(()) => self.settle(addresses, deadline),
            Err(e) => Err(self.explain(addresses, e)),
        }
    }

    /// Moves the deadline of elements that are all still live; all of them or none.
    pub fn renew(
        &mut self,
        addresses: &[IpAddr],
        deadline: Instant,
    ) -> Result<Written, FenceError> {
        let Some(ms) = milliseconds_left(deadline) else {
            self.close(addresses)?;
            return Ok(Written::TooLate);
        };
        match self.commit(addresses, changes::renewal(addresses, ms)) {
            Ok(()) => self.settle(addresses, deadline),
            Err(FenceError::Netlink(e)) if e.refusal() == Some(libc::ENOENT) => {
                // Of several some may be live yet: a claim is held whole or not at all. Where the
                // tables are missing, this says so.
                self.close(addresses)?;
                Ok(Written::Lapsed)
            }
            Err(e) => Err(e),
        }
    }

    /// Closes the fence for these addresses now. Closing a closed one is no error.
    pub fn close(&mut self, addresses: &[IpAddr]) -> Result<(), FenceError> {
        self.commit(addresses, changes::closing(addresses))
            .map_err(|e| self.explain(addresses, e))
    }

    /// What is open in the kernel now, by whomever it was written.
    pub fn live(&mut self) -> Result<BTreeMap<IpAddr, Open>, FenceError> {
        let mut live: BTreeMap<IpAddr, Open> = BTreeMap::new();
        for family in Family::ALL {
            for element in self.elements(family, Kind::Live)? {
                let open = live.entry(element.address).or_insert(Open {
                    remaining: element.remaining,
                    tables: 0,
                });
                open.tables += 1;
                let both = open.remaining.zip(element.remaining);
                open.remaining = both.map(|(a, b)| a.max(b));
            }
        }
        Ok(live)
    }

    /// What of the fence is in the kernel; missing tables are seen as empty, not as an error.
    pub fn observe(&mut self) -> Result<Observed, FenceError> {
        let mut observed = Observed::default();
        for family in Family::ALL {
            for (name, rules) in self.chains(family)? {
                observed.chains.insert(ChainName { family, name }, rules);
            }
            match self.elements(family, Kind::Claimed) {
                Ok(elements) => {
                    let addresses = elements.iter().map(|e| e.address).collect();
                    observed.claimed.insert(family, addresses);
                }
                Err(FenceError::NotLoaded { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(observed)
    }

    /// The second look at the clock: the deadline may have passed while the kernel was busy.
    fn settle(&mut self, addresses: &[IpAddr], deadline: Instant) -> Result<Written, FenceError> {
        if Instant::now() < deadline {
            return Ok(Written::Live);
        }
        self.close(addresses)?;
        Ok(Written::TooLate)
    }

    fn commit(
        &mut self,
        addresses: &[IpAddr],
        changes: impl Iterator<Item = Change>,
    ) -> Result<(), FenceError> {
        let count = addresses.len();
        if count > MOST_ADDRESSES {
            return Err(FenceError::TooMany { count });
        }
        if count == 0 {
            return Ok(());
        }
        let changes_at_most = u32::try_from(count * 9 + 2).expect("bounded above");
        let first = self.netlink.number(changes_at_most);
        let last = nf::batch(&mut self.request, first, changes);
        Ok(self.netlink.commit(&self.request, first, last)?)
    }

    /// ENOENT is said of a missing table as of a missing element: looks which it was.
    fn explain(&mut self, addresses: &[IpAddr], error: FenceError) -> FenceError {
        let FenceError::Netlink(refusal) = &error else {
            return error;
        };
        if refusal.refusal() != Some(libc::ENOENT) {
            return error;
        }
        for address in addresses {
            for family in Family::ALL.into_iter().filter(|f| f.knows(*address)) {
                let set = Kind::Live.set(address.is_ipv4());
                let number = self.netlink.number(0);
                nf::get_set(&mut self.request, number, family, set);
                let there = self.netlink.commit(&self.request, number, number);
                if there.is_err_and(|e| e.refusal() == Some(libc::ENOENT)) {
                    return FenceError::NotLoaded { family, set };
                }
            }
        }
        error
    }

    fn elements(&mut self, family: Family, kind: Kind) -> Result<Vec<nf::Element>, FenceError> {
        let mut all = Vec::new();
        let versions = [true, false].into_iter();
        for v4 in versions.filter(|v4| *v4 || family != Family::Arp) {
            let set = kind.set(v4);
            let found = self.look(
                |request, number| nf::get_elements(request, number, family, (TABLE, set)),
                nf::elements,
            );
            match found {
                Ok(found) => all.extend(found.into_iter().flatten()),
                Err(e) if e.refusal() == Some(libc::ENOENT) => {
                    return Err(FenceError::NotLoaded { family, set });
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(all)
    }

    fn chains(&mut self, family: Family) -> Result<Vec<(String, u32)>, FenceError> {
        let chains = self.look(
            |request, number| nf::get_chains(request, number, family),
            |kind, payload| nf::chain(kind, payload, TABLE),
        )?;
        Ok(chains.into_iter().flatten().collect())
    }

    fn look<T>(
        &mut self,
        ask: impl Fn(&mut Vec<u8>, u32),
        read: impl Fn(u16, &[u8]) -> T,
    ) -> Result<Vec<T>, NetlinkError> {
        look(&mut self.netlink, &mut self.request, ask, read)
    }
}

/// Asks for a list and reads every message of the answer, again if it changed meanwhile.
pub(crate) fn look<T>(
    netlink: &mut Netlink,
    request: &mut Vec<u8>,
    ask: impl Fn(&mut Vec<u8>, u32),
    read: impl Fn(u16, &[u8]) -> T,
) -> Result<Vec<T>, NetlinkError> {
    let interrupted = io::Error::from_raw_os_error(libc::EINTR);
    let mut last = NetlinkError::Refused(interrupted);
    for _ in 0..LOOKS {
        let mut found = Vec::new();
        let number = netlink.number(0);
        ask(request, number);
        let each = |m: &crate::netlink::Message<'_>| found.push(read(m.kind, m.payload));
        match netlink.dump(request, number, each) {
            Ok(()) => return Ok(found),
            Err(e) if e.refusal() == Some(libc::EINTR) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Whole milliseconds, rounded down: an element may lapse early, never late.
pub(crate) fn milliseconds_left(deadline: Instant) -> Option<u64> {
    let left = deadline.saturating_duration_since(Instant::now());
    let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 1_000_000);
    (ms > 0).then_some(ms)
}
