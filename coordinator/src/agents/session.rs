//! One agent's session.
//!
//! ```text
//! admitted --> Hello within 10 s --> open: Welcome, key ring, assignment
//!                                     |  ^ on each change of the world
//!                                     v
//!            ends: agent gone, superseded, removed or revoked, its certificate ran out,
//!                  speaks for another, stopping, no longer sure to lead
//! ```

mod database;
mod drained;
mod role;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::v1::agent_message::Kind as FromAgent;
use hamesh_proto::v1::coordinator_message::Kind as ToAgent;
use hamesh_proto::{parts, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::admission::{Admitted, removed, revoked};
use super::{PARTS_PROTOCOL, PROTOCOL, understands};
use crate::claims::keys::{Parts, SessionKey};
use crate::core::Core;
use crate::ledger::EventKind;
use crate::sessions::{Agent, Session, Starts};
use crate::upgrade::Orders;

/// An agent that was admitted says Hello at once.
const HELLO: Duration = Duration::from_secs(10);
/// An agent that does not read for so long is taken for hung; it dials again when it wakes.
const SEND: Duration = Duration::from_secs(10);
/// Messages that may wait for a slow agent: each is the newest of its kind when it is put there.
const QUEUE: usize = 8;

type Outgoing = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

/// Starts serving; the stream ends when the session does.
pub(super) fn serve(
    core: Arc<Core>,
    admitted: Admitted,
    incoming: Streaming<v1::AgentMessage>,
) -> ReceiverStream<Result<v1::CoordinatorMessage, Status>> {
    let (outgoing, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let node = admitted.node.clone();
        let serving = Serving {
            core,
            admitted,
            outgoing,
            told: Told::default(),
            protocol: 0,
        };
        let outgoing = serving.outgoing.clone();
        let core = Arc::clone(&serving.core);
        let ended = serving.run(incoming).await;
        if !core.sessions.is_live(&node) {
            core.roles.gone(&node);
            core.databases.gone(&node);
        }
        let Err(status) = ended else {
            return;
        };
        let (code, reason) = (status.code(), status.message());
        tracing::info!(AGENT = %node, ?code, reason, "session ended");
        // An agent that does not read does not read this either.
        let _ = outgoing.try_send(Err(status));
    });
    ReceiverStream::new(stream)
}

struct Serving {
    core: Arc<Core>,
    admitted: Admitted,
    outgoing: Outgoing,
    told: Told,
    /// The newest protocol that the agent speaks.
    protocol: u32,
}

/// What the agent was last sent, or said that it has.
#[derive(Default)]
struct Told {
    assignment: Option<v1::AssignmentId>,
    key_ring_version: Option<u64>,
    refused: Option<v1::AssignmentId>,
    peer_keys: Option<Vec<v1::LeaseKey>>,
    coordinate: Option<bool>,
    drained: Option<v1::Drained>,
    /// The name of an order.
    upgrade: Option<String>,
    role: Option<Arc<v1::RoleOrder>>,
    /// The names of questions that stand.
    asked: BTreeSet<String>,
    /// The same, of those about databases.
    asked_of_databases: BTreeSet<String>,
}

impl Serving {
    /// `Ok`: the agent went away by itself.
    async fn run(mut self, mut incoming: Streaming<v1::AgentMessage>) -> Result<(), Status> {
        let Some(hello) = self.hello(&mut incoming).await? else {
            return Ok(());
        };
        let mut session = self.open(&hello).await?;
        tracing::info!(AGENT = %self.admitted.node, version = hello.version, "session opened");
        let core = Arc::clone(&self.core);
        let mut world = core.world.subscribe();
        let mut parts = core.claims.parts.subscribe();
        let mut starts = core.sessions.starts();
        let mut orders = core.upgrades.orders();
        let (mut released, mut asked) = (core.roles.released(), core.roles.questions.asked());
        let mut of_databases = core.databases.questions.asked();
        self.send(ToAgent::Welcome(v1::Welcome {
            coordinator: core.node.to_string(),
            version: crate::version().to_owned(),
            protocol: PROTOCOL,
            leadership: core.own_leadership(),
        }))
        .await?;
        let key = SessionKey::fresh(&self.admitted.node, &hello.boot_id, &self.admitted.record);
        let own_key = key.message(&core.node);
        core.claims
            .key(key)
            .await
            .map_err(|absent| Status::unavailable(absent.to_string()))?;
        loop {
            let newest = Arc::clone(&world.borrow_and_update());
            self.push(&newest).await?;
            self.push_drained(&newest).await?;
            let parts_now = Arc::clone(&parts.borrow_and_update());
            let starts_now = Arc::clone(&starts.borrow_and_update());
            self.push_lease_keys(&newest, (&parts_now, &starts_now), &own_key)
                .await?;
            let orders_now = Arc::clone(&orders.borrow_and_update());
            self.push_order(&orders_now).await?;
            let released_now = Arc::clone(&released.borrow_and_update());
            let asked_now = Arc::clone(&asked.borrow_and_update());
            self.push_role(&released_now, &asked_now).await?;
            let asked_now = Arc::clone(&of_databases.borrow_and_update());
            self.push_database(&asked_now).await?;
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(message)) => self.take(&session, message).await?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                changed = world.changed() => if changed.is_err() { return Ok(()) },
                changed = parts.changed() => if changed.is_err() { return Ok(()) },
                changed = orders.changed() => if changed.is_err() { return Ok(()) },
                changed = released.changed() => if changed.is_err() { return Ok(()) },
                changed = asked.changed() => if changed.is_err() { return Ok(()) },
                changed = of_databases.changed() => if changed.is_err() { return Ok(()) },
                changed = starts.changed() => if changed.is_err() { return Ok(()) },
                () = session.superseded() => return Err(Status::aborted(
                    "a newer session of this node was opened",
                )),
                () = core.leadership.lapsed() => return Err(core.elsewhere().status(&core.node)),
                refusal = core.ran_out(&self.admitted.peer) => return Err(refusal),
                () = core.stopped() => return Err(Status::unavailable(
                    "this coordinator stops; dial again",
                )),
                () = self.outgoing.closed() => return Ok(()),
            }
        }
    }

    async fn hello(
        &self,
        incoming: &mut Streaming<v1::AgentMessage>,
    ) -> Result<Option<v1::Hello>, Status> {
        let first = tokio::time::timeout(HELLO, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello came"))??;
        let Some(message) = first else {
            return Ok(None);
        };
        let Some(FromAgent::Hello(hello)) = message.kind else {
            return Err(Status::invalid_argument("a session begins with Hello"));
        };
        understands(hello.protocol)?;
        Ok(Some(hello))
    }

    async fn open(&mut self, hello: &v1::Hello) -> Result<Session, Status> {
        self.same_incarnation(hello)?;
        self.protocol = hello.protocol;
        let agent = Agent {
            started_unix_ms: hello.started_unix_ms,
            boot_id: hello.boot_id.chars().take(64).collect(),
        };
        let node = &self.admitted.node;
        match self.core.sessions.open(node, agent, hello.key_ring_version) {
            Ok(session) => {
                if let Some(id) = hello.assignment {
                    session.applied(id);
                }
                Ok(session)
            }
            Err(older) => {
                if older.first {
                    let text = format!("two agents with the same node name: {older}");
                    let change =
                        self.core
                            .own_change()
                            .event(EventKind::NodeDuplicate, Some(node), text);
                    self.core.ledger.commit(change).await?;
                }
                Err(Status::already_exists(older.to_string()))
            }
        }
    }

    /// Refuses an agent that follows a later incarnation: the site was restored elsewhere, and
    /// nothing that is granted here may reach such an agent. The agent's word costs it no more
    /// than its own session, unless it has the proof.
    fn same_incarnation(&self, hello: &v1::Hello) -> Result<(), Status> {
        let own = self.admitted.incarnation;
        let theirs = hello.assignment.map_or(0, |id| id.incarnation);
        if theirs <= own {
            return Ok(());
        }
        self.core.hear_of(theirs, &hello.proof);
        let refused = &self.core.metrics.refused_messages;
        refused.with_label_values(&["later_incarnation"]).inc();
        Err(Status::failed_precondition(format!(
            "{} follows incarnation {theirs} of the site, this coordinator is of incarnation \
             {own}: the site was restored from a backup on another machine; switch this \
             coordinator off (if this is the restored one, its clock was behind: restore again \
             with --above {theirs})",
            self.admitted.node
        )))
    }

    async fn take(&mut self, session: &Session, message: v1::AgentMessage) -> Result<(), Status> {
        match message.kind {
            Some(FromAgent::Facts(facts)) if facts.node == self.admitted.node.as_str() => {
                session.facts(facts);
            }
            Some(FromAgent::Facts(facts)) => {
                self.core
                    .metrics
                    .refused_messages
                    .with_label_values(&["other_node"])
                    .inc();
                return Err(Status::permission_denied(format!(
                    "{} may not speak for {:?}",
                    self.admitted.node,
                    facts.node.chars().take(64).collect::<String>()
                )));
            }
            Some(FromAgent::Peers(view)) => {
                let world = self.core.world();
                for facts in view.peers.iter().filter_map(|peer| peer.facts.as_ref()) {
                    let incarnation = facts.applied.map_or(0, |id| id.incarnation);
                    self.core.hear_of(incarnation, &facts.proof);
                }
                session.hears(view, |node| world.desired.site.nodes.contains_key(node));
            }
            Some(FromAgent::AssignmentAck(ack)) => self.acknowledged(session, ack).await?,
            Some(FromAgent::KeyRingAck(ack)) => session.key_ring(ack.version),
            Some(FromAgent::Upgrade(outcome)) => {
                self.core.upgrades.heard(&self.admitted.node, outcome);
            }
            Some(FromAgent::Role(report)) => self.core.roles.heard(&self.admitted.node, report),
            Some(FromAgent::RolePlan(plan)) => {
                self.core
                    .roles
                    .questions
                    .answered(&self.admitted.node, plan);
            }
            Some(FromAgent::Database(answer)) => {
                self.core.databases.answered(&self.admitted.node, answer);
            }
            Some(FromAgent::Hello(_)) => {
                self.core
                    .metrics
                    .refused_messages
                    .with_label_values(&["second_hello"])
                    .inc();
                return Err(Status::invalid_argument("a session has one Hello"));
            }
            // A kind of a later release, or an answer to what is not asked here.
            Some(FromAgent::Holdings(_)) | None => self
                .core
                .metrics
                .refused_messages
                .with_label_values(&["unknown"])
                .inc(),
        }
        Ok(())
    }

    async fn acknowledged(
        &mut self,
        session: &Session,
        ack: v1::AssignmentAck,
    ) -> Result<(), Status> {
        let Some(id) = ack.id else { return Ok(()) };
        if ack.refused.is_empty() {
            session.applied(id);
            return Ok(());
        }
        // Once for each assignment: an agent that dials again refuses the same one again.
        if self.told.refused.replace(id) == Some(id) {
            return Ok(());
        }
        let node = &self.admitted.node;
        let why: String = ack.refused.chars().take(200).collect();
        let text = format!("{node} refused generation {}: {why}", id.generation);
        let change = self.core.change(format!("agent/{node}")).event(
            EventKind::NodeRefusedAssignment,
            Some(node),
            text,
        );
        Ok(self.core.ledger.commit(change).await?)
    }

    /// Sends what the agent does not have yet, or ends the session of one that must not have it.
    async fn push(&mut self, world: &crate::world::World) -> Result<(), Status> {
        let node = self.admitted.node.clone();
        if world
            .desired
            .record
            .revoked
            .contains_key(&self.admitted.peer.serial)
        {
            return Err(revoked(&node));
        }
        if !world.nodes.contains_key(&node) && world.revision >= self.admitted.record.revision {
            return Err(removed(&node));
        }
        if self.told.key_ring_version != Some(world.ring.version()) {
            self.send(ToAgent::KeyRing((&world.ring).into())).await?;
            self.told.key_ring_version = Some(world.ring.version());
        }
        let id = world.desired.id();
        if self.told.assignment != Some(id)
            && let Some(mut assignment) = world.desired.assignment(&node)
        {
            assignment.proof = self.core.proof(id.incarnation);
            self.send_assignment(assignment).await?;
            self.told.assignment = Some(id);
        }
        let wanted = world.coordinators.contains_key(&node);
        if self.told.coordinate != Some(wanted) {
            self.send(ToAgent::Coordinate(v1::Coordinate { wanted }))
                .await?;
            self.told.coordinate = Some(wanted);
        }
        Ok(())
    }

    async fn send_assignment(&self, assignment: v1::Assignment) -> Result<(), Status> {
        if self.protocol < PARTS_PROTOCOL {
            return self.send(ToAgent::Assignment(assignment)).await;
        }
        let parts = parts::cut(&assignment);
        drop(assignment);
        for part in parts {
            self.send(ToAgent::AssignmentPart(part)).await?;
        }
        Ok(())
    }

    /// Sends the keys of lease datagrams when they are not those that the agent has.
    async fn push_lease_keys(
        &mut self,
        world: &crate::world::World,
        (parts, starts): (&Parts, &Starts),
        own: &v1::LeaseKey,
    ) -> Result<(), Status> {
        let secret = &self.core.claims.secret;
        let peers = secret.peers(&self.admitted.node, parts, &world.nodes, starts);
        if self.told.peer_keys.as_ref() == Some(&peers) {
            return Ok(());
        }
        let keys = v1::LeaseKeys {
            coordinator: Some(own.clone()),
            peers: peers.clone(),
            incarnation: world.desired.id().incarnation,
        };
        self.send(ToAgent::LeaseKeys(keys)).await?;
        self.told.peer_keys = Some(peers);
        Ok(())
    }

    /// Sends the order that stands for this node, once in each session.
    async fn push_order(&mut self, orders: &Orders) -> Result<(), Status> {
        let Some(order) = orders.get(&self.admitted.node) else {
            return Ok(());
        };
        if self.told.upgrade.as_ref() != Some(&order.id) {
            self.send(ToAgent::Upgrade(order.message())).await?;
            self.told.upgrade = Some(order.id.clone());
        }
        Ok(())
    }

    async fn send(&self, kind: ToAgent) -> Result<(), Status> {
        let message = v1::CoordinatorMessage { kind: Some(kind) };
        match tokio::time::timeout(SEND, self.outgoing.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the agent went away")),
            Err(_) => Err(Status::deadline_exceeded("the agent does not read")),
        }
    }
}
