//! `adopt`: takes a node of a running site over from what served before hamesh.
//!
//! Guarantees: the document goes on to the next stage only when every node that the one before is
//! about has been seen to have it; nothing of it is kept here, so that a run that was interrupted
//! is taken up by the next.

use std::collections::BTreeSet;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_roles::adoption::Stage;
use hamesh_roles::adoption::stage::{members, outside};
use hamesh_roles::{Mode, Role, Site};
use tokio::time::{Instant, sleep};

use super::site::{check_node, stored};
use super::{Session, prompt, refused, roles, status};
use crate::ctl::cli::Adopt;
use crate::ctl::failure::Failure;
use crate::ctl::link::{Client, request};
use crate::ctl::screens;
use crate::ctl::views::{AdoptionView, NodePlanView, NodeView, RolePlace, StatusView};
use crate::desired::vip_claim;

/// How long a claim that was just made may take to be held: many times a lease.
const HELD: Duration = Duration::from_secs(60);
/// How long a node may take to say that it has what it was seen to have.
const HEARD: Duration = Duration::from_secs(10);
/// Between two looks at the site.
const LOOK: Duration = Duration::from_millis(100);
const RESUME: &str = "what serves goes on; mend that, and run the same command again: it goes on \
                      from there";

/// Which node is taken over, as what.
struct Adoption<'a> {
    session: &'a Session,
    node: NodeId,
    role: Role,
}

/// `adopt`
pub async fn run(session: &Session, options: &Adopt) -> Result<(), Failure> {
    let mut client = session.link().await?.client;
    let document = stored(&mut client).await?;
    check_node(&options.node, &document)?;
    let unreadable = |error: String| Failure::invalid(error, "`coordctl nodes` lists the nodes");
    let node = options.node.parse::<NodeId>();
    let role = options.role.parse::<Role>();
    let adoption = Adoption {
        session,
        node: node.map_err(|error| unreadable(error.to_string()))?,
        role: role.map_err(|error| unreadable(error.to_string()))?,
    };
    let site = parsed(&document.document)?;
    let stage = Stage::of(&site, &adoption.node, adoption.role);
    let view = adoption
        .plan(&mut client, &document.document, &stage)
        .await?;
    session
        .output
        .show(&view, |look| screens::adoption(&view, look))?;
    if options.consent.dry_run {
        let told = "This was a dry run: nothing was changed.";
        return session.output.tell(told);
    }
    let idle = matches!(stage, Stage::Await(_) | Stage::Over);
    if !idle && !options.consent.yes {
        prompt::confirmed(&format!("Take {} over?", adoption.node))?;
    }
    adoption.carry_out().await
}

impl Adoption<'_> {
    /// What the next stage means on the node.
    async fn plan(
        &self,
        client: &mut Client,
        yaml: &str,
        stage: &Stage,
    ) -> Result<AdoptionView, Failure> {
        let yaml = self.changed(yaml, stage, &self.node)?;
        let asked = v1::PlanSiteRequest { yaml };
        let plan = client.plan_site(request(asked)).await.map_err(refused)?;
        let own = plan.into_inner().nodes.into_iter();
        let mut own = own.map(NodePlanView::from);
        let own = own.find(|plan| plan.node == self.node.as_str());
        Ok(AdoptionView {
            node: self.node.to_string(),
            role: self.role.to_string(),
            next: screens::stage(stage),
            plan: own,
        })
    }

    /// Goes from stage to stage until nothing is left that can be done for this node.
    async fn carry_out(&self) -> Result<(), Failure> {
        loop {
            let mut client = self.session.link().await?.client;
            let document = stored(&mut client).await?;
            let site = parsed(&document.document)?;
            let stage = Stage::of(&site, &self.node, self.role);
            self.session.output.tell(screens::stage(&stage))?;
            let on = match &stage {
                Stage::Await(_) | Stage::Over => return Ok(()),
                Stage::Take => self.stands_by(&mut client, &site).await?,
                Stage::Narrow => {
                    let status = self.settled(&mut client, &site).await?;
                    self.holder(&status, &site)?
                }
                Stage::Join(only) => {
                    self.settled(&mut client, &site).await?;
                    only.clone()
                }
                Stage::Share => {
                    self.settled(&mut client, &site).await?;
                    self.node.clone()
                }
                Stage::Finish(only) => {
                    self.settled(&mut client, &site).await?;
                    self.held(&mut client, &site, only).await?;
                    only.clone()
                }
            };
            let asked = v1::ApplySiteRequest {
                yaml: self.changed(&document.document, &stage, &on)?,
                base: document.desired.map(v1::AssignmentId::from),
            };
            let applied = client.apply_site(request(asked)).await;
            let id = applied.map_err(refused)?.into_inner().id;
            let tell = !self.session.for_programs();
            roles::follow(self.session, self.session.link().await?, id, tell).await?;
        }
    }

    fn changed(&self, yaml: &str, stage: &Stage, on: &NodeId) -> Result<String, Failure> {
        let changed = stage.change(yaml, (&self.node, self.role), on);
        let changed = changed.map_err(|error| {
            Failure::invalid(error.to_string(), "mend the document and apply it")
        })?;
        let site = parsed(&changed)?;
        if !hamesh_roles::render::configures(&site, self.role) {
            let role = self.role;
            return Err(Failure::invalid(
                format!("the document does not say what nodes of the role {role} are to do"),
                "add that and apply it; nothing was changed",
            ));
        }
        Ok(changed)
    }

    /// The standby comes first: a node that holds addresses waits for those that do not.
    async fn stands_by(&self, client: &mut Client, site: &Site) -> Result<NodeId, Failure> {
        let status = status::fetch(client).await?;
        let holders = self.on(&status, site);
        let mut others = members(site, self.role).filter(|id| {
            let observed = site.nodes[*id].mode == Mode::Observe;
            observed && **id != self.node && !holders.contains(*id)
        });
        match others.next() {
            Some(standby) if holders.contains(&self.node) => Err(Failure::failed(
                format!("{} holds addresses, and {standby} stands by", self.node),
                format!(
                    "first take the standby over: `coordctl adopt {standby} {}`",
                    self.role
                ),
            )),
            Some(_) | None => Ok(self.node.clone()),
        }
    }

    /// Every node that could hold the addresses has what the document asks.
    async fn settled(&self, client: &mut Client, site: &Site) -> Result<StatusView, Failure> {
        let until = Instant::now() + HEARD;
        loop {
            let status = status::fetch(client).await?;
            let Some(unsettled) = self.unsettled(&status, site) else {
                return Ok(status);
            };
            if Instant::now() > until {
                let text = format!("{unsettled}; nothing more was changed");
                return Err(Failure::failed(text, RESUME));
            }
            sleep(LOOK).await;
        }
    }

    /// The first node that has not what the document asks, and what it has.
    fn unsettled(&self, status: &StatusView, site: &Site) -> Option<String> {
        let unsettled = |id: &NodeId| {
            let Some(known) = status.nodes.iter().find(|it| it.name == id.as_str()) else {
                return Some(format!("{id} is not known"));
            };
            if known.applied != status.desired {
                return Some(format!("{id} has not heard of the newest document"));
            }
            let Some(state) = &known.role_state else {
                return Some(format!("nobody knows how the role of {id} is"));
            };
            let why = state.reason.as_ref();
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            let is = state.place.name();
            let settled = state.place == RolePlace::AsWanted;
            (!settled).then(|| format!("the role of {id} is {is}{why}"))
        };
        members(site, self.role).find_map(unsettled)
    }

    /// The one node that holds the addresses; if none does, the one that is taken over.
    fn holder(&self, status: &StatusView, site: &Site) -> Result<NodeId, Failure> {
        let on = self.on(status, site);
        match on.len() {
            0 => Ok(self.node.clone()),
            1 => Ok(on.into_iter().next().unwrap_or_else(|| self.node.clone())),
            _ => {
                let names: Vec<&str> = on.iter().map(AsRef::as_ref).collect();
                let text = format!("the addresses are on {}", names.join(" and "));
                let next = "have what served before hold them all on one node, and run the same \
                            command again; nothing more was changed";
                Err(Failure::failed(text, next))
            }
        }
    }

    /// The nodes that have addresses which hamesh does not hold.
    fn on(&self, status: &StatusView, site: &Site) -> BTreeSet<NodeId> {
        let addresses = outside(site, self.role).flat_map(|(_, vip)| &vip.addresses);
        let addresses: BTreeSet<String> = addresses.map(ToString::to_string).collect();
        let has = |node: &NodeView| {
            let own = node.interfaces.iter().flat_map(|it| &it.addresses);
            let mut own = own.filter_map(|text| text.split('/').next());
            own.any(|ip| addresses.contains(ip))
        };
        let named = |id: &NodeId| status.nodes.iter().find(|it| it.name == id.as_str());
        let on = members(site, self.role).filter(|id| named(id).is_some_and(has));
        on.cloned().collect()
    }

    /// Waits until a node holds all claims of the role.
    async fn held(&self, client: &mut Client, site: &Site, by: &NodeId) -> Result<(), Failure> {
        let until = Instant::now() + HELD;
        loop {
            let status = status::fetch(client).await?;
            let held = |claim: &str| {
                let known = status.claims.iter().find(|it| it.claim == claim);
                known.is_some_and(|it| it.holder.as_deref() == Some(by.as_str()))
            };
            let claims = outside(site, self.role).map(|(name, _)| vip_claim(name).to_string());
            let Some(missing) = claims.into_iter().find(|claim| !held(claim)) else {
                return Ok(());
            };
            if Instant::now() > until {
                let text = format!("{by} does not hold {missing}; nothing more was changed");
                let next = format!(
                    "`coordctl explain {missing}` says why; what served before holds the \
                     address there; run the same command again to go on"
                );
                return Err(Failure::failed(text, next));
            }
            sleep(LOOK).await;
        }
    }
}

fn parsed(yaml: &str) -> Result<Site, Failure> {
    Site::parse(yaml).map_err(|faults| Failure::Document {
        file: "the site's document".to_owned(),
        faults,
    })
}
