//! Who else answers for the claimed addresses: asks and listens on the interfaces where they
//! belong. A dull driver around [`hamesh_kernel::duplicates`].
//!
//! Every member of a claim asks, holder and standby alike: a rival on a segment is found as long as
//! one of them is left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use hamesh_kernel::device::Mac;
use hamesh_kernel::duplicates::{Finding, Watch};
use hamesh_kernel::frames::{probe_v4, probe_v6};
use hamesh_kernel::interfaces::Interfaces;
use hamesh_kernel::packet::{PacketError, PacketSocket, Speaks};

/// The ears of this node.
#[derive(Debug, Default)]
pub struct Ears {
    ears: BTreeMap<u32, Ear>,
    held: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Ear {
    place: Place,
    sockets: Vec<PacketSocket>,
    watch: Watch,
}

/// What an ear is for: another place is another ear.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    mac: Mac,
    /// From where IPv6 is asked.
    link_local: Option<Ipv6Addr>,
    addresses: BTreeSet<IpAddr>,
}

impl Ears {
    /// Listens where these addresses belong now; elsewhere no more.
    ///
    /// # Errors
    /// The first interface that cannot be listened on; the others are.
    pub fn place(
        &mut self,
        interfaces: &Interfaces,
        claimed: &BTreeSet<IpAddr>,
    ) -> Result<(), PacketError> {
        let places = places(interfaces, claimed);
        self.ears
            .retain(|index, ear| places.get(index) == Some(&ear.place));
        let mut failure = None;
        for (index, place) in places {
            if !self.ears.contains_key(&index) {
                match Ear::open(index, place, &self.held) {
                    Ok(ear) => drop(self.ears.insert(index, ear)),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// From now on this node answers for these.
    pub fn holds(&mut self, held: &BTreeSet<IpAddr>) {
        if self.held != *held {
            self.held.clone_from(held);
            for ear in self.ears.values_mut() {
                ear.watch.holds(self.held.clone());
            }
        }
    }

    /// Asks who answers. What cannot be sent now is asked the next time.
    pub fn ask(&mut self) {
        let now = Instant::now();
        for ear in self.ears.values_mut() {
            ear.ask(now);
        }
    }

    /// What has been heard since the last call.
    pub fn listen(&mut self) -> Vec<Finding> {
        let now = Instant::now();
        let mut findings = Vec::new();
        for ear in self.ears.values_mut() {
            for socket in &ear.sockets {
                // An interface that is gone is noticed by the monitor.
                for heard in socket.heard().unwrap_or_default() {
                    let found = ear.watch.hears(&heard, now).into_iter();
                    findings.extend(found.map(|finding| others(finding, ear.place.mac)));
                }
            }
        }
        findings
    }

    /// What becomes readable when there is something to hear.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sockets = self.ears.values().flat_map(|ear| &ear.sockets);
        sockets.map(PacketSocket::as_fd)
    }
}

impl Ear {
    fn open(index: u32, place: Place, held: &BTreeSet<IpAddr>) -> Result<Self, PacketError> {
        let wants = |v4: bool| place.addresses.iter().any(|ip| ip.is_ipv4() == v4);
        let mut sockets = Vec::new();
        if wants(true) {
            sockets.push(PacketSocket::open(index, Speaks::Arp)?);
        }
        if wants(false) {
            sockets.push(PacketSocket::open(index, Speaks::Advertisements)?);
        }
        let mut watch = Watch::new(place.mac);
        watch.holds(held.clone());
        Ok(Self {
            place,
            sockets,
            watch,
        })
    }

    fn ask(&mut self, now: Instant) {
        let v4 = self.place.addresses.iter().any(IpAddr::is_ipv4);
        for ip in &self.place.addresses {
            let (socket, frame) = match ip {
                IpAddr::V4(ip) => (self.sockets.first(), probe_v4(*ip, self.place.mac)),
                IpAddr::V6(ip) => {
                    let Some(from) = self.place.link_local else {
                        continue;
                    };
                    let frame = probe_v6(*ip, self.place.mac, from);
                    (self.sockets.get(usize::from(v4)), frame)
                }
            };
            self.watch.asks(*ip, now);
            if let Some(socket) = socket {
                drop(socket.send(&frame));
            }
        }
    }
}

/// A holder counts itself among those who answer; others are to be told of.
fn others(finding: Finding, own: Mac) -> Finding {
    match finding {
        Finding::Rival { ip, mac } => Finding::Rival { ip, mac },
        Finding::Duplicate { ip, mut macs } => {
            macs.remove(&own);
            Finding::Duplicate { ip, macs }
        }
    }
}

fn places(interfaces: &Interfaces, claimed: &BTreeSet<IpAddr>) -> BTreeMap<u32, Place> {
    let mut places: BTreeMap<u32, Place> = BTreeMap::new();
    for ip in claimed {
        let Some((index, mac)) = interfaces
            .home(*ip)
            .and_then(|(index, link)| Some((index, link.mac?)))
        else {
            continue;
        };
        let place = places.entry(index).or_insert_with(|| Place {
            mac,
            link_local: link_local(interfaces, index),
            addresses: BTreeSet::new(),
        });
        place.addresses.insert(*ip);
    }
    places
}

fn link_local(interfaces: &Interfaces, index: u32) -> Option<Ipv6Addr> {
    let own = interfaces.addresses.iter().filter(|a| a.index == index);
    own.into_iter().find_map(|a| match a.ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    })
}
