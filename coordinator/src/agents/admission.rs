//! Whether an agent may speak: its certificate names a node that is enrolled, and is not revoked.

use hamesh_proto::ids::NodeId;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::{self, PeerIdentity};
use tonic::{Request, Status};

use super::remember;
use crate::core::Core;
use crate::desired::Desired;
use crate::ledger::{CommitError, Kept};
use crate::records::{CertificateRecord, DesiredRecord, NodeRecord, keys};

/// An agent that may speak.
pub(super) struct Admitted {
    pub node: NodeId,
    pub peer: PeerIdentity,
    pub record: Kept<NodeRecord>,
    /// The site's, when it was admitted.
    pub incarnation: u64,
}

/// Reads the store: what was revoked a moment ago is refused now. The desired state that was read
/// comes apart: who is admitted for long must not keep it.
pub(super) async fn admit<T>(
    core: &Core,
    request: &Request<T>,
) -> Result<(Admitted, Desired), Status> {
    let identity =
        tls::peer(request).ok_or_else(|| Status::unauthenticated("show an agent's certificate"))?;
    let Principal::Agent(node) = identity.id.principal.clone() else {
        return Err(Status::permission_denied(format!(
            "{} is no agent; only agents open sessions",
            identity.id
        )));
    };
    if identity.id.site != core.site {
        return Err(Status::permission_denied(format!(
            "this is the site {}",
            core.site
        )));
    }
    core.in_force(&identity)?;
    let desired: Option<Kept<DesiredRecord>> = core.ledger.read(keys::DESIRED).await?;
    let desired = desired.ok_or_else(|| Status::internal("the store holds no desired state"))?;
    if desired.value.revoked.contains_key(&identity.serial) {
        return Err(revoked(&node));
    }
    let desired = Desired::parse_beside(desired.value, &core.world().desired)
        .map_err(|error| Status::internal(error.to_string()))?;
    let record: Option<Kept<NodeRecord>> = core.ledger.read(&keys::node(&node)).await?;
    let Some(record) = record else {
        return Err(removed(&node));
    };
    let known = record
        .value
        .certificates
        .iter()
        .any(|known| known.serial == identity.serial);
    let record = if known {
        record
    } else {
        learn(
            core,
            record,
            CertificateRecord {
                serial: identity.serial.clone(),
                not_after_unix_ms: identity.not_after_unix_ms,
            },
        )
        .await?
    };
    let admitted = Admitted {
        node,
        peer: identity,
        record,
        incarnation: desired.record.incarnation,
    };
    Ok((admitted, desired))
}

/// A certificate of the site's CA that the store does not know: it was issued before the store was
/// restored from a backup. It is good, and from now on it can be revoked.
async fn learn(
    core: &Core,
    record: Kept<NodeRecord>,
    certificate: CertificateRecord,
) -> Result<Kept<NodeRecord>, Status> {
    let mut known = record.value.clone();
    remember(&mut known, certificate, core.clock.unix_ms());
    match core
        .ledger
        .commit(core.own_change().replace(&record, &known))
        .await
    {
        Ok(()) | Err(CommitError::Conflict) => {}
        Err(error) => return Err(error.into()),
    }
    core.ledger
        .read(&record.key)
        .await?
        .ok_or_else(|| Status::aborted("the node was removed meanwhile"))
}

/// The refusal of a removed node.
pub(super) fn removed(node: &NodeId) -> Status {
    Status::permission_denied(format!(
        "{node} is not enrolled, or was removed from the site; enrol it with a token of \
         `coordctl token create {node}`"
    ))
}

/// The refusal of a revoked certificate.
pub(super) fn revoked(node: &NodeId) -> Status {
    Status::unauthenticated(format!(
        "this certificate of {node} was revoked; enrol the node with a token of \
         `coordctl token create {node}`"
    ))
}
