//! Drives the roles for as long as this coordinator leads.
//!
//! The idea: level-triggered. Whatever wakes it, it looks at what is wanted and at what the nodes
//! report, and plans anew; what it remembers is only whom it let have what, and a leader that does
//! not know that finds it in the reports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use hamesh_roles::render::{NeededSecret, Origin, needed_secrets};
use tokio::time::{Instant, sleep};

use super::orders::{self, Order, Orders};
use super::plan::{Node, Phase, Place, Reason, Refused, Report, Wanted, plan};
use super::secrets;
use super::{Released, States, Told};
use crate::core::Core;
use crate::desired::role_name;
use crate::ledger::{CommitError, EventKind};
use crate::records::keys;
use crate::store::Revision;
use crate::world::World;

/// How long an agent whose session was just opened may take to tell how its role is.
const HEARING: Duration = Duration::from_secs(20);
/// How often it looks even if nothing woke it. Sessions wake nobody here: of a large site some
/// agent says something all the time.
const TICK: Duration = Duration::from_secs(1);

/// Runs for ever.
pub async fn drive(core: Arc<Core>) {
    let mut driver = Driver {
        core: Arc::clone(&core),
        rendered: None,
        released: Released::new(),
        count: 0,
        places: BTreeMap::new(),
        silent: BTreeMap::new(),
        begun: Instant::now(),
    };
    let (mut world, mut reports) = (core.world.subscribe(), core.roles.reports());
    loop {
        let newest = Arc::clone(&world.borrow_and_update());
        reports.mark_unchanged();
        driver.look(&newest).await;
        // What they are of lives as long as this very struct does.
        tokio::select! {
            _ = world.changed() => {}
            _ = reports.changed() => {}
            () = sleep(TICK) => {}
        }
    }
}

struct Driver {
    core: Arc<Core>,
    /// The orders, and the revision of the world that they were rendered from.
    rendered: Option<(Revision, Arc<Orders>)>,
    released: Released,
    /// How many orders this leadership let nodes have.
    count: u64,
    places: BTreeMap<NodeId, Place>,
    /// Since when it was not heard of these how their roles are.
    silent: BTreeMap<NodeId, Instant>,
    /// Since when this coordinator leads.
    begun: Instant,
}

impl Driver {
    async fn look(&mut self, world: &World) {
        if let Err(problem) = self.make_secrets(world).await {
            tracing::warn!(%problem, "a secret that roles need cannot be made yet: {problem}");
        }
        let orders = self.orders(world);
        let nodes = self.nodes(&orders);
        let places = plan(&nodes);
        self.release(&orders, &places);
        self.listen_for(&places);
        let states = self.states(&orders, &places, &self.core.roles.reports().borrow());
        let roles = &self.core.roles;
        publish(&roles.released, Arc::new(self.released.clone()));
        let now = Told {
            id: world.desired.id(),
            revision: Some(world.revision),
            states,
        };
        publish(&roles.states, Arc::new(now));
        self.tell(&orders, &places).await;
        self.places = places;
    }

    fn orders(&mut self, world: &World) -> Arc<Orders> {
        if let Some((revision, orders)) = &self.rendered
            && *revision == world.revision
        {
            return Arc::clone(orders);
        }
        let orders = Arc::new(orders::of_world(world, &self.core.seal));
        self.rendered = Some((world.revision, Arc::clone(&orders)));
        orders
    }

    fn nodes(&self, orders: &Orders) -> BTreeMap<NodeId, Node> {
        let verdicts = self.core.verdicts.borrow().clone();
        // What a node holds counts where something is rolled out alone.
        let configured = orders.iter().filter(|(_, order)| order.configured);
        let said = configured.map(|(id, _)| id);
        let said = self.core.sessions.said_by(said);
        let reports = Arc::clone(&self.core.roles.reports().borrow());
        let node = |(id, order): (&NodeId, &Order)| {
            let facts = said.get(id).and_then(|said| said.facts.as_ref());
            let claims = facts.iter().flat_map(|facts| &facts.claims);
            let report = reports.get(id);
            let verdict = verdicts.get(id);
            let node = Node {
                role: order.role,
                configured: order.configured,
                wanted: order
                    .order
                    .as_ref()
                    .map(|it| wanted(it))
                    .map_err(Clone::clone),
                connected: report.is_some()
                    || verdict.is_some_and(|it| it.observed.session.is_some()),
                holds: claims.into_iter().any(holds),
                released: order.order.as_ref().is_ok_and(|it| {
                    let let_have = self.released.get(id);
                    let_have.is_some_and(|before| same(before, it))
                }),
                at_it: matches!(self.places.get(id), Some(Place::Applying | Place::Left)),
                report: report.map(|it| heard(it)),
            };
            (id.clone(), node)
        };
        orders.iter().map(node).collect()
    }

    /// Lets nodes have their orders, each under the next number when it is news.
    fn release(&mut self, orders: &Orders, places: &BTreeMap<NodeId, Place>) {
        let mut before = std::mem::take(&mut self.released);
        for (node, place) in places {
            match place {
                Place::AsWanted | Place::Observed | Place::Applying | Place::Failed(_) => {}
                Place::Away | Place::Left | Place::Waits(_) => continue,
            }
            let Some(Ok(order)) = orders.get(node).map(|it| it.order.as_ref()) else {
                continue;
            };
            let known = before.remove(node).filter(|known| same(known, order));
            let order = known.unwrap_or_else(|| {
                self.count += 1;
                Arc::new(v1::RoleOrder {
                    epoch: self.core.epoch(),
                    number: self.count,
                    ..(**order).clone()
                })
            });
            self.released.insert(node.clone(), order);
        }
    }

    /// Notes since when nodes are silent.
    fn listen_for(&mut self, places: &BTreeMap<NodeId, Place>) {
        let silent = |node: &NodeId| {
            let place = places.get(node);
            matches!(place, Some(Place::Waits(Reason::Silent | Reason::Lost(_))))
        };
        self.silent.retain(|node, _| silent(node));
        for node in places.keys().filter(|node| silent(node)) {
            self.silent.entry(node.clone()).or_insert_with(Instant::now);
        }
    }

    fn may_still_tell(&self, node: &NodeId, place: &Place) -> bool {
        match place {
            // After a change of the leader sessions take a moment to open.
            Place::Away | Place::Waits(Reason::LastOne) => self.begun.elapsed() < HEARING,
            Place::Waits(Reason::Silent | Reason::Lost(_)) => {
                let since = self.silent.get(node);
                since.is_some_and(|it| it.elapsed() < HEARING)
            }
            Place::AsWanted
            | Place::Observed
            | Place::Applying
            | Place::Failed(_)
            | Place::Left
            | Place::Waits(
                Reason::Missing(_) | Reason::After(_) | Reason::Together(_) | Reason::FailedAt(_),
            ) => false,
        }
    }

    fn states(
        &self,
        orders: &Orders,
        places: &BTreeMap<NodeId, Place>,
        reports: &super::Reports,
    ) -> States {
        let state = |(node, order): (&NodeId, &Order)| {
            let place = places.get(node)?;
            // Where hamesh never made anything there is nothing to tell.
            let quiet = matches!(place, Place::AsWanted | Place::Observed | Place::Away)
                || matches!(place, Place::Waits(Reason::Silent | Reason::Lost(_)));
            if quiet && !order.configured {
                return None;
            }
            let settled = place.is_settled() && !self.may_still_tell(node, place);
            let (place, reason) = words(place);
            let wanted = order.order.as_ref().map(|it| it.digest.clone());
            let state = v1::NodeRole {
                node: node.to_string(),
                role: role_name(order.role),
                place: place.into(),
                reason,
                report: reports.get(node).map(|report| (**report).clone()),
                wanted: wanted.unwrap_or_default(),
                settled,
            };
            Some((node.clone(), state))
        };
        orders.iter().filter_map(state).collect()
    }

    /// Makes what the site makes by itself, once.
    async fn make_secrets(&self, world: &World) -> Result<(), CommitError> {
        let needed = needed_secrets(&world.desired.site).into_iter();
        let generated = needed.filter(|secret| secret.origin() == Origin::Generated);
        let names = generated.map(|secret| NeededSecret::name(&secret).into_owned());
        for name in names.filter(|name| !world.secrets.contains_key(name)) {
            let by = (self.core.path(), self.core.clock.unix_ms());
            let record = secrets::record(&self.core.seal, &name, 1, &secrets::password(), by);
            let text = format!("the secret {name} was made");
            let change = self.core.own_change().create(&keys::secret(&name), &record);
            let change = change.event(EventKind::SecretSet, None, text);
            match self.core.ledger.commit(change).await {
                // It was there already: the world has not caught up.
                Ok(()) | Err(CommitError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells in the event log what ended while this coordinator led.
    async fn tell(&self, orders: &Orders, places: &BTreeMap<NodeId, Place>) {
        for (node, place) in places {
            if self.places.get(node) != Some(&Place::Applying) {
                continue;
            }
            let order = orders.get(node);
            // Of a role that does nothing here there is nothing to have; of none, what went.
            let quiet = order.is_some_and(|order| order.role.is_some() && !order.configured);
            let role = order.and_then(|order| order.role);
            let role = role.map_or("nothing of any role", hamesh_roles::Role::name);
            let (kind, text) = match place {
                Place::AsWanted if quiet => continue,
                Place::AsWanted => (EventKind::RoleApplied, format!("{node} has {role}")),
                Place::Failed(why) => {
                    let text = format!("{role} failed on {node}: {why}");
                    (EventKind::RoleFailed, text)
                }
                Place::Observed | Place::Applying | Place::Away | Place::Left | Place::Waits(_) => {
                    continue;
                }
            };
            let change = self.core.own_change().event(kind, Some(node), text);
            if let Err(problem) = self.core.ledger.commit(change).await {
                tracing::warn!(%problem, "an event could not be written: {problem}");
            }
        }
    }
}

fn words(place: &Place) -> (v1::RolePlace, String) {
    match place {
        Place::AsWanted => (v1::RolePlace::AsWanted, String::new()),
        Place::Observed => (v1::RolePlace::Observed, String::new()),
        Place::Applying => (v1::RolePlace::Applying, String::new()),
        Place::Failed(why) => (v1::RolePlace::Failed, why.clone()),
        Place::Away => (v1::RolePlace::Away, "its agent has no session".to_owned()),
        Place::Left => {
            let text = "its session ended while it was at it; the others of its role wait for it";
            (v1::RolePlace::Away, text.to_owned())
        }
        Place::Waits(why) => (v1::RolePlace::Waits, why.to_string()),
    }
}

fn publish<T: PartialEq>(sender: &tokio::sync::watch::Sender<Arc<T>>, now: Arc<T>) {
    sender.send_if_modified(|known| {
        let news = *known != now;
        *known = now;
        news
    });
}

fn wanted(order: &v1::RoleOrder) -> Wanted {
    Wanted {
        digest: order.digest.clone(),
        attempt: order.attempt,
        observe: order.observe,
    }
}

/// Whether a node that has one need not be told the other.
pub fn same(one: &v1::RoleOrder, other: &v1::RoleOrder) -> bool {
    wanted(one) == wanted(other)
}

fn holds(claim: &v1::ClaimReport) -> bool {
    matches!(
        claim.part(),
        v1::ClaimPart::Holding | v1::ClaimPart::HoldingAlone | v1::ClaimPart::BreakGlass
    )
}

fn heard(report: &v1::RoleReport) -> Report {
    Report {
        digest: report.digest.clone(),
        attempt: report.attempt,
        phase: match report.phase() {
            v1::RolePhase::Unspecified => Phase::None,
            v1::RolePhase::Applying => Phase::Applying,
            v1::RolePhase::Done => Phase::Done,
            v1::RolePhase::Failed => Phase::Failed,
            v1::RolePhase::Observing => Phase::Observing,
        },
        problem: report.problem.clone(),
        // A role that only a later version knows is none that this one rolls out.
        worked_as: report.worked_as.parse().ok(),
        refused: report.refused.as_ref().map(|refused| Refused {
            digest: refused.digest.clone(),
            attempt: refused.attempt,
            why: refused.why.clone(),
        }),
    }
}
