//! How the site is, on one screen.

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tonic::{Request, Status};

use super::OperatorsService;
use super::events::event_message;
use crate::desired::role_name;
use crate::liveness::Verdict;
use crate::records::OperatorAccess;
use crate::store::{StoreError, StoreHealth};
use crate::world::World;

/// Events on the screen.
const LAST_EVENTS: u64 = 10;

impl OperatorsService {
    pub(super) async fn read_status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<v1::SiteStatus, Status> {
        self.caller(&request, OperatorAccess::Viewer).await?;
        let core = &self.core;
        // What was just applied is shown, though this coordinator may not have followed yet.
        let world = World::read(core.ledger.store().as_ref(), &core.seal).await?;
        let verdicts = core.verdicts.borrow().clone();
        let events = core.ledger.last_events(LAST_EVENTS).await?;
        let node = |id: &NodeId| self.node_status(&world, id, verdicts.get(id));
        Ok(v1::SiteStatus {
            site: core.site.to_string(),
            coordinator: core.node.to_string(),
            coordinator_version: crate::VERSION.to_owned(),
            desired: Some(world.desired.id()),
            epoch: core.epoch,
            nodes: world.desired.site.nodes.keys().map(node).collect(),
            last_events: events.into_iter().map(event_message).collect(),
            key_ring_version: world.ring.version(),
            ca_expires_unix_ms: core.authority.ca().not_after_unix_ms(),
            store: Some(store_status(core.ledger.store().health().await)),
            now_unix_ms: core.clock.unix_ms(),
            claims: Vec::new(),
        })
    }

    fn node_status(&self, world: &World, id: &NodeId, verdict: Option<&Verdict>) -> v1::NodeStatus {
        let node = world.desired.site.nodes.get(id);
        let record = world.nodes.get(id);
        let said = self.core.sessions.said(id);
        let expires = record.and_then(|record| {
            record
                .certificates
                .iter()
                .map(|certificate| certificate.not_after_unix_ms)
                .max()
        });
        let now_unix_ms = self.core.clock.unix_ms();
        let window = record.and_then(|record| record.re_enrol.as_ref());
        let open = window
            .map(|it| it.until_unix_ms)
            .filter(|until| *until >= now_unix_ms);
        let state = verdict.map_or(v1::NodeState::Unspecified, |it| it.state.into());
        v1::NodeStatus {
            node: id.to_string(),
            role: role_name(node.and_then(|node| node.role)),
            addresses: node
                .map(|node| node.addresses.values().map(ToString::to_string).collect())
                .unwrap_or_default(),
            state: state.into(),
            reason: verdict.map_or("not looked at yet".to_owned(), |it| it.reason.to_string()),
            state_since_unix_ms: verdict.map_or(0, |it| it.since_unix_ms),
            session: verdict.is_some_and(|it| it.observed.session.is_some()),
            seen_by: verdict.map_or(0, |it| it.observed.seen_by),
            seen_of: verdict.map_or(0, |it| it.observed.seen_of),
            facts: said.facts,
            applied: said.applied,
            certificate_expires_unix_ms: expires.unwrap_or(0),
            re_enrol_open_until_unix_ms: open.unwrap_or(0),
            drained: false,
        }
    }
}

fn store_status(health: Result<StoreHealth, StoreError>) -> v1::StoreStatus {
    match health {
        Ok(health) => v1::StoreStatus {
            healthy: health.alarms.is_empty(),
            problem: health.alarms.join("; "),
            version: health.version,
            size_bytes: health.size_bytes,
            members: health.members,
        },
        Err(error) => v1::StoreStatus {
            healthy: false,
            problem: error.to_string(),
            ..v1::StoreStatus::default()
        },
    }
}
