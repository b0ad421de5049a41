//! What operators ask of a recovery, and how it is told.

pub(super) mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tonic::{Request, Response, Status};

use super::Desk;
use crate::operators::auth::{named, shows};
use crate::records::OperatorAccess;

/// Answers `Recovery`, and who leads.
#[derive(Debug)]
pub struct RecoveryService(pub Arc<Desk>);

/// What everything else is answered with.
pub fn not_now() -> Status {
    Status::failed_precondition(
        "this coordinator recovers its site from what the nodes hold, and does nothing else \
         before that is finished; `coordctl recover status` shows how it stands",
    )
}

impl RecoveryService {
    /// The SPIFFE path of an operator of the backup, or of the one who recovers.
    fn caller<T>(&self, request: &Request<T>, needed: OperatorAccess) -> Result<String, Status> {
        let (name, peer) = named(request)?;
        let base = &self.0.base;
        let record = base.operators.get(&name).filter(|record| {
            let revoked = base.desired.record.revoked.contains_key(&peer.serial);
            let in_force = peer.not_after_unix_ms >= self.0.clock.unix_ms();
            peer.id.site == base.site && shows(record, &peer) && in_force && !revoked
        });
        match (record.map(|record| record.access), needed) {
            (None, _) => Err(Status::unauthenticated(format!(
                "this certificate of {name} is none that the backup or `coordctl recover` made \
                 known; use the context that `coordctl recover` wrote"
            ))),
            (Some(OperatorAccess::Viewer), OperatorAccess::Admin) => {
                Err(Status::permission_denied(format!(
                    "{name} is a viewer and may only look; nothing was changed; ask an admin"
                )))
            }
            (Some(OperatorAccess::Admin), OperatorAccess::Admin | OperatorAccess::Viewer)
            | (Some(OperatorAccess::Viewer), OperatorAccess::Viewer) => {
                Ok(format!("operator/{name}"))
            }
        }
    }
}

fn nodes(names: &[String]) -> Result<BTreeSet<NodeId>, Status> {
    let parsed = names.iter().map(|name| name.parse());
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| Status::invalid_argument(format!("{error}; nothing was changed")))
}

#[tonic::async_trait]
impl v1::recovery_server::Recovery for RecoveryService {
    async fn look(
        &self,
        request: Request<v1::LookRequest>,
    ) -> Result<Response<v1::RecoveryState>, Status> {
        self.caller(&request, OperatorAccess::Viewer)?;
        let without = nodes(&request.get_ref().without)?;
        Ok(Response::new(self.0.look(&without)))
    }

    async fn finish(
        &self,
        request: Request<v1::FinishRequest>,
    ) -> Result<Response<v1::RecoveryFinished>, Status> {
        let by = self.caller(&request, OperatorAccess::Admin)?;
        let request = request.into_inner();
        let without = nodes(&request.without)?;
        let finished = self.0.finish(&without, &request.digest, &by)?;
        Ok(Response::new(finished))
    }
}

/// Only who leads is told, for `coordctl` looks for that first.
#[tonic::async_trait]
impl v1::coordinators_server::Coordinators for RecoveryService {
    async fn leader(
        &self,
        request: Request<v1::LeaderRequest>,
    ) -> Result<Response<v1::LeaderAnswer>, Status> {
        self.caller(&request, OperatorAccess::Viewer)?;
        Ok(Response::new(v1::LeaderAnswer {
            node: self.0.base.own.to_string(),
            epoch: 0,
            coordinators: Vec::new(),
        }))
    }

    async fn list(
        &self,
        _: Request<v1::ListCoordinatorsRequest>,
    ) -> Result<Response<v1::CoordinatorList>, Status> {
        Err(not_now())
    }

    async fn add(
        &self,
        _: Request<v1::AddCoordinatorRequest>,
    ) -> Result<Response<v1::CoordinatorStatus>, Status> {
        Err(not_now())
    }

    async fn remove(
        &self,
        _: Request<v1::RemoveCoordinatorRequest>,
    ) -> Result<Response<v1::RemovedCoordinator>, Status> {
        Err(not_now())
    }

    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinAnswer>, Status> {
        Err(not_now())
    }
}
