//! The firewall of an edge proxy: a table of nftables that names no interface.
//!
//! The host is a strong one (RFC 1122, section 3.3.4.2): a packet is taken only on the interface
//! that has its destination, and only from where an answer would go. So an address says which side
//! a packet came from, and whoever is outside cannot speak to the inner address. Between the sides
//! nothing is forwarded; only HAProxy speaks to both.
//!
//! Absent: what leaves the node. The fence of virtual addresses is a table of its own; a packet
//! must be accepted by both.

use std::net::IpAddr;

use hamesh_proto::ports;
use ipnet::IpNet;

use super::Place;
use super::haproxy::STATISTICS_PORT;
use crate::engine::{Resource, Table};
use crate::role::Role;

const SSH: u16 = 22;
/// Prometheus' node exporter.
const NODE_EXPORTER: u16 = 9100;

/// The whole table.
pub(super) fn table(place: &Place<'_>) -> Resource {
    let trust = place.management_address();
    let network = &place.site.networks[&place.site.management_network];
    let public = public(place);
    let mut rules = String::from(BEGIN);
    for address in public {
        let family = family(address);
        rules.push_str(&format!(
            "        {family} daddr {address} tcp dport {{ 80, 443 }} accept\n"
        ));
    }
    if place.is_taken_over(Role::EdgeProxy) {
        rules.push_str(ADVERTISEMENTS);
    }
    rules.push_str(&format!(
        "
        # From the management network: hamesh, its operators and its monitoring.
        {} jump trusted
        counter comment \"refused\"
    }}

",
        from_trust(&network.cidr, trust)
    ));
    rules.push_str(&trusted(place));
    rules.push_str(END);
    loaded(rules)
}

/// A node's firewall of these rules, where the unit that loads it at boot expects it.
pub(super) fn loaded(rules: String) -> Resource {
    Resource::Table(Table {
        family: "inet".to_owned(),
        name: "hamesh_firewall".to_owned(),
        rules,
        path: "/etc/hamesh/firewall.nft".to_owned(),
    })
}

/// Where everyone may ask: the addresses of the role, and those that this node has in networks
/// other than the management network.
fn public(place: &Place<'_>) -> Vec<IpAddr> {
    let own = place.node.addresses.iter();
    let own = own.filter(|(network, _)| **network != place.site.management_network);
    let own = own.map(|(_, address)| *address);
    own.chain(place.vip_addresses(Role::EdgeProxy)).collect()
}

fn from_trust(network: &IpNet, own: IpAddr) -> String {
    let family = family(own);
    format!("{family} daddr {own} {family} saddr {network}")
}

fn trusted(place: &Place<'_>) -> String {
    let mut tcp = vec![SSH, ports::AGENT_METRICS, STATISTICS_PORT, NODE_EXPORTER];
    let mut udp = vec![ports::GOSSIP, ports::AGENT_LEASES];
    if place.is_coordinator() {
        tcp.extend([
            ports::API,
            ports::ENROLMENT,
            ports::COORDINATOR_METRICS,
            ports::STORE_PEER,
        ]);
        udp.push(ports::COORDINATOR_LEASES);
    }
    let list = |mut ports: Vec<u16>| {
        ports.sort_unstable();
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        ports.join(", ")
    };
    format!(
        "    chain trusted {{
        tcp dport {{ {} }} accept
        udp dport {{ {} }} accept
    }}
",
        list(tcp),
        list(udp)
    )
}

pub(super) fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ip",
        IpAddr::V6(_) => "ip6",
    }
}

/// Neighbour discovery comes first: while an address is tried for duplicates, its packets come
/// from `::`, to which no answer would go. A hop limit of 255 shows that no router passed them on
/// (RFC 4861, section 11.2).
const BEGIN: &str = "table inet hamesh_firewall {
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept

        # Neighbours of IPv6, from this link alone.
        ip6 hoplimit 255 icmpv6 type {
            nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert
        } accept
        ip6 hoplimit 1 icmpv6 type {
            mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report
        } accept

        # A strong host: each packet by the interface of its address, from where an answer goes.
        fib daddr . iif type != { local, broadcast, multicast } counter drop comment \"not here\"
        fib saddr . iif oif missing counter drop comment \"not from there\"

        ct state established,related accept
        ct state invalid counter drop comment \"invalid\"

        # What a host must hear of its packets, and a measure of echoes (RFC 4890, section 4.4).
        icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
        icmpv6 type {
            destination-unreachable, packet-too-big, time-exceeded, parameter-problem
        } accept
        icmp type echo-request limit rate 50/second burst 100 packets accept
        icmpv6 type echo-request limit rate 50/second burst 100 packets accept

        # From anywhere: the web.
";

/// VRRP (RFC 5798, section 5.1): a node that no longer hears who has the addresses takes them.
const ADVERTISEMENTS: &str = "
        # What still moves the addresses is heard.
        meta l4proto 112 accept
";

const END: &str = "
    chain forward {
        type filter hook forward priority filter; policy drop;
        counter comment \"between the sides\"
    }
}
";
