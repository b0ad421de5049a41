//! The places from which a network is looked at: two on each.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names::{self, Seat};

/// A place from which a network is looked at, as a machine that is none of the site's.
#[derive(Debug, Clone)]
pub struct Client {
    /// What a fault calls it: `client:NETWORK`, `client2:NETWORK`.
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// Its port on the bridge.
    pub port: String,
    /// Its address: one of the highest that the site leaves free.
    pub address: IpAddr,
}

/// The two clients of a network.
pub fn of(network: &str, index: usize, addresses: [IpAddr; 2]) -> [Client; 2] {
    let [first, second] = addresses;
    [(Seat::First, first), (Seat::Second, second)].map(|(seat, address)| Client {
        name: format!("{}:{network}", seat.name()),
        namespace: names::client_namespace(seat, network),
        port: match seat {
            Seat::First => format!("c{index}"),
            Seat::Second => format!("c{index}-2"),
        },
        address,
    })
}

/// Addresses for them: the two highest of a network that nobody has.
pub fn highest_free(first: IpAddr, last: IpAddr, taken: &BTreeSet<IpAddr>) -> Option<[IpAddr; 2]> {
    let (low, high) = (to_number(first), to_number(last));
    let mut free = (low + 1..high)
        .rev()
        .map(|number| to_address(number, first.is_ipv4()))
        .filter(|address| !taken.contains(address));
    Some([free.next()?, free.next()?])
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn to_address(number: u128, v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if v4 => IpAddr::V4(Ipv4Addr::from(number)),
        Ok(_) | Err(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}
