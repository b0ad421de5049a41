//! What must hold between the parts of a document: names that refer to something, addresses that
//! belong where they stand and to one owner only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::Node;
use super::read::{Draft, DraftVip};
use super::report::Report;
use crate::names::{NetworkName, VipName};
use crate::role::Role;

/// How many virtual addresses a site may have: each is a lease that its holder renews many times a
/// second. By `tests/bench/scale` 600 of them cost the leader a fifth of a processor, so many cost
/// it nearly all of one.
const MOST_VIPS: usize = 2_000;
/// How many addresses may move together.
const MOST_ADDRESSES: usize = 16;

/// Tells every contradiction within `draft`.
pub(super) fn check(draft: &mut Draft) {
    let mut report = std::mem::take(&mut draft.report);
    let checker = Checker {
        draft,
        report: &mut report,
        owners: BTreeMap::new(),
    };
    checker.run();
    draft.report = report;
}

struct Checker<'d> {
    draft: &'d Draft,
    report: &'d mut Report,
    /// Who has each address: the path in the document.
    owners: BTreeMap<IpAddr, String>,
}

impl Checker<'_> {
    fn run(mut self) {
        self.networks();
        self.management();
        self.nodes();
        self.vips();
        self.coordinators();
    }

    fn networks(&mut self) {
        let networks = &self.draft.networks;
        for (i, (name, network)) in networks.iter().enumerate() {
            let path = format!("networks.{name}.cidr");
            let first = network.cidr.network();
            if first.is_multicast() || first.is_loopback() || first.is_unspecified() {
                let message = format!("`{}` is no network for nodes", network.cidr);
                self.report.error(&path, message, None);
            }
            for (other, earlier) in networks.iter().take(i) {
                if overlap(&network.cidr, &earlier.cidr) {
                    let message = format!("overlaps network `{other}` ({})", earlier.cidr);
                    let hint = Some("every address must belong to one network".into());
                    self.report.error(&path, message, hint);
                }
            }
        }
        if networks.is_empty() && self.report.says("networks") {
            self.none_given("networks", "a site needs at least one network");
        }
    }

    fn management(&mut self) {
        if let Some(network) = &self.draft.management_network {
            self.known_network("management_network", network);
        }
    }

    fn nodes(&mut self) {
        let draft = self.draft;
        for (name, node) in &draft.nodes {
            let path = format!("nodes.{name}.addresses");
            for (network, address) in &node.addresses {
                let path = format!("{path}.{network}");
                if self.known_network(&path, network) {
                    self.within(&path, *address, network);
                }
                self.own(path, *address);
            }
            let Some(management) = &draft.management_network else {
                continue;
            };
            let known = draft.networks.contains_key(management);
            if known
                && self.report.says(&path)
                && !self.report.says(&format!("{path}.{management}"))
            {
                let message = format!("no address in the management network `{management}`");
                self.report
                    .error(&path, message, Some(format!("add `{management}: ADDRESS`")));
            }
        }
        if draft.nodes.is_empty() && self.report.says("nodes") {
            self.none_given("nodes", "a site needs at least one node");
        }
    }

    fn vips(&mut self) {
        let draft = self.draft;
        if draft.vips.len() > MOST_VIPS {
            let message = format!(
                "{} virtual addresses, and {MOST_VIPS} are the most",
                draft.vips.len()
            );
            let hint = Some("addresses that move together can be one: `address: [A, B]`".into());
            self.report.error("vips", message, hint);
        }
        for (name, vip) in &draft.vips {
            let path = format!("vips.{name}.address");
            let networks = self.networks_of(name, vip);
            for address in &vip.addresses {
                self.within_any(&path, *address, &networks);
                self.own(path.clone(), *address);
            }
            if vip.addresses.len() > MOST_ADDRESSES {
                let count = vip.addresses.len();
                let message = format!("{count} addresses, and {MOST_ADDRESSES} are the most");
                self.report.error(&path, message, None);
            }
            if vip.addresses.is_empty() && self.report.says(&path) {
                self.none_given(&path, "a virtual address needs at least one address");
            }
            if let (false, Some(role)) = (vip.networks.is_empty(), vip.role) {
                self.holders(name, &vip.networks, role);
            }
            self.preferred(name, vip);
            self.held_on(name, vip);
        }
    }

    /// The networks of a virtual address that there are.
    fn networks_of<'v>(&mut self, name: &VipName, vip: &'v DraftVip) -> Vec<&'v NetworkName> {
        let path = format!("vips.{name}.network");
        let several = vip.networks.len() > 1;
        let mut known = Vec::new();
        for (i, network) in vip.networks.iter().enumerate() {
            let path = if several {
                format!("{path}[{i}]")
            } else {
                path.clone()
            };
            if known.contains(&network) {
                let message = format!("`{network}` is listed twice");
                self.report.error(&path, message, None);
            } else if self.known_network(&path, network) {
                known.push(network);
            }
        }
        if vip.networks.is_empty() && self.report.says(&path) {
            self.none_given(&path, "a virtual address needs at least one network");
        }
        known
    }

    /// A preferred node of another role is doubtful, not wrong: roles come and go one by one.
    fn preferred(&mut self, name: &VipName, vip: &DraftVip) {
        let draft = self.draft;
        let path = format!("vips.{name}.prefer");
        let mut seen = BTreeSet::new();
        for (i, preferred) in vip.prefer.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if !seen.insert(preferred) {
                let message = format!("`{preferred}` is listed twice");
                self.report.error(&path, message, None);
            }
            match (draft.nodes.get(preferred), vip.role) {
                (None, _) => {
                    let of_role = |node: &Node| vip.role.is_none() || node.role == vip.role;
                    let nodes = draft.nodes.iter().filter(|(_, node)| of_role(node));
                    let nodes = nodes.map(|(id, _)| id.as_ref()).collect::<Vec<_>>();
                    self.report
                        .unknown(&path, "node", preferred.as_ref(), nodes);
                }
                (Some(node), Some(role)) if node.role != Some(role) => {
                    let message =
                        format!("`{preferred}` has not the role `{role}`: it cannot hold `{name}`");
                    self.report.warn(&path, message, None);
                }
                (Some(_), _) => {}
            }
        }
        if vip.fail_back.is_some() && vip.prefer.is_empty() && !self.report.faulty(&path) {
            let message = "no node is preferred: there is nothing to go back to".into();
            let hint = Some("name the better nodes: `prefer: [NODE]`".into());
            let path = format!("vips.{name}.fail_back");
            self.report.warn(&path, message, hint);
        }
    }

    /// A node that alone may hold it must be one that could.
    fn held_on(&mut self, name: &VipName, vip: &DraftVip) {
        let Some(only) = vip.held_by.only() else {
            return;
        };
        let nodes = self.draft.nodes.iter();
        let able = nodes.filter(|(_, node)| vip.role.is_some() && node.role == vip.role);
        let able: Vec<&str> = able.map(|(id, _)| id.as_ref()).collect();
        if !able.contains(&only.as_ref()) {
            let path = format!("vips.{name}.held_by");
            self.report
                .unknown(&path, "node of its role", only.as_ref(), able);
        }
    }

    /// A virtual address that nobody could hold is doubtful, not wrong: sites grow step by step.
    fn holders(&mut self, name: &VipName, networks: &[NetworkName], role: Role) {
        let path = format!("vips.{name}.role");
        let mut nodes = self
            .draft
            .nodes
            .iter()
            .filter(|(_, node)| node.role == Some(role));
        let lacks = |node: &Node| {
            let mut networks = networks.iter();
            networks.find(|network| !node.addresses.contains_key(*network))
        };
        if nodes.clone().next().is_none() {
            let message = format!("no node has the role `{role}`: nobody can hold this address");
            self.report.warn(&path, message, None);
        } else if let Some((node, network)) =
            nodes.find_map(|(name, node)| Some((name, lacks(node)?)))
        {
            let message = format!(
                "`{node}` has the role `{role}` but no address in `{network}`: \
                 it cannot hold `{name}`"
            );
            self.report.warn(&path, message, None);
        }
    }

    fn coordinators(&mut self) {
        let draft = self.draft;
        let mut seen = BTreeSet::new();
        for (i, name) in draft.coordinators.iter().enumerate() {
            let path = format!("coordinators[{i}]");
            if !self.report.says(&format!("nodes.{name}")) {
                let nodes = draft.nodes.keys().map(AsRef::as_ref);
                self.report.unknown(&path, "node", name.as_ref(), nodes);
            }
            if !seen.insert(name) {
                self.report
                    .error(&path, format!("`{name}` is listed twice"), None);
            }
        }
        if draft.coordinators.is_empty() && self.report.says("coordinators") {
            self.none_given("coordinators", "a site needs at least one coordinator");
        }
    }

    /// Unless what was given could not be read, which has been told.
    fn none_given(&mut self, path: &str, message: &str) {
        if !self.report.faulty(path) {
            self.report.error(path, message.into(), None);
        }
    }

    /// Says nothing of a site without any network: that has been told.
    fn known_network(&mut self, path: &str, network: &NetworkName) -> bool {
        let known = self.draft.networks.contains_key(network);
        let told = self.report.says(&format!("networks.{network}"));
        if !known && !told && !self.draft.networks.is_empty() {
            let networks = self.draft.networks.keys().map(AsRef::as_ref);
            self.report
                .unknown(path, "network", network.as_ref(), networks);
        }
        known
    }

    fn within(&mut self, path: &str, address: IpAddr, network: &NetworkName) {
        let Some(cidr) = self.draft.networks.get(network).map(|network| network.cidr) else {
            return;
        };
        let message = if !cidr.contains(&address) {
            format!("{address} is not in network `{network}` ({cidr})")
        } else if is_network_address(&cidr, address) {
            format!("{address} is the address of network `{network}` ({cidr}) itself")
        } else if is_broadcast_address(&cidr, address) {
            format!("{address} is the broadcast address of network `{network}` ({cidr})")
        } else {
            return;
        };
        self.report.error(path, message, None);
    }

    /// Of several networks the one that holds the address is meant.
    fn within_any(&mut self, path: &str, address: IpAddr, networks: &[&NetworkName]) {
        let cidr = |name: &NetworkName| self.draft.networks.get(name).map(|network| network.cidr);
        let holds = |name: &NetworkName| cidr(name).is_some_and(|cidr| cidr.contains(&address));
        match (networks, networks.iter().find(|name| holds(name))) {
            ([], _) => {}
            ([network], _) | (_, Some(network)) => self.within(path, address, network),
            (several, None) => {
                let names: Vec<_> = several.iter().map(|name| format!("`{name}`")).collect();
                let message = format!("{address} is in none of {}", names.join(", "));
                self.report.error(path, message, None);
            }
        }
    }

    fn own(&mut self, path: String, address: IpAddr) {
        match self.owners.get(&address) {
            None => {
                self.owners.insert(address, path);
            }
            Some(owner) => {
                let first = self.report.position(owner);
                let message = format!("{address} belongs to {owner} already (at {first})");
                self.report.error(&path, message, None);
            }
        }
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// In networks of one or two addresses (RFC 3021, RFC 6164) every address is a host's.
fn is_network_address(cidr: &IpNet, address: IpAddr) -> bool {
    cidr.prefix_len() + 1 < cidr.max_prefix_len() && address == cidr.network()
}

fn is_broadcast_address(cidr: &IpNet, address: IpAddr) -> bool {
    address.is_ipv4()
        && cidr.prefix_len() + 1 < cidr.max_prefix_len()
        && address == cidr.broadcast()
}
