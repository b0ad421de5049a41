//! The operators' service.
//!
//! Guarantees: every call reads the caller's record from the store, so a removed operator is
//! refused at once (the status and the site's document are shown while the store is silent, too);
//! what only reads is open to viewers, everything else to admins; a change is answered only when
//! it is in the store, with its event; a call that is to change something is in the audit trail
//! before it is looked at.

mod asked;
mod audit;
#[cfg(test)]
mod audit_tests;
pub(crate) mod auth;
mod backups;
mod claims;
mod coordinators;
#[cfg(test)]
mod database_tests;
mod databases;
mod events;
mod nodes;
mod people;
#[cfg(test)]
mod role_tests;
mod roles;
mod secrets;
mod site;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod upgrades;

use std::sync::Arc;

use hamesh_proto::v1;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use self::audit::Refusals;
use self::auth::LastKnown;
use crate::core::Core;
use crate::ledger::Kept;
use crate::records::OperatorRecord;

/// Event followers and rotations watched at one time; each costs a watch of the store.
const STREAMS: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct OperatorsService {
    core: Arc<Core>,
    streams: Arc<Semaphore>,
    known: LastKnown,
    refusals: Refusals,
}

impl OperatorsService {
    /// Over the shared parts, knowing the operators that the site has now.
    pub fn new(core: Arc<Core>, operators: Vec<Kept<OperatorRecord>>) -> Self {
        Self {
            core,
            streams: Arc::new(Semaphore::new(STREAMS)),
            known: LastKnown::new(operators),
            refusals: Refusals::default(),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::operators_server::Operators for OperatorsService {
    type BackupStream = ReceiverStream<Result<v1::BackupPiece, Status>>;
    type EventsStream = ReceiverStream<Result<v1::Event, Status>>;
    type RotateGossipKeyStream = ReceiverStream<Result<v1::RotationProgress, Status>>;
    type FollowRolesStream = ReceiverStream<Result<v1::RolesProgress, Status>>;
    type UpgradeStream = ReceiverStream<Result<v1::UpgradeProgress, Status>>;

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::SiteStatus> {
        self.serve("Operators/Status", request, |it| self.read_status(it))
            .await
    }

    async fn events(&self, request: Request<v1::EventsRequest>) -> Answer<Self::EventsStream> {
        self.serve("Operators/Events", request, |it| self.stream_events(it))
            .await
    }

    async fn read_site(&self, request: Request<v1::ReadSiteRequest>) -> Answer<v1::SiteDocument> {
        self.serve("Operators/ReadSite", request, |it| self.site_document(it))
            .await
    }

    async fn plan_site(&self, request: Request<v1::PlanSiteRequest>) -> Answer<v1::Plan> {
        self.serve("Operators/PlanSite", request, |it| self.plan_of_site(it))
            .await
    }

    async fn plan_assign(&self, request: Request<v1::PlanAssignRequest>) -> Answer<v1::Plan> {
        self.serve("Operators/PlanAssign", request, |it| {
            self.plan_of_assignment(it)
        })
        .await
    }

    async fn apply_site(&self, request: Request<v1::ApplySiteRequest>) -> Answer<v1::Applied> {
        self.serve("Operators/ApplySite", request, |it| self.apply(it))
            .await
    }

    async fn assign(&self, request: Request<v1::AssignRequest>) -> Answer<v1::Applied> {
        self.serve("Operators/Assign", request, |it| self.assign_role(it))
            .await
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreatedToken> {
        self.serve("Operators/CreateToken", request, |it| self.new_token(it))
            .await
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Answer<v1::TokenList> {
        self.serve("Operators/ListTokens", request, |it| self.tokens(it))
            .await
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokedToken> {
        self.serve("Operators/RevokeToken", request, |it| {
            self.withdraw_token(it)
        })
        .await
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Answer<v1::RemovedNode> {
        self.serve("Operators/RemoveNode", request, |it| self.shut_out(it))
            .await
    }

    async fn allow_re_enrol(
        &self,
        request: Request<v1::AllowReEnrolRequest>,
    ) -> Answer<v1::ReEnrolWindow> {
        self.serve("Operators/AllowReEnrol", request, |it| self.open_window(it))
            .await
    }

    async fn add_operator(
        &self,
        request: Request<v1::AddOperatorRequest>,
    ) -> Answer<v1::AddedOperator> {
        self.serve("Operators/AddOperator", request, |it| self.new_operator(it))
            .await
    }

    async fn list_operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Answer<v1::OperatorList> {
        self.serve("Operators/ListOperators", request, |it| self.operators(it))
            .await
    }

    async fn remove_operator(
        &self,
        request: Request<v1::RemoveOperatorRequest>,
    ) -> Answer<v1::RemovedOperator> {
        self.serve("Operators/RemoveOperator", request, |it| {
            self.dismiss_operator(it)
        })
        .await
    }

    async fn renew_operator(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Answer<v1::CertificateBundle> {
        self.serve("Operators/RenewOperator", request, |it| self.renew(it))
            .await
    }

    async fn rotate_gossip_key(
        &self,
        request: Request<v1::RotateGossipKeyRequest>,
    ) -> Answer<Self::RotateGossipKeyStream> {
        self.serve("Operators/RotateGossipKey", request, |it| self.rotate(it))
            .await
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Answer<v1::AuditTrail> {
        self.serve("Operators/Audit", request, |it| self.audit_trail(it))
            .await
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Answer<Self::BackupStream> {
        self.serve("Operators/Backup", request, |it| self.send_backup(it))
            .await
    }

    async fn set_backup_key(
        &self,
        request: Request<v1::SetBackupKeyRequest>,
    ) -> Answer<v1::BackupKeyIsSet> {
        self.serve("Operators/SetBackupKey", request, |it| {
            self.keep_backup_key(it)
        })
        .await
    }

    async fn plan_upgrade(
        &self,
        request: Request<v1::PlanUpgradeRequest>,
    ) -> Answer<v1::UpgradePlan> {
        self.serve("Operators/PlanUpgrade", request, |it| {
            self.plan_of_upgrade(it)
        })
        .await
    }

    async fn follow_roles(
        &self,
        request: Request<v1::FollowRolesRequest>,
    ) -> Answer<Self::FollowRolesStream> {
        self.serve("Operators/FollowRoles", request, |it| self.follow(it))
            .await
    }

    async fn retry_role(&self, request: Request<v1::RetryRoleRequest>) -> Answer<v1::RetriedRole> {
        self.serve("Operators/RetryRole", request, |it| self.retry(it))
            .await
    }

    async fn list_secrets(
        &self,
        request: Request<v1::ListSecretsRequest>,
    ) -> Answer<v1::SecretList> {
        self.serve("Operators/ListSecrets", request, |it| self.secrets(it))
            .await
    }

    async fn set_secret(&self, request: Request<v1::SetSecretRequest>) -> Answer<v1::SecretIsSet> {
        self.serve("Operators/SetSecret", request, |it| {
            self.set_secret_value(it)
        })
        .await
    }

    async fn rotate_secret(
        &self,
        request: Request<v1::RotateSecretRequest>,
    ) -> Answer<v1::SecretIsSet> {
        self.serve("Operators/RotateSecret", request, |it| {
            self.rotate_secret_value(it)
        })
        .await
    }

    async fn upgrade(&self, request: Request<v1::UpgradeRequest>) -> Answer<Self::UpgradeStream> {
        self.serve("Operators/Upgrade", request, |it| self.begin_upgrade(it))
            .await
    }
}
