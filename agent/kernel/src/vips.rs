//! Takes, keeps and gives back claimed addresses, in the one order that is safe: a dull driver.
//!
//! ```text
//!   take:       element, address, first announcement
//!   give back:  element away, address away
//! ```
//!
//! Guarantees that an address is never announced before its fence is open, and that a failure half
//! way closes the fence before it is reported. Every call leaves the kernel at least as closed as
//! the lease demands; what could not be removed is removed by the next [`Vips::reconcile`].
//!
//! For the holder's thread: call [`Vips::announce`] when it is due, [`Vips::look`] after each event
//! of the monitor, [`Vips::reconcile`] at the start and every second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::Instant;

use thiserror::Error;

use crate::announcer::Announcer;
use crate::fence::{Fence, FenceError, Written};
use crate::frames;
use crate::interfaces::Interfaces;
use crate::packet::{PacketError, PacketSocket, Speaks};
use crate::reconcile::{Desired, Observed, Step};
use crate::rtnl::{Rtnl, RtnlError};

/// Why an address could not be taken, kept or given back.
#[derive(Debug, Error)]
pub enum VipError {
    /// The fence could not be written: whether it is closed is not sure until its deadline.
    #[error("the fence")]
    Fence(#[from] FenceError),
    /// An address could not be changed. The fence is closed.
    #[error("the address; the fence is closed")]
    Address(#[from] RtnlError),
    /// No interface has an address in its network. The fence is closed.
    #[error(
        "no interface of this node is in the network of {ip}; the fence is closed; \
         give an interface an address in it"
    )]
    Homeless {
        /// The address.
        ip: IpAddr,
    },
}

/// The claimed addresses of one node.
#[derive(Debug)]
pub struct Vips {
    fence: Fence,
    rtnl: Rtnl,
    interfaces: Interfaces,
    sockets: BTreeMap<(u32, bool), PacketSocket>,
    announcers: BTreeMap<IpAddr, Announcer>,
}

impl Vips {
    /// Opens the ways to the kernel and looks at the interfaces.
    pub fn open() -> Result<Self, VipError> {
        let mut rtnl = Rtnl::open()?;
        Ok(Self {
            fence: Fence::open()?,
            interfaces: rtnl.interfaces()?,
            rtnl,
            sockets: BTreeMap::new(),
            announcers: BTreeMap::new(),
        })
    }

    /// Takes the addresses of a claim until the deadline of its lease. On any other outcome than
    /// [`Written::Live`] nothing is held.
    pub fn take(&mut self, addresses: &[IpAddr], deadline: Instant) -> Result<Written, VipError> {
        let written = self.fence.take(addresses, deadline)?;
        if written != Written::Live {
            self.give_back(addresses)?;
            return Ok(written);
        }
        if let Err(e) = self.configure(addresses) {
            // The first failure is the one to report; the rest is for the next reconciliation.
            let _ = self.give_back(addresses);
            return Err(e);
        }
        let now = Instant::now();
        for ip in addresses {
            self.announcers.entry(*ip).or_default().took(now);
        }
        // What cannot be announced is held all the same: clients find it by asking.
        let _ = self.announce(now);
        Ok(Written::Live)
    }

    /// Moves the deadline. On any other outcome than [`Written::Live`] all is given back.
    pub fn renew(&mut self, addresses: &[IpAddr], deadline: Instant) -> Result<Written, VipError> {
        let written = self.fence.renew(addresses, deadline);
        if !matches!(written, Ok(Written::Live)) {
            let given_back = self.give_back(addresses);
            // A fence that is not loaded is the news, not that it could not be closed either.
            let written = written?;
            given_back?;
            return Ok(written);
        }
        Ok(Written::Live)
    }

    /// Gives the addresses back: closes the fence, then takes them away. Both are tried.
    pub fn give_back(&mut self, addresses: &[IpAddr]) -> Result<(), VipError> {
        let closed = self.fence.close(addresses);
        for ip in addresses {
            self.announcers.remove(ip);
        }
        self.look()?;
        for ip in addresses {
            let there: Vec<_> = self.interfaces.carrying(*ip).copied().collect();
            for address in there {
                self.rtnl.remove(address)?;
            }
        }
        Ok(closed?)
    }

    /// Looks at interfaces and addresses again; after events, and when they were missed.
    pub fn look(&mut self) -> Result<&Interfaces, VipError> {
        self.interfaces = self.rtnl.interfaces()?;
        let links = &self.interfaces.links;
        self.sockets
            .retain(|(index, _), _| links.contains_key(index));
        Ok(&self.interfaces)
    }

    /// A rival spoke, a peer or the wire came back: announces again, at once.
    pub fn contradicted(&mut self, ip: IpAddr, now: Instant) {
        if let Some(announcer) = self.announcers.get_mut(&ip) {
            announcer.contradicted(now);
        }
    }

    /// When to [`Vips::announce`] next; none while nothing is held.
    #[must_use]
    pub fn announcement_due(&self) -> Option<Instant> {
        self.announcers.values().filter_map(Announcer::due).min()
    }

    /// Sends what is due, and returns how many announcements that were. One that fails does not
    /// keep the others from being sent; the first failure is returned.
    pub fn announce(&mut self, now: Instant) -> Result<usize, PacketError> {
        let mut forms = Vec::new();
        for (ip, announcer) in &mut self.announcers {
            forms.extend(announcer.poll(now).map(|form| (*ip, form)));
        }
        let mut failure = None;
        let mut sent = 0;
        for (ip, form) in forms {
            match self.send(ip, form) {
                Ok(()) => sent += 1,
                Err(e) => failure = failure.or(Some(e)),
            }
        }
        failure.map_or(Ok(sent), Err)
    }

    /// Puts right what others changed, and reports what that was. What is claimed and not held is
    /// closed and taken away; what is held is brought home. Every step is tried.
    pub fn reconcile(&mut self, desired: &Desired) -> Result<Vec<Step>, VipError> {
        let open: BTreeSet<IpAddr> = self.fence.live()?.into_keys().collect();
        self.look()?;
        let interfaces = self.interfaces.clone();
        let steps = desired.plan(&Observed { interfaces, open });
        let mut failure = None;
        for step in &steps {
            if let Err(e) = self.apply(step) {
                failure = failure.or(Some(e));
            }
        }
        failure.map_or(Ok(steps), Err)
    }

    fn apply(&mut self, step: &Step) -> Result<(), VipError> {
        match step {
            Step::Close(ip) => Ok(self.fence.close(&[*ip])?),
            Step::Remove { address, .. } => {
                self.rtnl.remove(*address)?;
                Ok(())
            }
            Step::Add { ip, index } => {
                self.rtnl.add(*ip, *index)?;
                self.contradicted(*ip, Instant::now());
                Ok(())
            }
            Step::Homeless(_) => Ok(()),
        }
    }

    fn configure(&mut self, addresses: &[IpAddr]) -> Result<(), VipError> {
        self.look()?;
        for ip in addresses {
            let home = self.interfaces.home(*ip).map(|(index, _)| index);
            let index = home.ok_or(VipError::Homeless { ip: *ip })?;
            self.rtnl.add(*ip, index)?;
        }
        Ok(())
    }

    fn send(&mut self, ip: IpAddr, form: frames::Form) -> Result<(), PacketError> {
        let nowhere = PacketError::NoInterface { index: 0 };
        let (index, link) = self.interfaces.home(ip).ok_or(nowhere)?;
        let mac = link.mac.ok_or(PacketError::NoInterface { index })?;
        let router = ip.is_ipv6() && forwards(&link.name);
        let frame = frames::announcement(ip, mac, form, router);
        let socket = match self.sockets.entry((index, ip.is_ipv6())) {
            std::collections::btree_map::Entry::Occupied(socket) => socket.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let speaks = if ip.is_ipv4() {
                    Speaks::Arp
                } else {
                    Speaks::Advertisements
                };
                place.insert(PacketSocket::open(index, speaks)?)
            }
        };
        socket.send(&frame)
    }
}

/// Whether the kernel forwards IPv6 that comes in at the interface. Not known is no.
fn forwards(name: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/forwarding");
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}
