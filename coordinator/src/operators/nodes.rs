//! Removing nodes, letting sleepers back in, and the key rotation that keeps removed ones out.

use std::collections::BTreeMap;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::OperatorsService;
use crate::clock::milliseconds;
use crate::core::Core;
use crate::desired::revocations;
use crate::ledger::{Change, CommitError, EventKind, Kept};
use crate::records::{
    NodeRecord, OperatorAccess, ReEnrolWindow, Revocation, TokenRecord, TokenState, keys,
};
use crate::rotation;

/// The longest re-enrolment window.
const MAX_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// The window when none is asked for.
const DEFAULT_WINDOW: Duration = Duration::from_secs(3600);
/// How often a change is tried anew when an agent or a rotation was faster.
const ATTEMPTS: usize = 5;

/// Nodes that lose their identity in one change: their records go, their certificates and tokens
/// are revoked, and the gossip key is rotated so that what they know is worth nothing.
#[derive(Default)]
pub(super) struct Departure {
    nodes: Vec<(NodeId, Kept<NodeRecord>)>,
    tokens: Vec<Kept<TokenRecord>>,
}

impl Departure {
    /// Adds a node; one that is not enrolled has nothing to lose but its tokens.
    pub async fn of(&mut self, core: &Core, node: &NodeId) -> Result<(), Status> {
        let record: Option<Kept<NodeRecord>> = core.ledger.read(&keys::node(node)).await?;
        self.nodes
            .extend(record.map(|record| (node.clone(), record)));
        let tokens: Vec<Kept<TokenRecord>> = core.ledger.list(keys::TOKENS).await?;
        let of_node = tokens.into_iter().filter(|token| {
            token.value.node == *node
                && !matches!(token.value.state, TokenState::Revoked { .. })
                && token.value.expires_unix_ms >= core.clock.unix_ms()
        });
        self.tokens.extend(of_node);
        Ok(())
    }

    /// Whether any of them is enrolled.
    pub fn is_nobody(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Their certificates.
    pub fn revoked(&self) -> BTreeMap<String, Revocation> {
        self.nodes
            .iter()
            .flat_map(|(node, record)| revocations(node, &record.value))
            .collect()
    }

    /// Everything but the desired state, which the caller changes.
    pub async fn add_to(self, core: &Core, mut change: Change) -> Result<Change, Status> {
        let (by, at_unix_ms) = (change.actor().to_owned(), core.clock.unix_ms());
        for token in &self.tokens {
            let state = TokenState::Revoked {
                at_unix_ms,
                by: by.clone(),
            };
            change = change.replace(
                token,
                &TokenRecord {
                    state,
                    ..token.value.clone()
                },
            );
        }
        if self.nodes.is_empty() {
            return Ok(change);
        }
        for (node, record) in &self.nodes {
            let count = record.value.certificates.len();
            let text = format!("{node} was removed, {count} certificates revoked");
            change = change
                .remove(record)
                .event(EventKind::NodeRemoved, Some(node), text);
        }
        let names: Vec<_> = self
            .nodes
            .iter()
            .map(|(node, _)| node.to_string())
            .collect();
        let why = format!("{} was removed", names.join(", "));
        Ok(rotation::begin(core, change, &why).await?.0)
    }
}

impl OperatorsService {
    pub(super) async fn shut_out(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<v1::RemovedNode, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let node = node_of(&request.get_ref().node)?;
        for _ in 0..ATTEMPTS {
            let (kept, desired) = self.desired().await?;
            let mut departure = Departure::default();
            departure.of(&self.core, &node).await?;
            if departure.is_nobody() {
                return Err(not_enrolled(&node));
            }
            let yaml = desired.record.yaml.clone();
            let next = desired.next(yaml, departure.revoked(), self.core.clock.unix_ms());
            let change = self.core.change(caller.path()).replace(&kept, &next);
            let change = departure.add_to(&self.core, change).await?;
            match self.core.ledger.commit(change).await {
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    let (incarnation, generation) = (next.incarnation, next.generation);
                    let id = v1::AssignmentId {
                        incarnation,
                        generation,
                    };
                    return Ok(v1::RemovedNode { id: Some(id) });
                }
            }
        }
        Err(CommitError::Conflict.into())
    }

    pub(super) async fn open_window(
        &self,
        request: Request<v1::AllowReEnrolRequest>,
    ) -> Result<v1::ReEnrolWindow, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let message = request.into_inner();
        let node = node_of(&message.node)?;
        let valid = bounded(message.valid_s, DEFAULT_WINDOW, MAX_WINDOW)?;
        for _ in 0..ATTEMPTS {
            let record: Option<Kept<NodeRecord>> =
                self.core.ledger.read(&keys::node(&node)).await?;
            let record = record.ok_or_else(|| not_enrolled(&node))?;
            let until_unix_ms = self
                .core
                .clock
                .unix_ms()
                .saturating_add(milliseconds(valid));
            let window = ReEnrolWindow {
                until_unix_ms,
                opened_by: caller.path(),
                used_with: None,
            };
            let opened = NodeRecord {
                re_enrol: Some(window),
                ..record.value.clone()
            };
            let text = format!("{node} may re-enrol within {} s", valid.as_secs());
            let change = self
                .core
                .change(caller.path())
                .replace(&record, &opened)
                .event(EventKind::NodeReEnrolOpened, Some(&node), text);
            match self.core.ledger.commit(change).await {
                Ok(()) => return Ok(v1::ReEnrolWindow { until_unix_ms }),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    pub(super) async fn rotate(
        &self,
        request: Request<v1::RotateGossipKeyRequest>,
    ) -> Result<ReceiverStream<Result<v1::RotationProgress, Status>>, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let permit = self.stream_permit()?;
        let running = rotation::record(&self.core).await?;
        let version = if running.value.phase == crate::records::RotationPhase::Idle {
            let change = self.core.change(caller.path());
            let why = format!("asked for by {}", caller.name);
            let (change, version) = rotation::begin(&self.core, change, &why).await?;
            self.core.ledger.commit(change).await?;
            version
        } else {
            running.value.version
        };
        let (sender, stream) = mpsc::channel(4);
        let core = std::sync::Arc::clone(&self.core);
        tokio::spawn(async move {
            let mut progress = core.rotation.subscribe();
            loop {
                let now = progress.borrow_and_update().clone();
                // What was published before the rotation began is of an earlier one.
                if now.version >= version {
                    let message = now.message();
                    let done = message.done;
                    if sender.send(Ok(message)).await.is_err() || done {
                        break;
                    }
                }
                tokio::select! {
                    changed = progress.changed() => if changed.is_err() { break },
                    () = sender.closed() => break,
                    refusal = core.shut_out(&caller.peer) => {
                        let _ = sender.try_send(Err(refusal));
                        break;
                    }
                    () = core.stopped() => break,
                }
            }
            drop(permit);
        });
        Ok(ReceiverStream::new(stream))
    }
}

/// A node's name, from outside.
pub(super) fn node_of(text: &str) -> Result<NodeId, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("{error}; nothing was changed")))
}

/// A length of time that was asked for in seconds; 0: the default.
pub(super) fn bounded(
    asked_s: u64,
    default: Duration,
    longest: Duration,
) -> Result<Duration, Status> {
    match Duration::from_secs(asked_s) {
        Duration::ZERO => Ok(default),
        asked if asked <= longest => Ok(asked),
        asked => Err(Status::invalid_argument(format!(
            "{} s is longer than allowed, {} s at most; nothing was changed",
            asked.as_secs(),
            longest.as_secs()
        ))),
    }
}

fn not_enrolled(node: &NodeId) -> Status {
    Status::not_found(format!(
        "no agent has enrolled as {node}; nothing was changed; `coordctl nodes` lists them"
    ))
}
