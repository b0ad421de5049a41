//! The operators themselves.

use hamesh_proto::ids::OperatorName;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::v1;
use tonic::{Request, Status};

use super::OperatorsService;
use crate::authority::certificate_record;
use crate::desired::revoke_all;
use crate::ledger::{EventKind, Kept};
use crate::records::{OperatorAccess, OperatorRecord, keys};

/// The most operators of a site: two to five people, their robots, and room.
const MAX_OPERATORS: usize = 200;
/// Valid certificates that an operator may have at once.
const MAX_CERTIFICATES: usize = 16;

impl OperatorsService {
    pub(super) async fn new_operator(
        &self,
        request: Request<v1::AddOperatorRequest>,
    ) -> Result<v1::AddedOperator, Status> {
        let actor = self.admitter(&request).await?;
        let message = request.into_inner();
        let name = name_of(&message.name)?;
        let access = match message.access() {
            v1::Access::Viewer => OperatorAccess::Viewer,
            v1::Access::Admin => OperatorAccess::Admin,
            v1::Access::Unspecified => {
                return Err(Status::invalid_argument(
                    "say `viewer` or `admin`; nothing was changed",
                ));
            }
        };
        let key = keys::operator(&name);
        if self
            .core
            .ledger
            .read::<OperatorRecord>(&key)
            .await?
            .is_some()
        {
            return Err(Status::already_exists(format!(
                "there is an operator {name} already; nothing was changed; remove it first"
            )));
        }
        let all: Vec<Kept<OperatorRecord>> = self.core.ledger.list(keys::OPERATORS).await?;
        if all.len() >= MAX_OPERATORS {
            return Err(Status::resource_exhausted(format!(
                "the site has {MAX_OPERATORS} operators already; nothing was changed"
            )));
        }
        let (_, desired) = self.desired().await?;
        let now = self.core.clock.now();
        let issued = self
            .core
            .authority
            .operator(&desired.site, &name, &message.csr_der, now)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let record = OperatorRecord {
            name: name.clone(),
            access,
            created_unix_ms: self.core.clock.unix_ms(),
            certificates: vec![certificate_record(&issued)],
        };
        let text = format!("operator {name} was added as {}", access_name(access));
        let change = self.core.change(actor).create(&key, &record).event(
            EventKind::OperatorAdded,
            None,
            text,
        );
        self.core.ledger.commit(change).await?;
        Ok(v1::AddedOperator {
            bundle: Some(self.core.authority.bundle(&issued)),
            coordinators: desired.coordinators(),
        })
    }

    pub(super) async fn operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Result<v1::OperatorList, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let operators: Vec<Kept<OperatorRecord>> = self.core.ledger.list(keys::OPERATORS).await?;
        let operator = |kept: Kept<OperatorRecord>| {
            let newest = kept
                .value
                .certificates
                .iter()
                .map(|it| it.not_after_unix_ms)
                .max();
            v1::Operator {
                name: kept.value.name.to_string(),
                access: access_message(kept.value.access).into(),
                created_unix_ms: kept.value.created_unix_ms,
                certificate_expires_unix_ms: newest.unwrap_or(0),
            }
        };
        Ok(v1::OperatorList {
            operators: operators.into_iter().map(operator).collect(),
        })
    }

    pub(super) async fn dismiss_operator(
        &self,
        request: Request<v1::RemoveOperatorRequest>,
    ) -> Result<v1::RemovedOperator, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let name = name_of(&request.get_ref().name)?;
        let all: Vec<Kept<OperatorRecord>> = self.core.ledger.list(keys::OPERATORS).await?;
        let Some(leaving) = all.iter().find(|kept| kept.value.name == name) else {
            return Err(Status::not_found(format!(
                "there is no operator {name}; nothing was changed"
            )));
        };
        // The API looks at the record; metrics pages, on every node, look at the revocations.
        let (kept, desired) = self.desired().await?;
        let holder = Principal::Operator(name.clone());
        let revoked = revoke_all(&holder, &leaving.value.certificates);
        let yaml = desired.record.yaml.clone();
        let next = desired.next(yaml, revoked, self.core.clock.unix_ms());
        let change = self.core.change(caller.path()).remove(leaving);
        let mut change = change.replace(&kept, &next).event(
            EventKind::OperatorRemoved,
            None,
            format!("operator {name} was removed"),
        );
        let other_admin = all
            .iter()
            .find(|kept| kept.value.access == OperatorAccess::Admin && kept.value.name != name);
        match other_admin {
            // Two admins who remove each other at the same time must not both succeed.
            Some(other) => change = change.unchanged(other),
            None => {
                return Err(Status::failed_precondition(format!(
                    "{name} is the only admin; nothing was changed; add another admin first"
                )));
            }
        }
        self.core.ledger.commit(change).await?;
        self.known.note(&name, None);
        Ok(v1::RemovedOperator {})
    }

    pub(super) async fn renew(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<v1::CertificateBundle, Status> {
        let caller = self.caller(&request, OperatorAccess::Viewer).await?;
        let (_, desired) = self.desired().await?;
        let (now, now_unix_ms) = (self.core.clock.now(), self.core.clock.unix_ms());
        let issued = self
            .core
            .authority
            .operator(&desired.site, &caller.name, &request.get_ref().csr_der, now)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut record = caller.record.value.clone();
        record
            .certificates
            .retain(|it| it.not_after_unix_ms >= now_unix_ms);
        if record.certificates.len() >= MAX_CERTIFICATES {
            return Err(Status::resource_exhausted(format!(
                "{} has {MAX_CERTIFICATES} valid certificates already; nothing was issued",
                caller.name
            )));
        }
        record.certificates.push(certificate_record(&issued));
        let text = format!("operator {} renewed their certificate", caller.name);
        let change = self
            .core
            .change(caller.path())
            .replace(&caller.record, &record)
            .event(EventKind::OperatorRenewed, None, text);
        self.core.ledger.commit(change).await?;
        Ok(self.core.authority.bundle(&issued))
    }
}

fn name_of(text: &str) -> Result<OperatorName, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("{error}; nothing was changed")))
}

fn access_name(access: OperatorAccess) -> &'static str {
    match access {
        OperatorAccess::Viewer => "viewer",
        OperatorAccess::Admin => "admin",
    }
}

fn access_message(access: OperatorAccess) -> v1::Access {
    match access {
        OperatorAccess::Viewer => v1::Access::Viewer,
        OperatorAccess::Admin => v1::Access::Admin,
    }
}
