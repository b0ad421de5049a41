//! What each node is to have, rendered from the site and the secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use hamesh_proto::ids::NodeId;
use hamesh_proto::seal::SealKey;
use hamesh_proto::v1;
use hamesh_roles::engine::{Certificate, Desired, Resource};
use hamesh_roles::render::{Secrets, desired, nothing};
use hamesh_roles::site::Mode;
use hamesh_roles::{Role, Site};

use super::secrets;
use crate::records::RolesRecord;
use crate::world::World;

/// What one node is to have.
#[derive(Debug, Clone)]
pub struct Order {
    /// The role it comes from.
    pub role: Option<Role>,
    /// Whether the document says what the role is to do. Otherwise the node is to have nothing of
    /// what hamesh made on it before.
    pub configured: bool,
    /// As the node is told; or what is missing for it, and what to do.
    pub order: Result<Arc<v1::RoleOrder>, String>,
}

/// The orders of a site, by node.
pub type Orders = BTreeMap<NodeId, Order>;

/// The orders of the site as it is.
pub fn of_world(world: &World, seal: &SealKey) -> Orders {
    let secrets = secrets(world, seal);
    let id = world.desired.id();
    of_site(&world.desired.site, id, &secrets, &world.roles)
}

/// What the site's secrets are.
pub fn secrets(world: &World, seal: &SealKey) -> Secrets {
    secrets::open_all(seal, &world.secrets)
        .into_iter()
        .collect()
}

/// The orders of a site that may not be the desired one yet.
pub fn of_site(
    site: &Site,
    id: v1::AssignmentId,
    secrets: &Secrets,
    roles: &RolesRecord,
) -> Orders {
    let order = |(node, known): (&NodeId, &hamesh_roles::Node)| {
        let rendered = rendered(site, node, secrets, roles);
        let configured = !matches!(rendered, Ok(None));
        let desired = rendered.map(|it| it.unwrap_or_else(|| nothing(site)));
        let order = match desired {
            Ok(desired) => {
                let observe = known.mode == Mode::Observe;
                let attempt = roles.attempts.get(node).copied().unwrap_or(0);
                Ok(Arc::new(message(&desired, id, observe, attempt)))
            }
            Err(missing) => Err(missing),
        };
        let role = known.role;
        let order = Order {
            role,
            configured: configured && role.is_some(),
            order,
        };
        (node.clone(), order)
    };
    site.nodes.iter().map(order).collect()
}

/// The certificate of this name that a node's role has.
pub fn certificate(
    site: &Site,
    node: &NodeId,
    secrets: &Secrets,
    name: &str,
) -> Option<Certificate> {
    let desired = rendered(site, node, secrets, &RolesRecord::default());
    let resources = desired.ok()??.resources;
    resources.into_iter().find_map(|resource| match resource {
        Resource::Certificate(certificate) if certificate.name == name => Some(certificate),
        _ => None,
    })
}

fn rendered(
    site: &Site,
    node: &NodeId,
    secrets: &Secrets,
    roles: &RolesRecord,
) -> Result<Option<Desired>, String> {
    let mut desired = match desired(site, node, secrets) {
        Ok(Some(desired)) => desired,
        Ok(None) => return Ok(None),
        Err(missing) => return Err(missing.to_string()),
    };
    desired.purge_data = desired.role.is_none() && roles.purge.contains(node);
    for resource in &mut desired.resources {
        if let Resource::Certificate(certificate) = resource {
            certificate.issue = roles.issue;
        }
    }
    Ok(Some(desired))
}

fn message(desired: &Desired, id: v1::AssignmentId, observe: bool, attempt: u64) -> v1::RoleOrder {
    v1::RoleOrder {
        digest: desired.digest().to_string(),
        assignment: Some(id),
        desired: serde_json::to_vec(desired).expect("what is desired is plain JSON"),
        observe,
        attempt,
        // Counted when the node may have it.
        epoch: 0,
        number: 0,
    }
}
