//! What interfaces and addresses the node has, and what follows from that: pure.
//!
//! Guarantees that an address is put where its network is, or nowhere, and that every interface
//! from which a packet socket could announce it is fenced.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::device::{Device, DeviceName, Mac};

/// More interfaces than this are not fenced one by one: a site's networks have a few.
pub const MOST_FENCED: usize = 64;

/// One interface as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name it has now.
    pub name: String,
    /// Its hardware address; none where it is not Ethernet.
    pub mac: Option<Mac>,
    /// The bridge or bond that it belongs to.
    pub master: Option<u32>,
    /// The loopback interface.
    pub loopback: bool,
    /// One end of a pair, such as a container's.
    pub pair: bool,
    /// Set up by the administrator.
    pub up: bool,
    /// Something answers at the other end of the wire.
    pub carrier: bool,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The interface's index.
    pub index: u32,
    /// The address itself.
    pub ip: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
}

/// All interfaces and addresses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// By index.
    pub links: BTreeMap<u32, Link>,
    /// All addresses.
    pub addresses: BTreeSet<Address>,
}

impl Address {
    /// Whether the other address lies in this one's network. A host address has no network.
    #[must_use]
    pub fn network_holds(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) if self.prefix < 32 => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) if self.prefix < 128 => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
        }
    }
}

impl Interfaces {
    /// The interface on whose network a claimed address belongs: the narrowest network wins, then
    /// the lowest index. None where no interface has an address in it.
    #[must_use]
    pub fn home(&self, claimed: IpAddr) -> Option<(u32, &Link)> {
        let holds = |a: &&Address| a.network_holds(claimed) && a.ip != claimed;
        let best = self.addresses.iter().filter(holds);
        let best = best.max_by_key(|a| (a.prefix, std::cmp::Reverse(a.index)))?;
        self.links.get(&best.index).map(|link| (best.index, link))
    }

    /// Where a claimed address is configured now, by whomever.
    pub fn carrying(&self, claimed: IpAddr) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |a| a.ip == claimed)
    }

    /// The interfaces at whose egress the claimed addresses are fenced: those with an address in
    /// the network of one, and every other Ethernet interface that is not a member of a bridge or
    /// bond (its master is fenced) nor the end of a pair (a node can have hundreds, for pods).
    #[must_use]
    pub fn fenced(&self, claimed: &BTreeSet<IpAddr>) -> Fenced {
        let mut fenced = Fenced::default();
        let (at_home, elsewhere): (Vec<_>, Vec<_>) = self
            .links
            .iter()
            .filter(|(_, link)| !link.loopback && link.mac.is_some())
            .partition(|(index, _)| self.is_home(**index, claimed));
        let others = elsewhere
            .into_iter()
            .filter(|(_, link)| link.master.is_none() && !link.pair);
        for (index, link) in at_home.into_iter().chain(others) {
            match link.name.parse::<DeviceName>() {
                Ok(name) if fenced.devices.len() < MOST_FENCED => {
                    let index = *index;
                    fenced.devices.insert(Device { index, name });
                }
                Ok(_) | Err(_) => fenced.left_out.push(link.name.clone()),
            }
        }
        fenced
    }

    fn is_home(&self, index: u32, claimed: &BTreeSet<IpAddr>) -> bool {
        let own = self.addresses.iter().filter(|a| a.index == index);
        own.into_iter()
            .any(|a| claimed.iter().any(|c| a.network_holds(*c)))
    }
}

/// Which interfaces are fenced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fenced {
    /// These.
    pub devices: BTreeSet<Device>,
    /// Not these, though they should be: a name that cannot be quoted, or too many. Worth an
    /// alarm; the kernel's own traffic is fenced on them all the same.
    pub left_out: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> Link {
        Link {
            name: name.into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            master: None,
            loopback: false,
            pair: false,
            up: true,
            carrier: true,
        }
    }

    fn address(index: u32, ip: &str, prefix: u8) -> Address {
        let ip = ip.parse().unwrap();
        Address { index, ip, prefix }
    }

    fn node() -> Interfaces {
        let lo = Link {
            loopback: true,
            ..link("lo")
        };
        let member = Link {
            master: Some(4),
            ..link("eth1")
        };
        let pod = Link {
            pair: true,
            ..link("cali12")
        };
        let container = Link {
            pair: true,
            ..link("host0")
        };
        let links = [
            lo,
            link("eth0"),
            member,
            link("bond0"),
            link("bond0.30"),
            pod,
            container,
        ];
        Interfaces {
            links: (1..).zip(links).collect(),
            addresses: [
                address(1, "127.0.0.1", 8),
                address(4, "192.168.56.10", 24),
                address(5, "192.168.30.131", 24),
                address(5, "192.168.30.130", 32),
                address(7, "fd00::2", 64),
                address(2, "192.168.0.2", 16),
            ]
            .into(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_goes_to_the_narrowest_network_that_holds_it() {
        let node = node();
        let name = |ip| node.home(ip).map(|(_, l)| l.name.as_str());
        assert_eq!(name(ip("192.168.30.130")), Some("bond0.30"));
        assert_eq!(name(ip("192.168.56.20")), Some("bond0"));
        assert_eq!(name(ip("192.168.77.1")), Some("eth0"));
        assert_eq!(name(ip("fd00::9")), Some("host0"));
        assert_eq!(name(ip("10.0.0.1")), None);
        assert_eq!(name(ip("fd01::9")), None);
    }

    #[test]
    fn a_host_address_is_no_network_to_put_another_in() {
        assert!(!address(1, "10.0.0.1", 32).network_holds(ip("10.0.0.1")));
        assert!(address(1, "10.0.0.1", 0).network_holds(ip("11.0.0.1")));
        assert!(!address(1, "::1", 128).network_holds(ip("::1")));
    }

    #[test]
    fn what_is_configured_is_found_whoever_did_it() {
        let node = node();
        let at: Vec<u32> = node
            .carrying(ip("192.168.30.130"))
            .map(|a| a.index)
            .collect();
        assert_eq!(at, [5]);
    }

    #[test]
    fn members_of_bonds_loopback_and_foreign_pairs_are_not_fenced_but_all_others_are() {
        let claimed = [ip("192.168.30.130"), ip("fd00::9")].into();
        let fenced = node().fenced(&claimed);
        let names: Vec<String> = fenced.devices.iter().map(|d| d.name.to_string()).collect();
        assert_eq!(names, ["eth0", "bond0", "bond0.30", "host0"]);
        assert!(fenced.left_out.is_empty());
    }

    #[test]
    fn what_cannot_be_fenced_is_said() {
        let mut node = node();
        node.links.insert(20, link("bad\"name"));
        node.links
            .extend((100..200).map(|n| (n, link(&format!("vlan{n}")))));
        let fenced = node.fenced(&[ip("192.168.30.130")].into());
        assert_eq!(fenced.devices.len(), MOST_FENCED);
        assert!(fenced.left_out.contains(&"bad\"name".to_owned()));
        let names: Vec<&str> = fenced.devices.iter().map(|d| d.name.as_ref()).collect();
        assert!(
            names.contains(&"bond0.30"),
            "a network of a claim comes first: {names:?}"
        );
    }
}
