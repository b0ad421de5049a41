//! Who reaches the databases' ports at all. Any node of the site has a certificate of its CA, and
//! etcd asks for no more: who can write there decides who leads.
//!
//! Everything else on the node is as its operators have it.

use std::net::IpAddr;

use super::{Members, PATRONI_PORT, POSTGRESQL_PORT};
use crate::engine::Resource;
use crate::render::Place;
use crate::render::firewall::{family, loaded};
use crate::role::Role;

const ETCD_CLIENTS: u16 = 2379;
const ETCD_PEERS: u16 = 2380;

pub(super) fn table(place: &Place<'_>, members: &Members) -> Resource {
    let family = family(place.management_address());
    let list = |addresses: &[IpAddr]| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        addresses.join(", ")
    };
    let own = members.addresses.values().copied().collect::<Vec<_>>();
    let proxies = place.servers(Role::InternalProxy, 0);
    let proxies: Vec<IpAddr> = proxies.iter().map(|(_, address)| address.ip()).collect();
    let served = format!("{POSTGRESQL_PORT}, {PATRONI_PORT}");
    let all = format!("{ETCD_CLIENTS}, {ETCD_PEERS}, {served}");
    let own = list(&own);
    let from_proxies = match proxies.is_empty() {
        true => String::new(),
        false => format!(
            "        # The proxies in front of them.
        {family} saddr {{ {} }} tcp dport {{ {served} }} accept
",
            list(&proxies)
        ),
    };
    loaded(format!(
        "table inet hamesh_firewall {{
    chain input {{
        type filter hook input priority filter; policy accept;
        iif lo accept

        # The databases among themselves.
        {family} saddr {{ {own} }} tcp dport {{ {all} }} accept
{from_proxies}
        tcp dport {{ {all} }} counter reject with tcp reset comment \"refused\"
    }}
}}
"
    ))
}
