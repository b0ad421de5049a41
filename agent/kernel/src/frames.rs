//! Announcements and probes as Ethernet frames: pure builders and a pure reader.
//!
//! Guarantees that an announcement is what neighbours replace their entry by: for IPv4 a gratuitous
//! ARP of either form with sender = target = the claimed address (RFC 5227, section 3), for IPv6 an
//! unsolicited neighbour advertisement to all nodes with the override flag (RFC 4861, 7.2.6). A
//! probe never changes anyone's entry. Reading takes bytes from anyone and never panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::device::Mac;

const BROADCAST: Mac = Mac([0xff; 6]);
const NOBODY: Mac = Mac([0; 6]);
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ETHERNET: usize = 14;
const IPV6_HEADER: usize = 40;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
/// The type of a neighbour advertisement.
pub(crate) const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Neighbour discovery is only valid with it: no router can have passed it on.
const HOP_LIMIT: u8 = 255;

/// The two forms of a gratuitous ARP. Some stacks heed only one of them, so they alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Operation 1.
    Request,
    /// Operation 2.
    Reply,
}

impl Form {
    /// The one to send next.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Request => Self::Reply,
            Self::Reply => Self::Request,
        }
    }
}

/// Says that the address is at this hardware address. The form matters to IPv4 alone; `router`
/// to IPv6 alone: it must say whether the node forwards, or hosts drop their routes through it.
#[must_use]
pub fn announcement(ip: IpAddr, mac: Mac, form: Form, router: bool) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => {
            // RFC 5944, section 4.6. Linux takes a reply for gratuitous only with this target, and
            // otherwise keeps an entry that is younger than a second.
            let (operation, target) = match form {
                Form::Request => (1, NOBODY),
                Form::Reply => (2, mac),
            };
            arp(operation, (mac, ip), (target, ip))
        }
        IpAddr::V6(ip) => {
            let override_entry = 0x20;
            let flags = if router {
                0x80 | override_entry
            } else {
                override_entry
            };
            let mut body = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
            body.extend(ip.octets());
            body.extend([TARGET_LINK, 1]);
            body.extend(mac.0);
            icmpv6(mac, (ip, ALL_NODES), body)
        }
    }
}

/// Asks who has an IPv4 address, without saying who asks: a probe of RFC 5227.
#[must_use]
pub fn probe_v4(ip: Ipv4Addr, own: Mac) -> Vec<u8> {
    arp(1, (own, Ipv4Addr::UNSPECIFIED), (NOBODY, ip))
}

/// Asks who has an IPv6 address, from an address of the asking interface.
#[must_use]
pub fn probe_v6(ip: Ipv6Addr, own: Mac, from: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = ip.octets();
    let low = u16::from_be_bytes([b, c]);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low);
    let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    body.extend(ip.octets());
    body.extend([SOURCE_LINK, 1]);
    body.extend(own.0);
    icmpv6(own, (from, group), body)
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + IPV6_HEADER + 32);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame
}

fn arp(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, sender.0, ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    for (mac, ip) in [sender, target] {
        frame.extend(mac.0);
        frame.extend(ip.octets());
    }
    frame
}

fn icmpv6(mac: Mac, (from, to): (Ipv6Addr, Ipv6Addr), mut body: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("32 bytes");
    let sum = checksum(from, to, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let [.., a, b, c, d] = to.octets();
    let mut frame = ethernet(Mac([0x33, 0x33, a, b, c, d]), mac, IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, HOP_LIMIT]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(body);
    frame
}

/// RFC 4443, section 2.3: over a pseudo-header and the message, whose own field is zero.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
        bytes.chunks(2).map(word).sum()
    };
    let length = u32::try_from(body.len()).expect("32 bytes");
    let mut sum = words(&from.octets()) + words(&to.octets()) + words(body);
    sum += length + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded above")
}

/// Someone spoke as the owner of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The address.
    pub ip: IpAddr,
    /// Where it is said to be.
    pub mac: Mac,
    /// How it was said.
    pub how: How,
}

/// The ways of saying that an address is one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// To all, unasked.
    Announced,
    /// To the one who asked.
    Answered {
        /// Whose question it was.
        to: Mac,
    },
    /// By asking for another address as this one.
    Asking,
}

/// Reads a frame; none where nobody speaks as the owner of an address in it.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Heard> {
    let kind = u16::from_be_bytes(at(frame, 12)?);
    match kind {
        ARP => read_arp(frame.get(ETHERNET..)?),
        IPV6 => read_advertisement(frame),
        _ => None,
    }
}

fn read_arp(body: &[u8]) -> Option<Heard> {
    let [h1, h2, p1, p2, hardware, protocol, 0, operation] = at(body, 0)? else {
        return None;
    };
    if [h1, h2, p1, p2, hardware, protocol] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let sender = Ipv4Addr::from(at::<4>(body, 14)?);
    let target = Ipv4Addr::from(at::<4>(body, 24)?);
    let how = match operation {
        1 | 2 if sender == target => How::Announced,
        1 => How::Asking,
        2 => How::Answered {
            to: Mac(at(body, 18)?),
        },
        _ => return None,
    };
    (!sender.is_unspecified()).then_some(Heard {
        ip: sender.into(),
        mac: Mac(at(body, 8)?),
        how,
    })
}

fn read_advertisement(frame: &[u8]) -> Option<Heard> {
    let packet = frame.get(ETHERNET..)?;
    let [next, hops] = at(packet, 6)?;
    let body = packet.get(IPV6_HEADER..)?;
    if next != ICMPV6 || hops != HOP_LIMIT || *body.first()? != ADVERTISEMENT {
        return None;
    }
    let solicited = at::<1>(body, 4)?[0] & 0x40 != 0;
    let target = Ipv6Addr::from(at::<16>(body, 8)?);
    let option: Option<[u8; 8]> = at(body, 24);
    let mac = match option {
        Some([TARGET_LINK, 1, mac @ ..]) => Mac(mac),
        Some(_) | None => Mac(at(frame, 6)?),
    };
    let how = if solicited {
        How::Answered {
            to: Mac(at(frame, 0)?),
        }
    } else {
        How::Announced
    };
    Some(Heard {
        ip: target.into(),
        mac,
        how,
    })
}

fn at<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    bytes.get(start..start + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn both_forms_of_a_gratuitous_arp_are_these_bytes() {
        let ip = IpAddr::from([192, 168, 30, 130]);
        let head = "ffffffffffff02000000000708060001080006040001020000000007c0a81e82";
        let request = announcement(ip, MAC, Form::Request, false);
        assert_eq!(hex(&request), format!("{head}000000000000c0a81e82"));
        let head = head.replacen("06040001", "06040002", 1);
        let reply = announcement(ip, MAC, Form::Reply, true);
        assert_eq!(hex(&reply), format!("{head}020000000007c0a81e82"));
    }

    #[test]
    fn an_unsolicited_advertisement_is_these_bytes() {
        let ip = "fd00:30::130".parse().unwrap();
        let expected = concat!(
            "333300000001",
            "020000000007",
            "86dd",
            "6000000000203aff",
            "fd000030000000000000000000000130",
            "ff020000000000000000000000000001",
            "8800",
            "57d7",
            "20000000",
            "fd000030000000000000000000000130",
            "0201020000000007",
        );
        assert_eq!(hex(&announcement(ip, MAC, Form::Request, false)), expected);
        let router = announcement(ip, MAC, Form::Request, true);
        assert_eq!(router[58], 0xa0, "a router says that it is one");
    }

    #[test]
    fn a_checksum_verifies_to_zero_over_the_whole_message() {
        let (ip, from) = ("fd00::9".parse().unwrap(), "fe80::1".parse().unwrap());
        let frame = probe_v6(ip, MAC, from);
        let to = Ipv6Addr::from(at::<16>(&frame, 38).unwrap());
        assert_eq!(to, "ff02::1:ff00:9".parse::<Ipv6Addr>().unwrap());
        assert_eq!(checksum(from, to, &frame[54..]), 0);
    }

    #[test]
    fn a_probe_speaks_for_nobody() {
        assert_eq!(read(&probe_v4([10, 0, 0, 1].into(), MAC)), None);
        let (ip, from) = ("fd00::9".parse().unwrap(), "fe80::1".parse().unwrap());
        assert_eq!(read(&probe_v6(ip, MAC, from)), None);
    }

    #[test]
    fn an_answer_names_who_asked_and_a_request_its_sender() {
        let (own, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let to = Mac([9; 6]);
        let answer = read(&arp(2, (MAC, own), (to, other))).unwrap();
        assert_eq!(answer.how, How::Answered { to });
        let asking = read(&arp(1, (MAC, own), (NOBODY, other))).unwrap();
        assert_eq!((asking.ip, asking.how), (own.into(), How::Asking));
    }

    proptest! {
        #[test]
        fn every_announcement_is_read_as_one(
            v4 in 1_u32.., v6 in 1_u128.., mac in any::<[u8; 6]>(), reply in any::<bool>()
        ) {
            let form = if reply { Form::Reply } else { Form::Request };
            let mac = Mac(mac);
            for ip in [Ipv4Addr::from_bits(v4).into(), IpAddr::from(Ipv6Addr::from_bits(v6))] {
                let heard = read(&announcement(ip, mac, form, false));
                prop_assert_eq!(heard, Some(Heard { ip, mac, how: How::Announced }));
            }
        }

        #[test]
        fn frames_of_any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0..2_usize
        ) {
            let mut bytes = bytes;
            if bytes.len() > 14 {
                bytes[12..14].copy_from_slice(&[ARP, IPV6][kind].to_be_bytes());
            }
            let _ = read(&bytes);
        }
    }
}
