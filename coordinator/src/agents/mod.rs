//! The agents' service: one long-lived session each, and renewal.
//!
//! Guarantees: an agent speaks for its own node alone and is told its own assignment alone; one
//! that was removed or revoked is refused at once, and its open session ends; what is pushed is
//! always the newest, and nothing queues for a slow agent but a handful of messages.
//!
//! The idea: level-triggered. A session sends what differs from what it last sent, whenever the
//! world changes.

mod admission;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::authority::certificate_record;
use crate::core::Core;
use crate::ledger::CommitError;
use crate::records::{CertificateRecord, NodeRecord};
use crate::roles::orders;

/// The protocol's version that this coordinator speaks.
pub const PROTOCOL: u32 = 4;
/// The oldest one that it takes from agents: that of the release before, for coordinators are
/// upgraded first.
const OLDEST_PROTOCOL: u32 = 1;
/// The first one whose agents take assignments in parts.
const PARTS_PROTOCOL: u32 = 2;
/// The first one whose agents apply roles.
const ROLES_PROTOCOL: u32 = 3;
/// The first one whose agents are asked of databases.
const DATABASES_PROTOCOL: u32 = 4;

/// Refuses an agent that speaks an older protocol than any that is taken.
pub(crate) fn understands(protocol: u32) -> Result<(), Status> {
    if protocol >= OLDEST_PROTOCOL {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "this coordinator speaks protocols {OLDEST_PROTOCOL} to {PROTOCOL}, the agent {protocol}; \
         upgrade the agent"
    )))
}

/// Valid certificates that a node may have at once. Renewal at two thirds of their life leaves
/// two; more mean an agent that renews in a loop.
const MAX_CERTIFICATES: usize = 16;

/// The node whose agent calls, if it may speak.
pub(crate) async fn admitted_node<T>(core: &Core, request: &Request<T>) -> Result<NodeId, Status> {
    let (admitted, _) = admission::admit(core, request).await?;
    Ok(admitted.node)
}

/// See the module.
#[derive(Debug)]
pub struct AgentsService {
    core: Arc<Core>,
}

impl AgentsService {
    /// Over the shared parts.
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn renew(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<v1::CertificateBundle, Status> {
        let (admitted, desired) = admission::admit(&self.core, &request).await?;
        let csr_der = &request.get_ref().csr_der;
        let now = self.core.clock.now();
        let issued = self
            .core
            .authority
            .agent(&desired.site, &admitted.node, csr_der, now)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let now_unix_ms = self.core.clock.unix_ms();
        let mut record = admitted.record.value.clone();
        record
            .certificates
            .retain(|it| it.not_after_unix_ms >= now_unix_ms);
        if record.certificates.len() >= MAX_CERTIFICATES {
            return Err(Status::resource_exhausted(format!(
                "{} has {MAX_CERTIFICATES} valid certificates already; nothing was issued; wait \
                 until some expire",
                admitted.node
            )));
        }
        remember(&mut record, certificate_record(&issued), now_unix_ms);
        let change = self
            .core
            .change(format!("agent/{}", admitted.node))
            .replace(&admitted.record, &record);
        self.core
            .ledger
            .commit(change)
            .await
            .map_err(|error| match error {
                CommitError::Conflict => Status::aborted(
                    "the node's record changed meanwhile; nothing was issued; try again",
                ),
                CommitError::Store(_) | CommitError::Decode(_) => error.into(),
            })?;
        Ok(self.core.authority.bundle(&issued))
    }

    /// A certificate for a service of the caller's node, for the names that its role has.
    async fn issue(
        &self,
        request: Request<v1::IssueCertificateRequest>,
    ) -> Result<v1::CertificateBundle, Status> {
        let (admitted, desired) = admission::admit(&self.core, &request).await?;
        let v1::IssueCertificateRequest { name, csr_der } = request.into_inner();
        let secrets = orders::secrets(&self.core.world(), &self.core.seal);
        let node = &admitted.node;
        let wanted =
            orders::certificate(&desired.site, node, &secrets, &name).ok_or_else(|| {
                Status::permission_denied(format!(
                    "the role of {node} has no certificate {name:?}; nothing was issued"
                ))
            })?;
        let (issuer, now) = (&self.core.authority, self.core.clock.now());
        let issued = issuer.service(node, &wanted, &csr_der, now);
        let issued = issued.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(issuer.bundle(&issued))
    }
}

/// Adds a certificate to a node's record. Expired ones are kept for re-enrolment as long as there
/// is room, oldest forgotten first.
pub fn remember(record: &mut NodeRecord, certificate: CertificateRecord, now_unix_ms: u64) {
    record.certificates.push(certificate);
    while record.certificates.len() > MAX_CERTIFICATES {
        let expired = record
            .certificates
            .iter()
            .position(|it| it.not_after_unix_ms < now_unix_ms);
        // Only an admission of a certificate from before a restore can find none expired.
        record.certificates.remove(expired.unwrap_or(0));
    }
}

#[tonic::async_trait]
impl v1::agents_server::Agents for AgentsService {
    type SessionStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let opening = async {
            let (admitted, _) = admission::admit(&self.core, &request).await?;
            Ok(session::serve(
                Arc::clone(&self.core),
                admitted,
                request.into_inner(),
            ))
        };
        self.core
            .counted("Agents/Session", opening)
            .await
            .map(Response::new)
    }

    async fn issue_certificate(
        &self,
        request: Request<v1::IssueCertificateRequest>,
    ) -> Result<Response<v1::CertificateBundle>, Status> {
        let issued = self.issue(request);
        self.core
            .counted("Agents/IssueCertificate", issued)
            .await
            .map(Response::new)
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::CertificateBundle>, Status> {
        let renewed = self.renew(request);
        self.core
            .counted("Agents/RenewCertificate", renewed)
            .await
            .map(Response::new)
    }
}
