//! Planning and beginning an upgrade of hamesh itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_proto::version::PackageVersion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::OperatorsService;
use super::nodes::node_of;
use crate::records::OperatorAccess;
use crate::upgrade::observe::{observe, written};
use crate::upgrade::plan::{Desired, Step, Written, plan};
use crate::upgrade::rollout::Rollout;

/// Progress that may wait for a slow reader.
const QUEUE: usize = 16;

impl OperatorsService {
    pub(super) async fn plan_of_upgrade(
        &self,
        request: Request<v1::PlanUpgradeRequest>,
    ) -> Result<v1::UpgradePlan, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let desired = desired(request.into_inner().wish)?;
        let written = written(&self.core).await?;
        let steps = self.steps(&desired, &written).await?;
        let steps = steps.into_iter().map(message).collect();
        Ok(v1::UpgradePlan { steps })
    }

    pub(super) async fn begin_upgrade(
        &self,
        request: Request<v1::UpgradeRequest>,
    ) -> Result<ReceiverStream<Result<v1::UpgradeProgress, Status>>, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let v1::UpgradeRequest { wish, resumed } = request.into_inner();
        let desired = desired(wish)?;
        let permit = self.stream_permit()?;
        let turn = self.core.upgrades.begin().ok_or_else(|| {
            Status::already_exists(
                "an upgrade of the site goes on; nothing was changed; `coordctl events --follow` \
                 shows how far it is",
            )
        })?;
        // Who goes on finds the nodes as a change of the leader leaves them: that takes a while,
        // and is waited for while the caller listens.
        let written = written(&self.core).await?;
        if !resumed {
            self.steps(&desired, &written).await?;
        }
        let (sender, stream) = mpsc::channel(QUEUE);
        let rollout = Rollout {
            core: Arc::clone(&self.core),
            written,
            desired,
            actor: caller.path(),
            peer: caller.peer,
            sender,
            resumed,
        };
        tokio::spawn(async move {
            rollout.run().await;
            drop((permit, turn));
        });
        Ok(ReceiverStream::new(stream))
    }

    async fn steps(&self, desired: &Desired, written: &Written) -> Result<Vec<Step>, Status> {
        plan(&observe(&self.core).await, desired, written).map_err(|refused| {
            Status::failed_precondition(format!("{refused}; nothing was changed"))
        })
    }
}

fn desired(wish: Option<v1::UpgradeWish>) -> Result<Desired, Status> {
    let v1::UpgradeWish {
        version,
        nodes,
        skip,
    } = wish.unwrap_or_default();
    let target: PackageVersion = version
        .parse()
        .map_err(|error| Status::invalid_argument(format!("{error}; nothing was changed")))?;
    let names = |names: Vec<String>| -> Result<BTreeSet<NodeId>, Status> {
        names.iter().map(|name| node_of(name)).collect()
    };
    Ok(Desired {
        target,
        only: names(nodes)?,
        skip: names(skip)?,
    })
}

fn message(step: Step) -> v1::UpgradeStep {
    let packages = step
        .packages
        .into_iter()
        .map(|(name, version)| v1::Package {
            name,
            version: version.to_string(),
        });
    v1::UpgradeStep {
        node: step.node.to_string(),
        part: step.part.name().to_owned(),
        packages: packages.collect(),
        holds: step.holds.iter().map(ToString::to_string).collect(),
        stands_by: step.stands_by.iter().map(ToString::to_string).collect(),
    }
}
