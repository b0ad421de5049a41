//! Who may hold each virtual address, looked up by network.
//!
//! A large site has about as many virtual addresses as nodes: to look at every node for each of
//! them is the square of that, and a coordinator asks once a second.

use std::collections::BTreeMap;

use hamesh_proto::ids::NodeId;

use super::{Node, Site, Vip};
use crate::names::NetworkName;

/// The nodes of a site by the networks that they are on.
#[derive(Debug, Clone)]
pub struct Candidates<'a> {
    on: BTreeMap<&'a NetworkName, Vec<(&'a NodeId, &'a Node)>>,
}

impl<'a> Candidates<'a> {
    /// Of this site.
    pub fn of(site: &'a Site) -> Self {
        let mut on: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, node) in &site.nodes {
            for network in node.addresses.keys() {
                on.entry(network).or_default().push((id, node));
            }
        }
        Self { on }
    }

    /// The nodes that may hold these addresses, in the order of their names.
    pub fn for_vip(&self, vip: &Vip) -> impl Iterator<Item = &'a NodeId> {
        let on = |network| self.on.get(network).map_or(&[][..], Vec::as_slice);
        let fewest = vip.networks.iter().map(on).min_by_key(|nodes| nodes.len());
        let nodes = fewest.unwrap_or_default().iter();
        nodes
            .filter(|(id, node)| vip.claims(id, node))
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
site: small
networks: {trust: {cidr: 10.0.0.0/24}, untrust: {cidr: 10.0.1.0/24}, empty: {cidr: 10.0.2.0/24}}
management_network: trust
coordinators: [other]
vips:
  both: {address: [10.0.0.100, 10.0.1.100], network: [trust, untrust], role: edge-proxy}
  inner: {address: 10.0.0.101, network: trust, role: edge-proxy}
  nowhere: {address: 10.0.2.100, network: empty, role: edge-proxy}
  outside: {address: 10.0.0.102, network: trust, role: edge-proxy, held_by: both on a}
nodes:
  b: {role: edge-proxy, addresses: {trust: 10.0.0.1, untrust: 10.0.1.1}}
  a: {role: edge-proxy, addresses: {trust: 10.0.0.2}}
  other: {role: k8s-control, addresses: {trust: 10.0.0.4, untrust: 10.0.1.4}}
";

    #[test]
    fn a_look_by_network_finds_whom_a_look_at_every_node_finds() {
        let site = Site::parse(YAML).expect("a valid site");
        let candidates = Candidates::of(&site);
        for (name, vip) in &site.vips {
            let found: Vec<_> = candidates.for_vip(vip).collect();
            assert_eq!(found, site.candidates(vip).collect::<Vec<_>>(), "{name}");
        }
        let inner: Vec<_> = candidates
            .for_vip(&site.vips[&"inner".parse().expect("a name")])
            .collect();
        assert_eq!(inner.len(), 2);
    }
}
