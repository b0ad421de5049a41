//! The operators' service.
//!
//! Guarantees: every call reads the caller's record from the store, so a removed operator is
//! refused at once (the status and the site's document are shown while the store is silent, too);
//! what only reads is open to viewers, everything else to admins; a change is answered only when
//! it is in the store, with its event.

mod auth;
mod claims;
mod coordinators;
mod events;
mod nodes;
mod people;
mod site;
mod status;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use hamesh_proto::v1;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

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
}

impl OperatorsService {
    /// Over the shared parts, knowing the operators that the site has now.
    pub fn new(core: Arc<Core>, operators: Vec<Kept<OperatorRecord>>) -> Self {
        Self {
            core,
            streams: Arc::new(Semaphore::new(STREAMS)),
            known: LastKnown::new(operators),
        }
    }

    async fn counted<T>(
        &self,
        method: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        self.core
            .counted(&format!("Operators/{method}"), call)
            .await
            .map(Response::new)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::operators_server::Operators for OperatorsService {
    type EventsStream = ReceiverStream<Result<v1::Event, Status>>;
    type RotateGossipKeyStream = ReceiverStream<Result<v1::RotationProgress, Status>>;

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::SiteStatus> {
        self.counted("Status", self.read_status(request)).await
    }

    async fn events(&self, request: Request<v1::EventsRequest>) -> Answer<Self::EventsStream> {
        self.counted("Events", self.stream_events(request)).await
    }

    async fn read_site(&self, request: Request<v1::ReadSiteRequest>) -> Answer<v1::SiteDocument> {
        self.counted("ReadSite", self.site_document(request)).await
    }

    async fn plan_site(&self, request: Request<v1::PlanSiteRequest>) -> Answer<v1::Plan> {
        self.counted("PlanSite", self.plan_of_site(request)).await
    }

    async fn plan_assign(&self, request: Request<v1::PlanAssignRequest>) -> Answer<v1::Plan> {
        self.counted("PlanAssign", self.plan_of_assignment(request))
            .await
    }

    async fn apply_site(&self, request: Request<v1::ApplySiteRequest>) -> Answer<v1::Applied> {
        self.counted("ApplySite", self.apply(request)).await
    }

    async fn assign(&self, request: Request<v1::AssignRequest>) -> Answer<v1::Applied> {
        self.counted("Assign", self.assign_role(request)).await
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreatedToken> {
        self.counted("CreateToken", self.new_token(request)).await
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Answer<v1::TokenList> {
        self.counted("ListTokens", self.tokens(request)).await
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokedToken> {
        self.counted("RevokeToken", self.withdraw_token(request))
            .await
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Answer<v1::RemovedNode> {
        self.counted("RemoveNode", self.shut_out(request)).await
    }

    async fn allow_re_enrol(
        &self,
        request: Request<v1::AllowReEnrolRequest>,
    ) -> Answer<v1::ReEnrolWindow> {
        self.counted("AllowReEnrol", self.open_window(request))
            .await
    }

    async fn add_operator(
        &self,
        request: Request<v1::AddOperatorRequest>,
    ) -> Answer<v1::AddedOperator> {
        self.counted("AddOperator", self.new_operator(request))
            .await
    }

    async fn list_operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Answer<v1::OperatorList> {
        self.counted("ListOperators", self.operators(request)).await
    }

    async fn remove_operator(
        &self,
        request: Request<v1::RemoveOperatorRequest>,
    ) -> Answer<v1::RemovedOperator> {
        self.counted("RemoveOperator", self.dismiss_operator(request))
            .await
    }

    async fn renew_operator(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Answer<v1::CertificateBundle> {
        self.counted("RenewOperator", self.renew(request)).await
    }

    async fn rotate_gossip_key(
        &self,
        request: Request<v1::RotateGossipKeyRequest>,
    ) -> Answer<Self::RotateGossipKeyStream> {
        self.counted("RotateGossipKey", self.rotate(request)).await
    }
}
