//! What a role makes of a node: a pure function of the site, the node and its secrets.
//!
//! Guarantees: what is rendered holds no text that the document's reader did not confine to its
//! place (see [`words`](crate::words)); no secret is in what may be shown; a role is only made of
//! a node where the site says what it is to do.
//!
//! Absent: roles that hamesh does not make yet. For their nodes there is nothing to apply, and
//! what they have is left alone.
//!
//! | module | holds |
//! |---|---|
//! | `edge` | HAProxy between the untrusted networks and the internal proxies |
//! | `internal` | HAProxy in front of Kubernetes and PostgreSQL |
//! | `database` | PostgreSQL under Patroni, with etcd |
//! | `haproxy` | what both have in common |
//! | `firewall` | the rules of nftables of an edge proxy |
//! | `secrets` | what a role needs that is no part of a document |

use std::net::{IpAddr, SocketAddr};

use hamesh_proto::ids::NodeId;
use hamesh_proto::ports;

use crate::adoption::Traces;
use crate::adoption::stage::outside;
use crate::engine::{Desired, Package, Resource};
use crate::role::Role;
use crate::site::{Node, Site};

mod database;
mod edge;
mod firewall;
mod haproxy;
mod internal;
mod secrets;
#[cfg(test)]
mod tests;

pub use database::PATRONI_PORT;
pub use internal::LEADER_BACKEND;
pub use secrets::{Missing, NeededSecret, Origin, Secrets, needed_secrets};

/// The packages that roles install.
pub(crate) fn packages() -> impl Iterator<Item = &'static str> + Clone {
    ["haproxy", "nftables"]
        .into_iter()
        .chain(database::PACKAGES)
}

/// All that the node is to have. `None`: the site does not say what nodes of its role are to do,
/// or it has no such node: hamesh leaves it alone.
///
/// # Errors
/// A secret that the node's role needs is not among `secrets`. Nothing can be applied until it is
/// there; what the node has stays as it is.
pub fn desired(site: &Site, node: &NodeId, secrets: &Secrets) -> Result<Option<Desired>, Missing> {
    let Some(it) = site.nodes.get(node) else {
        return Ok(None);
    };
    let place = Place {
        site,
        id: node,
        node: it,
        secrets,
    };
    let rendered = match it.role {
        None => return Ok(Some(nothing(site))),
        Some(Role::EdgeProxy) => match &site.edge_proxy {
            Some(edge) => Some(edge::desired(&place, edge)?),
            None => None,
        },
        Some(Role::InternalProxy) => match &site.internal_proxy {
            Some(internal) => Some(internal::desired(&place, internal)?),
            None => None,
        },
        Some(Role::Database) => match &site.database {
            Some(cluster) => Some(database::desired(&place, cluster)?),
            None => None,
        },
        Some(Role::K8sControl | Role::K8sWorker) => None,
    };
    Ok(rendered.map(|desired| Desired {
        role: it.role,
        lifelines: lifelines(site),
        resources: desired
            .resources
            .into_iter()
            .chain(place.retired())
            .collect(),
        ..desired
    }))
}

/// Whether the site says what nodes of a role are to do.
pub fn configures(site: &Site, role: Role) -> bool {
    match role {
        Role::EdgeProxy => site.edge_proxy.is_some(),
        Role::InternalProxy => site.internal_proxy.is_some(),
        Role::Database => site.database.is_some(),
        Role::K8sControl | Role::K8sWorker => false,
    }
}

/// All that a node is to have for which no role is wanted: what earlier ones made goes.
pub fn nothing(site: &Site) -> Desired {
    Desired {
        lifelines: lifelines(site),
        ..Desired::default()
    }
}

/// The API of each coordinator, where nodes reach it.
fn lifelines(site: &Site) -> Vec<SocketAddr> {
    let addresses = site.coordinators.iter();
    let addresses = addresses.filter_map(|id| site.management_address(id));
    addresses.map(|ip| (ip, ports::API).into()).collect()
}

/// The node that is rendered, and all that is known of it.
struct Place<'a> {
    site: &'a Site,
    id: &'a NodeId,
    node: &'a Node,
    secrets: &'a Secrets,
}

impl Place<'_> {
    /// Where the node is reached by the rest of the site.
    fn management_address(&self) -> IpAddr {
        let address = self.site.management_address(self.id);
        address.expect("every node of a site has an address in the management network")
    }

    fn is_coordinator(&self) -> bool {
        self.site.coordinators.contains(self.id)
    }

    /// Whether anything of the site is reached by IPv6.
    fn has_ipv6(&self) -> bool {
        let mut networks = self.site.networks.values();
        networks.any(|network| network.cidr.addr().is_ipv6())
    }

    /// The addresses that nodes of this role hold by turns.
    fn vip_addresses(&self, role: Role) -> impl Iterator<Item = IpAddr> {
        let vips = self.site.vips.values();
        let vips = vips.filter(move |vip| vip.role == role);
        vips.flat_map(|vip| vip.addresses.iter().copied())
    }

    /// The nodes of a role, by name, with a port at their management address.
    fn servers(&self, role: Role, port: u16) -> Vec<(&NodeId, SocketAddr)> {
        let nodes = self.site.with_role(role);
        let nodes = nodes.filter_map(|id| Some((id, self.site.management_address(id)?)));
        nodes.map(|(id, ip)| (id, (ip, port).into())).collect()
    }

    /// That nothing else moves addresses of this node, once hamesh holds all of them.
    fn retired(&self) -> Option<Resource> {
        let vips = self.site.vips.values();
        let own: Vec<_> = vips.filter(|vip| vip.admits(self.node)).collect();
        let spared = own.iter().any(|vip| vip.held_by.spares(self.id));
        let traces = self.node.role.and_then(Traces::of);
        traces
            .filter(|_| !own.is_empty() && !spared)
            .map(Traces::retired)
    }

    /// Whether addresses of the role are still moved by what served before.
    fn is_taken_over(&self, role: Role) -> bool {
        outside(self.site, role).next().is_some()
    }

    fn package(&self, name: &'static str) -> Resource {
        let mut versions = self.site.packages.iter();
        let version = versions.find(|(package, _)| package.as_ref() == name);
        Resource::Package(Package {
            name: name.to_owned(),
            version: version.map(|(_, version)| version.to_string()),
        })
    }
}
