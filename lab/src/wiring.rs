//! The site's cables and switches, as batches for `ip`.
//!
//! Pure: what exists goes in, the commands that are missing come out, so that a fabric half built
//! by a killed `up` is completed rather than rebuilt. Every link is made inside the namespaces of
//! the lab; none ever appears in the host's own.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::engine::{console, has_own_kernel};
use crate::names::node_namespace;
use crate::topology::{Client, Network, Node, Topology};

/// Commands in the fabric that make the bridges it lacks.
pub fn bridges(topology: &Topology, existing: &BTreeSet<String>) -> String {
    let mut batch = String::from("link set lo up\n");
    for network in &topology.networks {
        let bridge = &network.bridge;
        if !existing.contains(bridge) {
            let _ = writeln!(
                batch,
                "link add {bridge} type bridge forward_delay 0 mcast_snooping 0"
            );
        }
        let _ = writeln!(batch, "link set {bridge} alias {} up", network.name);
    }
    batch
}

/// Commands in the fabric that plug a client into its network.
pub fn plug_client(network: &Network, client: &Client, existing: &BTreeSet<String>) -> String {
    let (port, namespace) = (&client.port, &client.namespace);
    let mut batch = String::new();
    if !existing.contains(port) {
        let _ = writeln!(
            batch,
            "link add {port} type veth peer name eth0 netns {namespace}"
        );
    }
    let _ = writeln!(
        batch,
        "link set {port} master {} alias {} up",
        network.bridge, client.name
    );
    batch
}

/// Commands in the client's namespace.
pub fn client_address(network: &Network, client: &Client) -> String {
    format!(
        "link set lo up\nlink set eth0 up\naddress replace {}/{} dev eth0 nodad\n",
        client.address, network.prefix
    )
}

/// Commands in the fabric that plug a node's interfaces into the bridges. A container gets one end
/// of a cable; a kernel of its own opens a tap by name.
pub fn plug_node(topology: &Topology, node: &Node) -> String {
    let namespace = node_namespace(&node.name);
    let mut batch = String::new();
    for nic in &node.nics {
        let (port, interface, mac) = (&nic.port, &nic.interface, &nic.mac);
        let network = &topology.networks[nic.network];
        let _ = if has_own_kernel(node.engine) {
            writeln!(batch, "tuntap add dev {port} mode tap")
        } else {
            writeln!(
                batch,
                "link add {port} type veth peer name {interface} address {mac} netns {namespace}"
            )
        };
        let _ = writeln!(
            batch,
            "link set {port} master {} alias {}:{} up",
            network.bridge, node.name, network.name
        );
    }
    batch
}

/// Commands in the fabric that lay the console cable of a node with a kernel of its own.
pub fn plug_console(node: &Node) -> String {
    let port = console::console_port(node);
    format!(
        "tuntap add dev {port} mode tap\nlink set {port} alias {}:console up\n\
         address replace {}/64 dev {port} nodad\n",
        node.name,
        console::OUTSIDE
    )
}

/// Commands in the fabric that take the carrier from a node's interfaces, or bring it back.
pub fn carrier(node: &Node, there: bool) -> String {
    let word = if there { "up" } else { "down" };
    let ports = node.nics.iter().map(|nic| &nic.port);
    ports
        .map(|port| format!("link set {port} {word}\n"))
        .collect()
}

/// Commands in the fabric that pull all of a node's cables, those that exist.
pub fn unplug_node(node: &Node, existing: &BTreeSet<String>) -> String {
    let mut batch = String::new();
    for nic in node.nics.iter().filter(|nic| existing.contains(&nic.port)) {
        let _ = writeln!(batch, "link delete {}", nic.port);
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::small;

    #[test]
    fn only_bridges_that_are_missing_are_made() {
        let topology = small();
        let all = bridges(&topology, &BTreeSet::new());
        assert_eq!(all.matches("link add").count(), 2, "{all}");
        let rest = bridges(&topology, &BTreeSet::from(["br0".to_owned()]));
        assert!(
            !rest.contains("link add br0") && rest.contains("link add br1"),
            "{rest}"
        );
    }

    #[test]
    fn a_container_is_plugged_with_a_cable_into_its_own_namespace() {
        let topology = small();
        let edge = topology.node("haproxy-ext-1").expect("the node");
        let batch = plug_node(&topology, edge);
        assert_eq!(
            batch,
            "link add n1-0 type veth peer name eth0 address 02:68:61:00:01:00 \
             netns hamesh-lab-node-haproxy-ext-1\n\
             link set n1-0 master br0 alias haproxy-ext-1:trust up\n\
             link add n1-1 type veth peer name eth1 address 02:68:61:00:01:01 \
             netns hamesh-lab-node-haproxy-ext-1\n\
             link set n1-1 master br1 alias haproxy-ext-1:untrust up\n"
        );
    }

    #[test]
    fn only_cables_that_exist_are_pulled() {
        let topology = small();
        let edge = topology.node("haproxy-ext-1").expect("the node");
        assert_eq!(
            unplug_node(edge, &BTreeSet::from(["n1-1".to_owned()])),
            "link delete n1-1\n"
        );
    }
}
