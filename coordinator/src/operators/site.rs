//! Planning and applying the desired state.

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_roles::plan::{Verb, diff};
use hamesh_roles::{Role, Site};
use tonic::{Request, Status};

use super::OperatorsService;
use super::auth::Caller;
use super::nodes::Departure;
use super::roles::node_plans;
use crate::desired::{Desired, role_name};
use crate::ledger::{Change, EventKind, Kept};
use crate::records::{DesiredRecord, OperatorAccess, RolesRecord, keys};

/// The most bytes of a site document: a thousand nodes with comments.
const MAX_DOCUMENT: usize = 512 * 1024;

/// The desired state as the store has it, and what it would become.
struct Wanted {
    kept: Kept<DesiredRecord>,
    current: Desired,
    yaml: String,
    site: Site,
    /// What is wanted beside the document, as it is kept and as it would become.
    roles: (Option<Kept<RolesRecord>>, RolesRecord),
}

impl OperatorsService {
    pub(super) async fn site_document(
        &self,
        request: Request<v1::ReadSiteRequest>,
    ) -> Result<v1::SiteDocument, Status> {
        let desired = match self.onlooker(&request).await? {
            Ok(()) => self.desired().await?.1,
            Err(_) => self.core.world().desired.clone(),
        };
        Ok(v1::SiteDocument {
            id: Some(desired.id()),
            yaml: desired.record.yaml,
        })
    }

    pub(super) async fn plan_of_site(
        &self,
        request: Request<v1::PlanSiteRequest>,
    ) -> Result<v1::Plan, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let wanted = self.wanted(request.into_inner().yaml).await?;
        Ok(self.planned(&wanted).await)
    }

    pub(super) async fn plan_of_assignment(
        &self,
        request: Request<v1::PlanAssignRequest>,
    ) -> Result<v1::Plan, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let message = request.into_inner();
        let mut wanted = self.wanted_role(&message.node, &message.role).await?;
        if message.purge_data {
            wanted = wanted.without_data(&message.node);
        }
        Ok(self.planned(&wanted).await)
    }

    /// The plan of the site, and what it means on the nodes.
    async fn planned(&self, wanted: &Wanted) -> v1::Plan {
        v1::Plan {
            nodes: node_plans(&self.core, &wanted.site, &wanted.roles.1).await,
            ..wanted.plan()
        }
    }

    pub(super) async fn apply(
        &self,
        request: Request<v1::ApplySiteRequest>,
    ) -> Result<v1::Applied, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let message = request.into_inner();
        let wanted = self.wanted(message.yaml).await?;
        wanted.check_base(message.base)?;
        self.carry_out(&caller, wanted, (EventKind::SiteApplied, None))
            .await
    }

    pub(super) async fn assign_role(
        &self,
        request: Request<v1::AssignRequest>,
    ) -> Result<v1::Applied, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let message = request.into_inner();
        let mut wanted = self.wanted_role(&message.node, &message.role).await?;
        if message.purge_data {
            wanted = wanted.without_data(&message.node);
        }
        wanted.check_base(message.base)?;
        let node: Option<NodeId> = message.node.parse().ok();
        self.carry_out(&caller, wanted, (EventKind::NodeAssigned, node))
            .await
    }

    /// The desired state as the store has it now.
    pub(super) async fn desired(&self) -> Result<(Kept<DesiredRecord>, Desired), Status> {
        let kept: Option<Kept<DesiredRecord>> = self.core.ledger.read(keys::DESIRED).await?;
        let kept = kept.ok_or_else(|| Status::internal("the store holds no desired state"))?;
        let desired = Desired::parse_beside(kept.value.clone(), &self.core.world().desired)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok((kept, desired))
    }

    async fn wanted(&self, yaml: String) -> Result<Wanted, Status> {
        if yaml.len() > MAX_DOCUMENT {
            return Err(Status::invalid_argument(format!(
                "the site document is longer than {MAX_DOCUMENT} bytes; nothing was changed"
            )));
        }
        let site = Site::parse(&yaml).map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Status::invalid_argument(faults.join("\n"))
        })?;
        let (kept, current) = self.desired().await?;
        if site.name != current.site.name {
            return Err(Status::invalid_argument(format!(
                "this is the site {}, the document is of {}; a site's name never changes; nothing \
                 was changed",
                current.site.name, site.name
            )));
        }
        if !site.coordinators.contains(&self.core.node) {
            return Err(Status::failed_precondition(format!(
                "the document does not name this coordinator, {}, among `coordinators`; nothing \
                 was changed",
                self.core.node
            )));
        }
        let roles: Option<Kept<RolesRecord>> = self.core.ledger.read(keys::ROLES).await?;
        let mut record = roles
            .as_ref()
            .map(|it| it.value.clone())
            .unwrap_or_default();
        // Where nothing has had a role since, data that was to go still is.
        let stays = |node: &NodeId| is_none(&current.site, node) && is_none(&site, node);
        record.purge.retain(stays);
        Ok(Wanted {
            kept,
            current,
            yaml,
            site,
            roles: (roles, record),
        })
    }

    async fn wanted_role(&self, node: &str, role: &str) -> Result<Wanted, Status> {
        let invalid =
            |problem: String| Status::invalid_argument(format!("{problem}; nothing was changed"));
        let node: NodeId = node.parse().map_err(|error| invalid(format!("{error}")))?;
        let role: Option<Role> = match role {
            "" => None,
            role => Some(role.parse().map_err(|error| invalid(format!("{error}")))?),
        };
        let (_, current) = self.desired().await?;
        let yaml = hamesh_roles::with_role(&current.record.yaml, &node, role)
            .map_err(|error| invalid(error.to_string()))?;
        self.wanted(yaml).await
    }

    async fn carry_out(
        &self,
        caller: &Caller,
        wanted: Wanted,
        (kind, node): (EventKind, Option<NodeId>),
    ) -> Result<v1::Applied, Status> {
        if wanted.yaml == wanted.current.record.yaml {
            return self.clear_data(caller, &wanted).await;
        }
        let mut departure = Departure::default();
        for gone in wanted.current.site.nodes.keys() {
            if !wanted.site.nodes.contains_key(gone) {
                departure.of(&self.core, gone).await?;
            }
        }
        let now_unix_ms = self.core.clock.unix_ms();
        let revoked = departure.revoked();
        let next = wanted
            .current
            .next(wanted.yaml.clone(), revoked, now_unix_ms);
        let id = v1::AssignmentId {
            incarnation: next.incarnation,
            generation: next.generation,
        };
        let text = match &node {
            Some(node) => {
                let role = wanted.site.nodes.get(node).and_then(|node| node.role);
                let role = role_name(role);
                let role = if role.is_empty() {
                    "none".to_owned()
                } else {
                    role
                };
                format!("generation {}: role of {node} is {role}", next.generation)
            }
            None => format!("generation {}: {}", next.generation, wanted.summary()),
        };
        let change = self
            .core
            .change(caller.path())
            .replace(&wanted.kept, &next)
            .event(kind, node.as_ref(), text);
        let change = departure.add_to(&self.core, change).await?;
        let change = wanted.keep_roles(change);
        self.core.ledger.commit(change).await?;
        Ok(v1::Applied {
            id: Some(id),
            changed: true,
        })
    }
}

impl OperatorsService {
    /// The document stays as it is: what is left to change is whose data goes.
    async fn clear_data(&self, caller: &Caller, wanted: &Wanted) -> Result<v1::Applied, Status> {
        let id = Some(wanted.current.id());
        let cleared: Vec<&NodeId> = wanted.cleared().collect();
        if cleared.is_empty() {
            return Ok(v1::Applied { id, changed: false });
        }
        let mut change = wanted.keep_roles(self.core.change(caller.path()));
        for node in cleared {
            let text = format!("what its roles kept on {node} goes");
            change = change.event(EventKind::NodeAssigned, Some(node), text);
        }
        self.core.ledger.commit(change).await?;
        self.until_planned::<RolesRecord>(keys::ROLES).await?;
        Ok(v1::Applied { id, changed: true })
    }
}

fn is_none(site: &Site, node: &NodeId) -> bool {
    let known = site.nodes.get(node);
    known.is_some_and(|known| known.role.is_none())
}

impl Wanted {
    /// The data of what was on the node goes, too.
    fn without_data(mut self, node: &str) -> Self {
        let node = node.parse().ok();
        let node = node.filter(|node| is_none(&self.site, node));
        self.roles.1.purge.extend(node);
        self
    }

    /// The nodes whose data goes and was to stay before.
    fn cleared(&self) -> impl Iterator<Item = &NodeId> {
        let (kept, wanted) = &self.roles;
        let before = move |node: &&NodeId| {
            let before = kept.as_ref().map(|it| &it.value.purge);
            before.is_some_and(|purge| purge.contains(*node))
        };
        wanted.purge.iter().filter(move |node| !before(node))
    }

    fn keep_roles(&self, change: Change) -> Change {
        let (kept, wanted) = &self.roles;
        let before = kept.as_ref().map(|it| it.value.clone());
        match before.unwrap_or_default() == *wanted {
            true => change,
            false => change.put(keys::ROLES, kept.as_ref(), wanted),
        }
    }

    fn plan(&self) -> v1::Plan {
        let step = |step: hamesh_roles::plan::Step| v1::PlanStep {
            verb: step.verb.to_string(),
            subject: step.subject.to_string(),
            detail: step.detail,
        };
        let steps = diff(Some(&self.current.site), &self.site);
        let cleared = self.cleared().map(|node| v1::PlanStep {
            verb: Verb::Remove.to_string(),
            subject: format!("data on node {node}"),
            detail: "what its roles kept".to_owned(),
        });
        v1::Plan {
            base: Some(self.current.id()),
            steps: steps.into_iter().map(step).chain(cleared).collect(),
            nodes: Vec::new(),
        }
    }

    /// What was shown to the operator must be what is changed.
    fn check_base(&self, base: Option<v1::AssignmentId>) -> Result<(), Status> {
        let current = self.current.id();
        if base == Some(current) {
            return Ok(());
        }
        let base = base.map_or("none".to_owned(), |base| base.generation.to_string());
        Err(Status::failed_precondition(format!(
            "the plan was made on generation {base}, but the desired state is at generation {} \
             now; nothing was changed; plan again",
            current.generation
        )))
    }

    fn summary(&self) -> String {
        let steps = diff(Some(&self.current.site), &self.site);
        let count = |verb: Verb| steps.iter().filter(|step| step.verb == verb).count();
        match steps.len() {
            0 => "the document's text alone".to_owned(),
            _ => format!(
                "{} added, {} changed, {} removed",
                count(Verb::Add),
                count(Verb::Change),
                count(Verb::Remove)
            ),
        }
    }
}
