//! How roles are, trying again, and what the site would mean on its nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_roles::Site;
use hamesh_roles::adoption::stage::outside;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::OperatorsService;
use super::nodes::node_of;
use crate::core::Core;
use crate::ledger::{EventKind, Kept};
use crate::records::{OperatorAccess, Record, RolesRecord, keys};
use crate::roles::questions::{PATIENCE, Question, problem};
use crate::roles::{States, orders};

/// Progress that may wait for a slow reader.
const QUEUE: usize = 16;

/// How long a plan of the nodes may take to follow a change.
const PLANNED: Duration = Duration::from_secs(10);

type Progress = mpsc::Sender<Result<v1::RolesProgress, Status>>;

impl OperatorsService {
    pub(super) async fn follow(
        &self,
        request: Request<v1::FollowRolesRequest>,
    ) -> Result<ReceiverStream<Result<v1::RolesProgress, Status>>, Status> {
        let caller = self.caller(&request, OperatorAccess::Viewer).await?;
        let permit = self.stream_permit()?;
        let id = request.into_inner().id.unwrap_or_default();
        let (sender, stream) = mpsc::channel(QUEUE);
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = tell(&core, id, &sender) => ended,
                refusal = core.shut_out(&caller.peer) => Some(refusal),
                () = core.leadership.lapsed() => Some(core.elsewhere().status(&core.node)),
                () = core.stopped() => Some(Status::unavailable("this coordinator stops")),
                () = sender.closed() => None,
            };
            if let Some(status) = ended {
                // An error: nobody listens any more.
                let _ = sender.send(Err(status)).await;
            }
            drop(permit);
        });
        Ok(ReceiverStream::new(stream))
    }

    pub(super) async fn retry(
        &self,
        request: Request<v1::RetryRoleRequest>,
    ) -> Result<v1::RetriedRole, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let named = request.into_inner().nodes;
        let states = Arc::clone(&self.core.roles.states().borrow());
        let failed = |node: &NodeId| {
            let state = states.states.get(node);
            state.is_some_and(|state| state.place() == v1::RolePlace::Failed)
        };
        let mut nodes = Vec::new();
        for name in &named {
            let node = node_of(name)?;
            if !failed(&node) {
                return Err(Status::failed_precondition(format!(
                    "nothing failed on {node}; nothing was changed; `coordctl role status` shows \
                     how the nodes are"
                )));
            }
            nodes.push(node);
        }
        if named.is_empty() {
            nodes.extend(states.states.keys().filter(|node| failed(node)).cloned());
        }
        if !nodes.is_empty() {
            let kept: Option<Kept<RolesRecord>> = self.core.ledger.read(keys::ROLES).await?;
            let mut record = kept.as_ref().map(|it| it.value.clone()).unwrap_or_default();
            let mut change = self.core.change(caller.path());
            for node in &nodes {
                *record.attempts.entry(node.clone()).or_default() += 1;
                let text = format!("{node} tries its role again");
                change = change.event(EventKind::RoleRetried, Some(node), text);
            }
            let change = change.put(keys::ROLES, kept.as_ref(), &record);
            self.core.ledger.commit(change).await?;
            self.until_planned::<RolesRecord>(keys::ROLES).await?;
        }
        let nodes = nodes.iter().map(ToString::to_string).collect();
        Ok(v1::RetriedRole { nodes })
    }
}

impl OperatorsService {
    /// Waits until what nodes are to have follows from this record as it is now, so that who looks
    /// at the nodes next does not see them as they were before.
    pub(super) async fn until_planned<T: Record>(&self, key: &str) -> Result<(), Status> {
        let kept: Option<Kept<T>> = self.core.ledger.read(key).await?;
        let Some(written) = kept.map(|kept| kept.revision) else {
            return Ok(());
        };
        let mut states = self.core.roles.states();
        let planned = states.wait_for(|told| told.revision.is_some_and(|it| it >= written));
        // What was asked for is done; only the look at it may be early.
        let _ = tokio::time::timeout(PLANNED, planned).await;
        Ok(())
    }
}

/// What a document would mean on the nodes: each that is to have something else than it says that
/// it has is asked what it would have to do.
pub(super) async fn node_plans(core: &Core, site: &Site, roles: &RolesRecord) -> Vec<v1::NodePlan> {
    let world = core.world();
    let secrets = orders::secrets(&world, &core.seal);
    let wanted = orders::of_site(site, world.desired.id(), &secrets, roles);
    let reports = Arc::clone(&core.roles.reports().borrow());
    let (mut plans, mut asked) = (BTreeMap::new(), BTreeMap::new());
    for (node, order) in wanted {
        let (report, configured) = (reports.get(&node), order.configured);
        match order.order {
            Err(missing) => {
                plans.insert(node, problem(&missing));
            }
            Ok(order) => match report {
                Some(report) if has(report, &order) => {}
                Some(_) => {
                    let question = Question {
                        order: (*order).clone(),
                        outside: addresses_outside(site, &node),
                    };
                    asked.insert(node, question);
                }
                // Where hamesh made nothing there is nothing to tell.
                None if !configured => {}
                None => {
                    plans.insert(node, problem("its agent has no session, or is too old"));
                }
            },
        }
    }
    plans.extend(core.roles.questions.ask(asked, PATIENCE).await);
    let plan = |(node, plan): (NodeId, v1::RolePlan)| v1::NodePlan {
        node: node.to_string(),
        plan: Some(plan),
    };
    plans.into_iter().map(plan).collect()
}

/// The addresses of a node's role that what served before still holds.
fn addresses_outside(site: &Site, node: &NodeId) -> Vec<String> {
    let role = site.nodes.get(node).and_then(|node| node.role);
    let vips = role.into_iter().flat_map(|role| outside(site, role));
    let vips = vips.filter(|(_, vip)| vip.held_by.is_others());
    let addresses = vips.flat_map(|(_, vip)| &vip.addresses);
    addresses.map(ToString::to_string).collect()
}

fn has(report: &v1::RoleReport, order: &v1::RoleOrder) -> bool {
    report.digest == order.digest && report.phase() == v1::RolePhase::Done && !order.observe
}

/// Tells until nothing is left to do; `None`: that was told, or nobody listens.
async fn tell(core: &Core, id: v1::AssignmentId, sender: &Progress) -> Option<Status> {
    let mut states = core.roles.states();
    let mut told = States::new();
    loop {
        let now = Arc::clone(&states.borrow_and_update());
        let (known, nodes) = (now.id, &now.states);
        let planned = now.revision.is_some();
        if planned && (known.incarnation, known.generation) >= (id.incarnation, id.generation) {
            let news = nodes
                .iter()
                .filter(|(id, state)| told.get(*id) != Some(state));
            let news: Vec<_> = news.map(|(_, state)| state.clone()).collect();
            let done = nodes.values().all(|state| state.settled);
            if !news.is_empty() || done {
                let progress = v1::RolesProgress { nodes: news, done };
                sender.send(Ok(progress)).await.ok()?;
                told.clone_from(nodes);
            }
            if done {
                return None;
            }
        }
        states.changed().await.ok()?;
    }
}
