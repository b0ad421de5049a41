//! What is written into the live sets for each step of a holder: pure lists of changes.
//!
//! Guarantees that a list, done whole, leaves what its name says whatever was there before, and
//! that an address is written to every table that knows it.

use std::net::IpAddr;

use crate::database::Ports;
use crate::nf::Family;

/// One element of a live set, added with a time to live, or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add {
        family: Family,
        address: IpAddr,
        timeout_ms: u64,
    },
    Delete {
        family: Family,
        address: IpAddr,
    },
}

/// One open port of the databases, added with or without an end, or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortChange {
    Add {
        set: Ports,
        port: u16,
        timeout_ms: Option<u64>,
    },
    Delete {
        set: Ports,
        port: u16,
    },
}

/// The changes of a renewal: what is there goes and comes again with the time that is left. Fails
/// as a whole with ENOENT where an element has lapsed.
pub(crate) fn renewal(addresses: &[IpAddr], timeout_ms: u64) -> impl Iterator<Item = Change> {
    places(addresses).flat_map(move |(family, address)| {
        let add = add(family, address, timeout_ms);
        [Change::Delete { family, address }, add]
    })
}

/// The changes of a take-over: whatever was there, afterwards there is exactly this. The first add
/// is what makes the delete succeed where nothing was.
pub(crate) fn taking(addresses: &[IpAddr], timeout_ms: u64) -> impl Iterator<Item = Change> {
    places(addresses).flat_map(move |(family, address)| {
        let add = add(family, address, timeout_ms);
        [add, Change::Delete { family, address }, add]
    })
}

/// The changes of a give-back: whatever was there, afterwards there is nothing. It is never to be
/// seen in between.
pub(crate) fn closing(addresses: &[IpAddr]) -> impl Iterator<Item = Change> {
    places(addresses).flat_map(move |(family, address)| {
        let add = add(family, address, 1);
        [add, Change::Delete { family, address }]
    })
}

pub(crate) fn add(family: Family, address: IpAddr, timeout_ms: u64) -> Change {
    Change::Add {
        family,
        address,
        timeout_ms,
    }
}

fn places(addresses: &[IpAddr]) -> impl Iterator<Item = (Family, IpAddr)> {
    addresses.iter().flat_map(|address| {
        let knows = Family::ALL.into_iter().filter(|f| f.knows(*address));
        knows.map(|family| (family, *address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_deletes_before_it_adds_in_each_table_that_knows_the_address() {
        let v6: IpAddr = "fd00::9".parse().unwrap();
        let all: Vec<_> = renewal(&[v6], 40).collect();
        let expected: Vec<_> = [Family::Inet, Family::Netdev]
            .into_iter()
            .flat_map(|family| {
                let address = v6;
                [Change::Delete { family, address }, add(family, v6, 40)]
            })
            .collect();
        assert_eq!(all, expected);
    }

    /// An add alone leaves the deadline of a live element as it is on kernels before 6.12.
    #[test]
    fn a_take_over_deletes_what_may_be_left_between_two_adds() {
        let v4: IpAddr = "10.0.0.9".parse().unwrap();
        let all: Vec<_> = taking(&[v4], 40).collect();
        assert_eq!(all.len(), 9);
        for (table, family) in all.chunks(3).zip(Family::ALL) {
            let delete = Change::Delete {
                family,
                address: v4,
            };
            assert_eq!(table, [add(family, v4, 40), delete, add(family, v4, 40)]);
        }
    }

    #[test]
    fn a_give_back_ends_with_a_delete_in_every_table() {
        let v4: IpAddr = "10.0.0.9".parse().unwrap();
        let all: Vec<_> = closing(&[v4]).collect();
        assert_eq!(all.len(), 6);
        assert!(all.chunks(2).all(|c| matches!(c[1], Change::Delete { .. })));
    }
}
