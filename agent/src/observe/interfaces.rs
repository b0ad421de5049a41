//! The node's network interfaces and their addresses, from one `getifaddrs` call.
//!
//! Guarantees: at most [`MOST`] interfaces, in the order of their names, addresses sorted.
//!
//! Idea: an interface is told when it has an address that leaves the link, or when it is a piece
//! of hardware (so that a pulled cable shows). Loopback and the hundreds of ends that a container
//! network makes are not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use hamesh_proto::v1;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// How many interfaces are told, so that facts stay within a few datagrams' room.
pub const MOST: usize = 16;

/// Reads them now.
///
/// # Errors
/// The kernel's own, when the interfaces could not be read.
pub fn read() -> std::io::Result<Vec<v1::Interface>> {
    let mut found: BTreeMap<String, Seen> = BTreeMap::new();
    for entry in getifaddrs().map_err(std::io::Error::from)? {
        if !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            found
                .entry(entry.interface_name.clone())
                .or_default()
                .add(&entry);
        }
    }
    Ok(found
        .into_iter()
        .filter(|(name, seen)| seen.leaves_link || is_hardware(name))
        .map(|(name, seen)| seen.finish(name))
        .take(MOST)
        .collect())
}

#[derive(Default)]
struct Seen {
    up: bool,
    mac: String,
    addresses: Vec<String>,
    leaves_link: bool,
}

impl Seen {
    fn add(&mut self, entry: &InterfaceAddress) {
        // RUNNING is the kernel's word for a link that carries; UP alone is the administrator's.
        self.up = entry
            .flags
            .contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let Some(address) = &entry.address else {
            return;
        };
        if let Some(link) = address.as_link_addr() {
            self.mac = link.addr().map(mac).unwrap_or_default();
        }
        if let Some(own) = ip(address) {
            let prefix = entry.netmask.as_ref().and_then(ip).map_or(0, prefix_length);
            self.leaves_link |= !is_link_local(own);
            self.addresses.push(format!("{own}/{prefix}"));
        }
    }

    fn finish(mut self, name: String) -> v1::Interface {
        self.addresses.sort();
        v1::Interface {
            name,
            up: self.up,
            mac: self.mac,
            addresses: self.addresses,
        }
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    address
        .as_sockaddr_in()
        .map(|v4| IpAddr::V4(v4.ip()))
        .or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn prefix_length(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_hardware(name: &str) -> bool {
    !name.contains('/')
        && Path::new("/sys/class/net")
            .join(name)
            .join("device")
            .exists()
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_interfaces_are_read_in_order_without_loopback() {
        let interfaces = read().expect("getifaddrs");
        let names: Vec<_> = interfaces.iter().map(|interface| &interface.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(!names.iter().any(|name| *name == "lo"), "{names:?}");
        for address in interfaces.iter().flat_map(|interface| &interface.addresses) {
            let (ip, prefix) = address.split_once('/').expect("ip/prefix");
            assert!(ip.parse::<IpAddr>().is_ok(), "{address}");
            assert!(
                prefix.parse::<u32>().is_ok_and(|prefix| prefix <= 128),
                "{address}"
            );
        }
    }

    #[test]
    fn a_hardware_address_is_written_as_people_know_it() {
        assert_eq!(mac([0x52, 0x54, 0, 0x0a, 0xff, 1]), "52:54:00:0a:ff:01");
    }
}
