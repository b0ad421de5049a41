//! How the site is, on one screen.

use std::sync::Arc;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tonic::{Request, Status};

use super::OperatorsService;
use super::events::event_message;
use crate::claims::board::Board;
use crate::core::Core;
use crate::desired::role_name;
use crate::ledger::ReadError;
use crate::liveness::Verdict;
use crate::records::EventRecord;
use crate::roles::secrets::given_certificates;
use crate::store::{StoreError, StoreHealth};
use crate::world::{World, WorldError};

/// Events on the screen.
const LAST_EVENTS: u64 = 10;

impl OperatorsService {
    pub(super) async fn read_status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<v1::SiteStatus, Status> {
        let core = &self.core;
        let look = match self.onlooker(&request).await? {
            Ok(()) => Look::now(core).await?,
            Err(silent) => Look::last(core, silent),
        };
        let world = &look.world;
        let verdicts = core.verdicts.borrow().clone();
        let node = |id: &NodeId| self.node_status(world, id, verdicts.get(id));
        Ok(v1::SiteStatus {
            site: core.site.to_string(),
            coordinator: core.node.to_string(),
            coordinator_version: crate::version().to_owned(),
            desired: Some(world.desired.id()),
            epoch: core.epoch(),
            nodes: world.desired.site.nodes.keys().map(node).collect(),
            last_events: look.events.into_iter().map(event_message).collect(),
            key_ring_version: world.ring.version(),
            ca_expires_unix_ms: core.authority.ca().not_after_unix_ms(),
            store: Some(store_status(look.store)),
            now_unix_ms: core.clock.unix_ms(),
            claims: Board::of(core, world).await.statuses(),
            backups: super::backups::status(core).await,
            coordinators: super::coordinators::statuses(core, world),
            given_certificates: given_certificates(world, &core.seal),
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
            drained: world.claim_wishes.drained.contains_key(id),
            role_state: self.core.roles.states().borrow().states.get(id).cloned(),
        }
    }
}

/// What the status is made from.
struct Look {
    world: Arc<World>,
    events: Vec<EventRecord>,
    store: Result<StoreHealth, StoreError>,
}

impl Look {
    /// What the store says now; what was last read if it falls silent.
    async fn now(core: &Core) -> Result<Self, Status> {
        let store = core.ledger.store();
        // What was just applied is shown, though this coordinator may not have followed yet.
        let last = core.world();
        let world = match World::read(store.as_ref(), &core.seal, Some(&last.desired)).await {
            Ok(world) => Arc::new(world),
            Err(WorldError::Read(ReadError::Store(silent))) => return Ok(Self::last(core, silent)),
            Err(error) => return Err(error.into()),
        };
        let events = match core.ledger.last_events(LAST_EVENTS).await {
            Ok(events) => events,
            Err(ReadError::Store(silent)) => return Ok(Self::last(core, silent)),
            Err(error) => return Err(error.into()),
        };
        let store = store.health().await;
        Ok(Self {
            world,
            events,
            store,
        })
    }

    /// What this coordinator last read. Not the events: they are in the store alone.
    fn last(core: &Core, silent: StoreError) -> Self {
        Self {
            world: core.world(),
            events: Vec::new(),
            store: Err(silent),
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
