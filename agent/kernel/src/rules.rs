//! The rules themselves: which packets a fence drops, at which hook.
//!
//! Each rule drops what is claimed and not live. Together they are the guarantees of
//! [`crate::ruleset`]; each has a test that sees packets pass without it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::device::Device;
use crate::nf::Family;

/// Before connection tracking and before anything a firewall does at `raw`.
pub(crate) const PRIORITY: i32 = -310;
/// Every chain at an interface starts with this.
pub(crate) const EGRESS: &str = "egress_";

/// The chains of a family's table.
pub(crate) fn chains(family: Family, devices: &BTreeSet<Device>) -> Vec<Chain> {
    let chain = |name: &str, rules: &'static [&'static str]| Chain {
        name: name.into(),
        hook: name.into(),
        rules,
    };
    match family {
        Family::Inet => vec![
            chain("prerouting", PREROUTING),
            chain("input", INPUT),
            chain("output", OUTPUT),
        ],
        Family::Arp => vec![chain("input", ARP_INPUT), chain("output", ARP_OUTPUT)],
        Family::Netdev => {
            let at = |device: &Device| Chain {
                name: egress_chain(device),
                hook: format!("egress device \"{}\"", device.name),
                rules: EGRESS_RULES,
            };
            devices.iter().map(at).collect()
        }
    }
}

/// A chain with its hook and its rules.
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) hook: String,
    pub(crate) rules: &'static [&'static str],
}

/// `@nh,64,128` is an IPv6 packet's source, `@nh,192,128` its destination.
///
/// `fib`: a packet on its way through a router to the holder is not ours to drop. Before `input`,
/// because an address may be translated away before that hook sees it.
const PREROUTING: &[&str] = &[
    "ip daddr @vips4 ip daddr != @live4 fib daddr type local drop",
    "meta nfproto ipv6 @nh,192,128 @vips6 @nh,192,128 != @live6 fib daddr type local drop",
];

const INPUT: &[&str] = &[
    "ip daddr @vips4 ip daddr != @live4 drop",
    "meta nfproto ipv6 @nh,192,128 @vips6 @nh,192,128 != @live6 drop",
    "icmpv6 type nd-neighbor-solicit @th,64,128 @vips6 @th,64,128 != @live6 drop",
];

const OUTPUT: &[&str] = &[
    "ip saddr @vips4 ip saddr != @live4 drop",
    "meta nfproto ipv6 @nh,64,128 @vips6 @nh,64,128 != @live6 drop",
    "icmpv6 type nd-neighbor-advert @th,64,128 @vips6 @th,64,128 != @live6 drop",
];

/// An announcement by the rightful holder has the address as sender too, and must be learnt.
const ARP_INPUT: &[&str] = &[
    "arp operation request arp daddr ip @vips4 arp daddr ip != @live4 arp saddr ip != @vips4 drop",
];

const ARP_OUTPUT: &[&str] = &["arp saddr ip @vips4 arp saddr ip != @live4 drop"];

/// The last rule is the probe by which the kernel asks whether an address it was just given is
/// free; it would make the holder's own address look like a duplicate to others.
const EGRESS_RULES: &[&str] = &[
    "arp saddr ip @vips4 arp saddr ip != @live4 drop",
    "ip saddr @vips4 ip saddr != @live4 drop",
    "meta protocol ip6 @nh,64,128 @vips6 @nh,64,128 != @live6 drop",
    "icmpv6 type nd-neighbor-advert @th,64,128 @vips6 @th,64,128 != @live6 drop",
    "icmpv6 type nd-neighbor-solicit ip6 saddr :: @th,64,128 @vips6 @th,64,128 != @live6 drop",
];

/// `egress_3_eth0.30`; what nft does not allow in a name is written as `_` and its code.
pub(crate) fn egress_chain(device: &Device) -> String {
    let mut name = format!("{EGRESS}{}_", device.index);
    for byte in device.name.as_ref().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => name.push(char::from(byte)),
            other => write!(name, "_{other:02x}").expect("a String takes everything"),
        }
    }
    name
}
