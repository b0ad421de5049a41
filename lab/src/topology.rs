//! What to build for a site: every machine, interface, port and address, worked out beforehand.
//!
//! A pure function of the site: the same file gives the same names, MACs and addresses on every
//! machine, so that any later command finds its way without a record of what `up` did.
//!
//! ```text
//!   node's namespace      the fabric (hamesh-lab)       client's namespace
//!   eth0 ------------- n3-0 [br0: trust] c0 ------------- eth0
//!   eth1 ------------- n3-1 [br1: untrust] c1 --- eth0 (another client)
//! ```
//! Every network has two clients: what one does changes its own neighbour cache, so that who would
//! watch without touching watches from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use hamesh_roles::{Engine, Site};

use crate::names;

pub use clients::Client;

mod clients;

/// All that the lab makes for one site.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Name of the site.
    pub site: String,
    /// Networks in the order of their names.
    pub networks: Vec<Network>,
    /// Nodes in the order of their names.
    pub nodes: Vec<Node>,
    /// Nodes that run a coordinator, in the site's order.
    pub coordinators: Vec<String>,
    /// Index of the network on which `client` stands if not told otherwise.
    pub outside: usize,
}

/// One network: a bridge in the fabric and the clients on it.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its name in the site.
    pub name: String,
    /// The bridge in the fabric.
    pub bridge: String,
    /// The clients, in the order of their names.
    pub clients: [Client; 2],
    /// Length of the network's prefix.
    pub prefix: u8,
    /// The network, as a test for membership.
    first: IpAddr,
    last: IpAddr,
}

/// One VM.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name in the site, and its host name.
    pub name: String,
    /// Its place in the order of names; part of MACs and port names.
    pub index: usize,
    /// What it runs on.
    pub engine: Engine,
    /// Memory it may use, in MiB.
    pub memory_mib: Option<u32>,
    /// Its interfaces, the one on the management network first.
    pub nics: Vec<Nic>,
}

/// One interface of a node.
#[derive(Debug, Clone)]
pub struct Nic {
    /// Index of its network.
    pub network: usize,
    /// Name inside the node.
    pub interface: String,
    /// Its port on the bridge.
    pub port: String,
    /// Its hardware address.
    pub mac: String,
    /// Its address.
    pub address: IpAddr,
    /// Length of the network's prefix.
    pub prefix: u8,
}

impl Topology {
    /// Works out the topology of a site.
    ///
    /// # Errors
    /// A network so full that no addresses are left for the lab's clients.
    pub fn of(site: &Site) -> Result<Self> {
        let taken: BTreeSet<IpAddr> = site
            .nodes
            .values()
            .flat_map(|node| node.addresses.values())
            .chain(site.vips.values().flat_map(|vip| &vip.addresses))
            .copied()
            .collect();
        let networks: Vec<Network> = site
            .networks
            .iter()
            .enumerate()
            .map(|(index, (name, network))| {
                let (first, last) = (network.cidr.network(), network.cidr.broadcast());
                let free = clients::highest_free(first, last, &taken)
                    .with_context(|| format!("network {name} has no two addresses for clients"))?;
                Ok(Network {
                    name: name.to_string(),
                    bridge: format!("br{index}"),
                    clients: clients::of(name.as_ref(), index, free),
                    prefix: network.cidr.prefix_len(),
                    first,
                    last,
                })
            })
            .collect::<Result<_>>()?;
        let management = site.management_network.to_string();
        let nodes = site.nodes.iter().enumerate();
        let nodes = nodes
            .map(|(index, (name, node))| Node {
                name: name.to_string(),
                index,
                engine: node.lab.engine,
                memory_mib: node.lab.memory_mib,
                nics: nics(index, node, &networks, &management),
            })
            .collect();
        let outside = networks
            .iter()
            .position(|network| network.name != management)
            .unwrap_or(0);
        let coordinators = site.coordinators.iter().map(ToString::to_string).collect();
        Ok(Self {
            site: site.name.to_string(),
            networks,
            nodes,
            coordinators,
            outside,
        })
    }

    /// The node of this name, or an error that names the nearest thing: the list.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| {
                let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                format!(
                    "no node `{name}` in site {}; it has {}",
                    self.site,
                    names.join(", ")
                )
            })
    }

    /// The network of this name.
    pub fn network(&self, name: &str) -> Result<&Network> {
        self.networks
            .iter()
            .find(|network| network.name == name)
            .with_context(|| {
                let names: Vec<&str> = self.networks.iter().map(|n| n.name.as_str()).collect();
                format!(
                    "no network `{name}` in site {}; it has {}",
                    self.site,
                    names.join(", ")
                )
            })
    }

    /// The network an address belongs to.
    pub fn network_of(&self, address: IpAddr) -> Option<&Network> {
        self.networks.iter().find(|network| {
            network.first.is_ipv4() == address.is_ipv4()
                && (network.first..=network.last).contains(&address)
        })
    }

    /// Ports on the bridges of everything a fault can name: nodes, and the clients as
    /// `client:NETWORK` and `client2:NETWORK` (on the network of `client` also without it).
    pub fn ports(&self) -> BTreeMap<String, Vec<String>> {
        let nodes = self.nodes.iter().map(|node| {
            (
                node.name.clone(),
                node.nics.iter().map(|nic| nic.port.clone()).collect(),
            )
        });
        let clients = self
            .networks
            .iter()
            .enumerate()
            .flat_map(|(index, network)| network.clients.iter().map(move |c| (index, c)))
            .flat_map(|(index, client)| {
                let port = vec![client.port.clone()];
                let long = Some((client.name.clone(), port.clone()));
                let short = client.name.split(':').next().unwrap_or_default().to_owned();
                long.into_iter()
                    .chain((index == self.outside).then_some((short, port)))
            });
        nodes.chain(clients).collect()
    }

    /// Whether any node runs on this engine.
    pub fn runs(&self, engine: Engine) -> bool {
        self.nodes.iter().any(|node| node.engine == engine)
    }
}

impl Node {
    /// The address on the management network.
    pub fn management_address(&self) -> Option<IpAddr> {
        self.nics.first().map(|nic| nic.address)
    }

    /// Its network namespace.
    pub fn namespace(&self) -> String {
        names::node_namespace(&self.name)
    }
}

fn nics(index: usize, node: &hamesh_roles::Node, networks: &[Network], first: &str) -> Vec<Nic> {
    let mut addresses: Vec<(usize, IpAddr)> = networks
        .iter()
        .enumerate()
        .filter_map(|(at, network)| {
            let given = node
                .addresses
                .iter()
                .find(|(name, _)| name.as_ref() == network.name);
            given.map(|(_, address)| (at, *address))
        })
        .collect();
    addresses.sort_by_key(|(at, _)| (networks[*at].name != first, *at));
    addresses
        .into_iter()
        .enumerate()
        .map(|(slot, (network, address))| Nic {
            network,
            interface: format!("eth{slot}"),
            port: format!("n{index}-{network}"),
            mac: mac(index, network),
            address,
            prefix: networks[network].prefix,
        })
        .collect()
}

/// A locally administered address; "ha" for the eye that reads a capture.
fn mac(node: usize, network: usize) -> String {
    format!(
        "02:68:61:{:02x}:{:02x}:{:02x}",
        node >> 8,
        node & 0xff,
        network & 0xff
    )
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const SITE: &str = "\
site: small
networks:
  trust: {cidr: 192.168.56.0/24}
  untrust: {cidr: 192.168.30.0/24}
management_network: trust
coordinators: [control-1]
vips:
  edge: {address: 192.168.30.254, network: untrust, role: edge-proxy}
nodes:
  control-1: {role: k8s-control, addresses: {trust: 192.168.56.31}}
  haproxy-ext-1: {role: edge-proxy, addresses: {trust: 192.168.56.10, untrust: 192.168.30.131}}
  nas-1: {addresses: {trust: 192.168.56.61}, lab: {engine: uml, memory_mib: 512}}
";

    pub fn small() -> Topology {
        let site = Site::parse(SITE).expect("a valid site");
        Topology::of(&site).expect("room for the clients")
    }

    #[test]
    fn the_interface_on_the_management_network_comes_first() {
        let topology = small();
        let edge = topology.node("haproxy-ext-1").expect("the node");
        let seen: Vec<_> = edge
            .nics
            .iter()
            .map(|nic| {
                (
                    nic.interface.as_str(),
                    nic.port.as_str(),
                    nic.address.to_string(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("eth0", "n1-0", "192.168.56.10".to_owned()),
                ("eth1", "n1-1", "192.168.30.131".to_owned())
            ]
        );
    }

    #[test]
    fn every_hardware_address_and_port_is_its_own() {
        let topology = small();
        let nics: Vec<&Nic> = topology.nodes.iter().flat_map(|node| &node.nics).collect();
        let macs: BTreeSet<&str> = nics.iter().map(|nic| nic.mac.as_str()).collect();
        let ports: BTreeSet<&str> = nics.iter().map(|nic| nic.port.as_str()).collect();
        assert_eq!((macs.len(), ports.len()), (nics.len(), nics.len()));
        assert!(
            ports.iter().all(|port| port.len() < 16),
            "an interface name has 15 bytes"
        );
    }

    #[test]
    fn clients_take_the_highest_addresses_that_the_site_leaves_free() {
        let topology = small();
        let addresses = |name| {
            let network = topology.network(name).expect("the network");
            network.clients.each_ref().map(|c| c.address.to_string())
        };
        assert_eq!(addresses("trust"), ["192.168.56.254", "192.168.56.253"]);
        let untrust = ["192.168.30.253", "192.168.30.252"];
        assert_eq!(addresses("untrust"), untrust, "the VIP has .254");
    }

    #[test]
    fn a_fault_can_name_either_client_of_a_network() {
        let ports = small().ports();
        assert_eq!(ports["client:trust"], ["c0"]);
        assert_eq!(ports["client2:trust"], ["c0-2"]);
        assert_eq!(ports["client2"], ports["client2:untrust"]);
    }

    #[test]
    fn the_default_client_stands_outside_the_management_network() {
        let topology = small();
        assert_eq!(topology.networks[topology.outside].name, "untrust");
        assert_eq!(
            topology.ports()["client"],
            topology.ports()["client:untrust"]
        );
    }

    #[test]
    fn an_address_is_found_in_the_network_that_holds_it() {
        let topology = small();
        let name = |text: &str| {
            let address = text.parse().expect("an address");
            topology
                .network_of(address)
                .map(|network| network.name.clone())
        };
        assert_eq!(name("192.168.30.130").as_deref(), Some("untrust"));
        assert_eq!(name("10.0.0.1"), None);
        assert_eq!(name("::1"), None);
    }

    #[test]
    fn an_unknown_node_is_answered_with_the_names_that_exist() {
        let error = small()
            .node("node-9")
            .expect_err("no such node")
            .to_string();
        assert!(error.contains("control-1, haproxy-ext-1, nas-1"), "{error}");
    }
}
