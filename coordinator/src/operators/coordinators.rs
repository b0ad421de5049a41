//! The service for coordinators: which there are, adding and removing them.

use hamesh_proto::ids::NodeId;
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls;
use hamesh_proto::v1;
use tonic::{Request, Status};

use super::{Answer, OperatorsService};
use crate::agents::admitted_node;
use crate::core::Core;
use crate::joining;
use crate::ledger::{CommitError, EventKind, Kept};
use crate::records::{CoordinatorPart, CoordinatorRecord, OperatorAccess, keys};
use crate::world::World;

/// Every coordinator of the site, as this world has them.
pub(super) fn statuses(core: &Core, world: &World) -> Vec<v1::CoordinatorStatus> {
    let status = |(node, record): (&NodeId, &CoordinatorRecord)| status(core, world, node, record);
    world.coordinators.iter().map(status).collect()
}

fn status(
    core: &Core,
    world: &World,
    node: &NodeId,
    record: &CoordinatorRecord,
) -> v1::CoordinatorStatus {
    let part = match record.part {
        CoordinatorPart::Added => v1::CoordinatorPart::Added,
        CoordinatorPart::Joining => v1::CoordinatorPart::Joining,
        CoordinatorPart::Member => v1::CoordinatorPart::Member,
    };
    let at = world.desired.leader_at(node);
    v1::CoordinatorStatus {
        node: node.to_string(),
        api: at.map(|at| at.api.to_string()).unwrap_or_default(),
        part: part.into(),
        leads: *node == core.node && core.leadership.leads(),
        added_unix_ms: record.added_unix_ms,
        added_by: record.added_by.clone(),
    }
}

impl OperatorsService {
    async fn say_that_it_leads(
        &self,
        request: Request<v1::LeaderRequest>,
    ) -> Result<v1::LeaderAnswer, Status> {
        let peer = tls::peer(&request);
        // Agents look out for a new leader; those that stand by tell them as well.
        if !peer.is_some_and(|peer| matches!(peer.id.principal, Principal::Agent(_))) {
            // Asked before every command: it does not wait for the store.
            self.acquaintance(&request).await?;
        }
        if !self.core.leadership.leads() {
            return Err(Elsewhere::Nowhere.status(&self.core.node));
        }
        Ok(v1::LeaderAnswer {
            node: self.core.node.to_string(),
            epoch: self.core.epoch(),
            coordinators: self.core.world().desired.coordinators(),
        })
    }

    async fn list_coordinators(
        &self,
        request: Request<v1::ListCoordinatorsRequest>,
    ) -> Result<v1::CoordinatorList, Status> {
        let _ = self.onlooker(&request).await?;
        let coordinators = statuses(&self.core, &self.core.world());
        Ok(v1::CoordinatorList { coordinators })
    }

    async fn add_coordinator(
        &self,
        request: Request<v1::AddCoordinatorRequest>,
    ) -> Result<v1::CoordinatorStatus, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let core = &self.core;
        let node = self.node_of_site(&request.get_ref().node)?;
        let world = core.world();
        if !world.desired.site.coordinators.contains(&node) {
            return Err(Status::failed_precondition(format!(
                "{node} is not among the `coordinators` of the site document; nothing was changed; \
                 add it there, run `coordctl apply`, and then this again"
            )));
        }
        if !world.nodes.contains_key(&node) {
            return Err(Status::failed_precondition(format!(
                "{node} is not enrolled; nothing was changed; enrol it first: `coordctl token \
                 create {node}`"
            )));
        }
        if world.coordinators.contains_key(&node) {
            return Err(Status::already_exists(format!(
                "{node} is a coordinator already, or is becoming one; nothing was changed; if its \
                 machine was lost, run `coordctl coordinator remove {node}` and then this again"
            )));
        }
        let record = CoordinatorRecord {
            part: CoordinatorPart::Added,
            added_unix_ms: core.clock.unix_ms(),
            added_by: caller.path(),
        };
        // Before the store says so: whoever is alone leads on by its own word.
        core.leadership.has_company();
        let change = core
            .change(caller.path())
            .create(&keys::coordinator(&node), &record)
            .event(
                EventKind::CoordinatorAdded,
                Some(&node),
                format!("{node} is to be a coordinator"),
            );
        core.ledger.commit(change).await?;
        Ok(status(core, &world, &node, &record))
    }

    async fn remove_coordinator(
        &self,
        request: Request<v1::RemoveCoordinatorRequest>,
    ) -> Result<v1::RemovedCoordinator, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let core = &self.core;
        let node = super::nodes::node_of(&request.get_ref().node)?;
        if node == core.node {
            return Err(Status::failed_precondition(format!(
                "{node} leads; nothing was changed; run `systemctl restart hamesh-coordinator` on \
                 it, so that another one leads, and then this again"
            )));
        }
        let key = keys::coordinator(&node);
        let kept: Option<Kept<CoordinatorRecord>> = core.ledger.read(&key).await?;
        let Some(kept) = kept else {
            return Ok(v1::RemovedCoordinator { changed: false });
        };
        if let (Some(members), Ok(url)) = (&core.members, joining::peer_url(core, &node)) {
            let present = members.members().await?;
            let member = present.iter().find(|member| member.peer_url == url);
            if let Some(member) = member {
                members.remove(member.id).await?;
            }
        }
        let change = core.change(caller.path()).remove(&kept).event(
            EventKind::CoordinatorRemoved,
            Some(&node),
            format!("{node} is no coordinator any more"),
        );
        core.ledger
            .commit(change)
            .await
            .map_err(|error| match error {
                CommitError::Conflict => Status::aborted(
                    "the coordinator's record changed meanwhile; its store was removed; try again",
                ),
                CommitError::Store(_) | CommitError::Decode(_) => error.into(),
            })?;
        Ok(v1::RemovedCoordinator { changed: true })
    }

    async fn let_join(&self, request: Request<v1::JoinRequest>) -> Result<v1::JoinAnswer, Status> {
        let node = admitted_node(&self.core, &request).await?;
        joining::join(&self.core, &node).await
    }
}

#[tonic::async_trait]
impl v1::coordinators_server::Coordinators for OperatorsService {
    async fn leader(&self, request: Request<v1::LeaderRequest>) -> Answer<v1::LeaderAnswer> {
        self.serve("Coordinators/Leader", request, |it| {
            self.say_that_it_leads(it)
        })
        .await
    }

    async fn list(
        &self,
        request: Request<v1::ListCoordinatorsRequest>,
    ) -> Answer<v1::CoordinatorList> {
        self.serve("Coordinators/List", request, |it| {
            self.list_coordinators(it)
        })
        .await
    }

    async fn add(
        &self,
        request: Request<v1::AddCoordinatorRequest>,
    ) -> Answer<v1::CoordinatorStatus> {
        self.serve("Coordinators/Add", request, |it| self.add_coordinator(it))
            .await
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveCoordinatorRequest>,
    ) -> Answer<v1::RemovedCoordinator> {
        self.serve("Coordinators/Remove", request, |it| {
            self.remove_coordinator(it)
        })
        .await
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Answer<v1::JoinAnswer> {
        self.serve("Coordinators/Join", request, |it| self.let_join(it))
            .await
    }
}
