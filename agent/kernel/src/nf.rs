//! The few nf_tables messages that the fence needs, as bytes: pure, written and read here.
//!
//! Guarantees that what is written is read back as it was (property-tested), and that a reply cut
//! short or made up never panics. One batch is one transaction: all of it happens or none of it.
//!
//! The layout is the kernel's `linux/netfilter/nf_tables.h` and `nfnetlink.h`; numbers inside
//! attributes are big-endian, headers are in host order. Of the fence of addresses only
//! `live4`/`live6` are ever written, of that of the databases every set.

use std::fmt;
use std::net::IpAddr;

use crate::changes::{Change, PortChange};
use crate::database::DATABASE_TABLE;
use crate::nla;
use crate::ruleset::TABLE;

mod reading;

pub(crate) use reading::{Element, OpenPort, chain, elements, open_ports};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFT_MSG_GETCHAIN`, and its answer's type.
const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const GET_SET: u16 = SUBSYSTEM << 8 | 10;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const GET_ELEMENT: u16 = SUBSYSTEM << 8 | 13;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;

const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const DATA_VALUE: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_USE: u16 = 6;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;

/// Length of a netlink header.
pub(crate) const HEADER: usize = 16;
const GENERIC: usize = 4;

/// The families that the fence has a table in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6 packets, arriving and sent.
    Inet,
    /// ARP as the kernel itself receives and sends it.
    Arp,
    /// All that leaves an interface.
    Netdev,
}

impl Family {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Inet, Self::Arp, Self::Netdev];

    fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Arp => 3,
            Self::Netdev => 5,
        }
    }

    /// Whether its table has a set that can hold the address.
    #[must_use]
    pub fn knows(self, address: IpAddr) -> bool {
        self != Self::Arp || address.is_ipv4()
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Netdev => "netdev",
        })
    }
}

/// The two kinds of set, each for IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What is claimed, by anyone.
    Claimed,
    /// What this node holds now.
    Live,
}

impl Kind {
    pub(crate) fn set(self, v4: bool) -> &'static str {
        match (self, v4) {
            (Self::Claimed, true) => "vips4",
            (Self::Claimed, false) => "vips6",
            (Self::Live, true) => "live4",
            (Self::Live, false) => "live6",
        }
    }
}

/// Writes one transaction over live addresses. The first message has the number `first`; the
/// returned one is that of the last change, which alone asks for an answer (a refusal is answered
/// by any of them).
pub(crate) fn batch(out: &mut Vec<u8>, first: u32, changes: impl Iterator<Item = Change>) -> u32 {
    transaction(out, first, changes, encode)
}

/// Writes one transaction over the open ports of the databases, numbered like [`batch`].
pub(crate) fn ports(
    out: &mut Vec<u8>,
    first: u32,
    changes: impl Iterator<Item = PortChange>,
) -> u32 {
    transaction(out, first, changes, encode_port)
}

fn transaction<C>(
    out: &mut Vec<u8>,
    first: u32,
    changes: impl Iterator<Item = C>,
    encode: impl Fn(&mut Vec<u8>, u32, C),
) -> u32 {
    out.clear();
    let mut sequence = first;
    marker(out, BATCH_BEGIN, sequence);
    let mut last = None;
    for change in changes {
        sequence = sequence.wrapping_add(1);
        last = Some(out.len());
        encode(out, sequence, change);
    }
    if let Some(at) = last {
        let flags = u16::from_ne_bytes([out[at + 6], out[at + 7]]) | ACK;
        out[at + 6..at + 8].copy_from_slice(&flags.to_ne_bytes());
    }
    marker(out, BATCH_END, sequence.wrapping_add(1));
    sequence
}

fn encode(out: &mut Vec<u8>, sequence: u32, change: Change) {
    let (kind, flags, family, address, timeout) = match change {
        Change::Add {
            family,
            address,
            timeout_ms,
        } => (
            NEW_ELEMENT,
            REQUEST | CREATE,
            family,
            address,
            Some(timeout_ms),
        ),
        Change::Delete { family, address } => (DELETE_ELEMENT, REQUEST, family, address, None),
    };
    let set = Kind::Live.set(address.is_ipv4());
    message(out, kind, flags, sequence, family.number(), |out| {
        element(out, (TABLE, set), timeout, |out| key(out, address));
    });
}

fn encode_port(out: &mut Vec<u8>, sequence: u32, change: PortChange) {
    let (kind, flags, set, port, timeout) = match change {
        PortChange::Add {
            set,
            port,
            timeout_ms,
        } => (NEW_ELEMENT, REQUEST | CREATE, set, port, timeout_ms),
        PortChange::Delete { set, port } => (DELETE_ELEMENT, REQUEST, set, port, None),
    };
    let inet = Family::Inet.number();
    message(out, kind, flags, sequence, inet, |out| {
        element(out, (DATABASE_TABLE, set.name()), timeout, |out| {
            nla::bytes(out, DATA_VALUE, &port.to_be_bytes());
        });
    });
}

/// A list of one element.
fn element(
    out: &mut Vec<u8>,
    (table, set): (&str, &str),
    timeout_ms: Option<u64>,
    key: impl FnOnce(&mut Vec<u8>),
) {
    nla::string(out, LIST_TABLE, table);
    nla::string(out, LIST_SET, set);
    nla::nested(out, LIST_ELEMENTS, |out| {
        nla::nested(out, LIST_ELEMENT, |out| {
            nla::nested(out, ELEMENT_KEY, key);
            if let Some(ms) = timeout_ms {
                nla::bytes(out, ELEMENT_TIMEOUT, &ms.to_be_bytes());
            }
        });
    });
}

fn key(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => nla::bytes(out, DATA_VALUE, &v4.octets()),
        IpAddr::V6(v6) => nla::bytes(out, DATA_VALUE, &v6.octets()),
    }
}

/// Asks for all elements of one of our sets.
pub(crate) fn get_elements(
    out: &mut Vec<u8>,
    sequence: u32,
    family: Family,
    (table, set): (&str, &str),
) {
    out.clear();
    message(
        out,
        GET_ELEMENT,
        REQUEST | DUMP,
        sequence,
        family.number(),
        |out| {
            nla::string(out, LIST_TABLE, table);
            nla::string(out, LIST_SET, set);
        },
    );
}

/// Asks for all chains of a family (the kernel has no narrower question).
pub(crate) fn get_chains(out: &mut Vec<u8>, sequence: u32, family: Family) {
    out.clear();
    message(
        out,
        GET_CHAIN,
        REQUEST | DUMP,
        sequence,
        family.number(),
        |_| {},
    );
}

/// Asks whether one of our live sets is there at all.
pub(crate) fn get_set(out: &mut Vec<u8>, sequence: u32, family: Family, set: &str) {
    out.clear();
    message(
        out,
        GET_SET,
        REQUEST | ACK,
        sequence,
        family.number(),
        |out| {
            nla::string(out, SET_TABLE, TABLE);
            nla::string(out, SET_NAME, set);
        },
    );
}

fn marker(out: &mut Vec<u8>, kind: u16, sequence: u32) {
    let start = out.len();
    header(out, kind, REQUEST, sequence);
    out.extend([0, 0]);
    out.extend(SUBSYSTEM.to_be_bytes());
    finish(out, start);
}

fn message(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    header(out, kind, flags, sequence);
    out.extend([family, 0, 0, 0]);
    body(out);
    finish(out, start);
}

fn header(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32) {
    out.extend([0; 4]);
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
}

fn finish(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start).expect("a batch is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::changes::add;
    use crate::netlink::messages;

    fn written(changes: &[Change]) -> Vec<u8> {
        let mut out = Vec::new();
        batch(&mut out, 7, changes.iter().copied());
        out
    }

    fn read(bytes: &[u8]) -> Vec<Change> {
        let inner = messages(bytes).filter(|m| m.kind >> 8 == SUBSYSTEM);
        let change = |m: crate::netlink::Message<'_>| {
            let families = Family::ALL.into_iter();
            let family = families
                .clone()
                .find(|f| f.number() == m.payload[0])
                .unwrap();
            let element = elements(NEW_ELEMENT, m.payload)[0];
            let address = element.address;
            match element.remaining {
                None => Change::Delete { family, address },
                Some(left) => add(family, address, u64::try_from(left.as_millis()).unwrap()),
            }
        };
        inner.map(change).collect()
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(|o| IpAddr::from(Ipv4Addr::from(o))),
            any::<[u8; 16]>().prop_map(|o| IpAddr::from(Ipv6Addr::from(o))),
        ];
        let family = (0..3_usize).prop_map(|i| Family::ALL[i]);
        let timeout = proptest::option::of(1..u64::MAX / 1_000_000);
        let change = (family, address, timeout).prop_map(|(family, address, ms)| match ms {
            Some(ms) => add(family, address, ms),
            None => Change::Delete { family, address },
        });
        proptest::collection::vec(change, 0..40)
    }

    proptest! {
        #[test]
        fn a_written_batch_reads_back_as_it_was(changes in changes()) {
            prop_assert_eq!(read(&written(&changes)), changes);
        }

        #[test]
        fn every_message_is_whole_aligned_and_numbered_in_turn(changes in changes()) {
            let bytes = written(&changes);
            let all: Vec<_> = messages(&bytes).collect();
            prop_assert_eq!(all.len(), changes.len() + 2);
            prop_assert_eq!(bytes.len() % 4, 0);
            for (n, message) in all.iter().enumerate() {
                prop_assert_eq!(message.sequence as usize, 7 + n);
            }
        }

        #[test]
        fn answers_of_any_bytes_are_read_without_a_panic(
            kind in any::<u16>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            for kind in [kind, NEW_ELEMENT, NEW_CHAIN] {
                let _ = (elements(kind, &bytes), open_ports(kind, &bytes));
                let _ = chain(kind, &bytes, TABLE);
            }
        }
    }

    #[test]
    fn the_bytes_of_a_renewal_are_those_that_the_kernel_documents() {
        let out = written(&[add(Family::Inet, Ipv4Addr::new(10, 0, 0, 9).into(), 350)]);
        let add = messages(&out).nth(1).unwrap();
        let mut expected = vec![1, 0, 0, 0];
        expected.extend([17, 0, 1, 0]);
        expected.extend(b"hamesh_fence\0\0\0\0");
        expected.extend([10, 0, 2, 0]);
        expected.extend(b"live4\0\0\0");
        // elements { element { key { value 10.0.0.9 } timeout 350 } }
        expected.extend([32, 0, 3, 0x80, 28, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0]);
        expected.extend([10, 0, 0, 9, 12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 94]);
        assert_eq!(add.payload, expected);
        assert_eq!(add.flags, REQUEST | CREATE | ACK);
    }
}
