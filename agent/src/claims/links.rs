//! Whether the interfaces of a claim's addresses can carry it: pure.

use std::net::IpAddr;

use hamesh_kernel::interfaces::Interfaces;

/// What is wrong with the interfaces on which these addresses belong; `None`: nothing.
pub fn trouble(interfaces: &Interfaces, addresses: &[IpAddr]) -> Option<String> {
    addresses.iter().find_map(|ip| match interfaces.home(*ip) {
        None => Some(format!("no interface is in the network of {ip}")),
        Some((_, link)) if !link.up => Some(format!("interface {} is down", link.name)),
        Some((_, link)) if !link.carrier => Some(format!("interface {} has no carrier", link.name)),
        Some((_, link)) if link.mac.is_none() => {
            Some(format!("interface {} is not Ethernet", link.name))
        }
        Some(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use hamesh_kernel::device::Mac;
    use hamesh_kernel::interfaces::{Address, Link};

    use super::*;

    fn seen(up: bool, carrier: bool) -> Option<String> {
        let link = Link {
            name: "eth0".into(),
            mac: Some(Mac([2; 6])),
            master: None,
            loopback: false,
            pair: false,
            up,
            carrier,
        };
        let ip = [10, 0, 0, 2].into();
        let address = Address {
            index: 2,
            ip,
            prefix: 24,
        };
        let interfaces = Interfaces {
            links: [(2, link)].into(),
            addresses: [address].into(),
        };
        trouble(&interfaces, &[[10, 0, 0, 9].into()])
    }

    #[test]
    fn an_interface_that_is_down_or_without_a_wire_is_named() {
        assert_eq!(seen(true, true), None);
        assert_eq!(
            seen(false, false).as_deref(),
            Some("interface eth0 is down")
        );
        assert_eq!(
            seen(true, false).as_deref(),
            Some("interface eth0 has no carrier")
        );
    }

    #[test]
    fn an_address_without_a_home_is_named() {
        let nothing = trouble(&Interfaces::default(), &[[10, 0, 0, 9].into()]);
        assert_eq!(
            nothing.as_deref(),
            Some("no interface is in the network of 10.0.0.9")
        );
    }
}
