//! The files that make one node out of the base image.
//!
//! Pure: the driver writes what this says. Everything else about a node comes from its packages.

use std::fmt::Write as _;

use crate::topology::{Node, Topology};

/// A file of a node: path from its root, content.
#[derive(Debug, PartialEq, Eq)]
pub struct NodeFile {
    /// Path without the leading slash.
    pub path: String,
    /// All of it.
    pub content: String,
}

/// The files of a node, except its machine id, which is drawn once.
pub fn node_files(topology: &Topology, node: &Node) -> Vec<NodeFile> {
    let mut files = vec![
        NodeFile {
            path: "etc/hostname".into(),
            content: format!("{}\n", node.name),
        },
        NodeFile {
            path: "etc/hosts".into(),
            content: hosts(topology),
        },
    ];
    for nic in &node.nics {
        // Where udev runs it names interfaces by this; elsewhere the lab has named them.
        let link = format!(
            "[Match]\nMACAddress={}\n\n[Link]\nName={}\n",
            nic.mac, nic.interface
        );
        let link_local = if nic.address.is_ipv6() { "ipv6" } else { "no" };
        let network = format!(
            "[Match]\nMACAddress={}\n\n[Network]\nAddress={}/{}\nLinkLocalAddressing={link_local}\n\
             IPv6AcceptRA=no\nLLDP=no\n",
            nic.mac, nic.address, nic.prefix
        );
        let base = format!("etc/systemd/network/10-{}", nic.interface);
        files.push(NodeFile {
            path: format!("{base}.link"),
            content: link,
        });
        files.push(NodeFile {
            path: format!("{base}.network"),
            content: network,
        });
    }
    files
}

fn hosts(topology: &Topology) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost\n\n");
    for node in &topology.nodes {
        if let Some(address) = node.management_address() {
            let _ = writeln!(text, "{address} {}", node.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::small;

    #[test]
    fn a_node_knows_every_other_by_its_management_address() {
        let topology = small();
        let edge = topology.node("haproxy-ext-1").expect("the node");
        let files = node_files(&topology, edge);
        let hosts = files.iter().find(|f| f.path == "etc/hosts").expect("hosts");
        for line in [
            "192.168.56.31 control-1",
            "192.168.56.10 haproxy-ext-1",
            "192.168.56.61 nas-1",
        ] {
            assert!(
                hosts.content.lines().any(|l| l == line),
                "{line} in {}",
                hosts.content
            );
        }
    }

    #[test]
    fn each_interface_gets_its_own_address() {
        let topology = small();
        let edge = topology.node("haproxy-ext-1").expect("the node");
        let files = node_files(&topology, edge);
        let network = files
            .iter()
            .find(|f| f.path.ends_with("eth1.network"))
            .expect("eth1");
        assert_eq!(
            network.content,
            "[Match]\nMACAddress=02:68:61:00:01:01\n\n[Network]\nAddress=192.168.30.131/24\n\
             LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\n"
        );
    }
}
