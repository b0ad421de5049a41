//! Who calls, and whether that operator may.

use hamesh_proto::ids::OperatorName;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls;
use tonic::{Request, Status};

use super::OperatorsService;
use crate::ledger::Kept;
use crate::records::{OperatorAccess, OperatorRecord, keys};

/// An operator who may do what was asked.
pub(super) struct Caller {
    pub name: OperatorName,
    pub record: Kept<OperatorRecord>,
}

impl Caller {
    /// The SPIFFE path, for events.
    pub fn path(&self) -> String {
        format!("operator/{}", self.name)
    }
}

impl OperatorsService {
    /// Who may admit operators: an admin, or this coordinator itself. Whoever holds its identity
    /// holds the CA's key beside it, and a site whose last admin's certificate ran out must find
    /// a way back. Gives the SPIFFE path, for events.
    pub(super) async fn admitter<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let own = Principal::Coordinator(self.core.node.clone());
        let identity = tls::peer(request).map(|peer| peer.id);
        match identity.filter(|id| id.site == self.core.site && id.principal == own) {
            Some(id) => Ok(id.principal.path()),
            None => Ok(self.caller(request, OperatorAccess::Admin).await?.path()),
        }
    }

    /// Reads the caller's record now. Only a certificate that stands in it counts: one of an
    /// earlier operator of the same name does not.
    pub(super) async fn caller<T>(
        &self,
        request: &Request<T>,
        needed: OperatorAccess,
    ) -> Result<Caller, Status> {
        let identity = tls::peer(request)
            .ok_or_else(|| Status::unauthenticated("show an operator's certificate"))?;
        let Principal::Operator(name) = identity.id.principal else {
            return Err(Status::permission_denied(format!(
                "{} is no operator; only operators may call this",
                identity.id
            )));
        };
        if identity.id.site != self.core.site {
            return Err(Status::permission_denied(format!(
                "this is the site {}",
                self.core.site
            )));
        }
        let record: Option<Kept<OperatorRecord>> =
            self.core.ledger.read(&keys::operator(&name)).await?;
        let shown = |kept: &Kept<OperatorRecord>| {
            kept.value
                .certificates
                .iter()
                .any(|known| known.serial == identity.serial)
        };
        let record = record.filter(shown).ok_or_else(|| {
            Status::unauthenticated(format!(
                "the operator {name} does not exist any more, or this certificate is not theirs; \
                 ask an admin for `coordctl operator add {name}`"
            ))
        })?;
        match (record.value.access, needed) {
            (OperatorAccess::Viewer, OperatorAccess::Admin) => Err(Status::permission_denied(
                format!("{name} is a viewer and may only look; nothing was changed; ask an admin"),
            )),
            (OperatorAccess::Admin, OperatorAccess::Admin | OperatorAccess::Viewer)
            | (OperatorAccess::Viewer, OperatorAccess::Viewer) => Ok(Caller { name, record }),
        }
    }
}
