//! The operators' service for claims: who holds what and why, moves, drains, pauses.
//!
//! What operators want of a claim beside the site document (paused, drained) is a record of its
//! own, and holds until they take it back: restarts of anything do not undo it.

use std::time::Duration;

use hamesh_claims::ids::NodeName;
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::v1;
use hamesh_roles::diagnostic::did_you_mean;
use tonic::{Request, Status};

use super::nodes::node_of;
use super::{Answer, OperatorsService};
use crate::claims::board::Board;
use crate::claims::moves::MoveError;
use crate::claims::wanted::name_of;
use crate::ledger::{Change, CommitError, EventKind, Kept};
use crate::liveness::State;
use crate::records::{ClaimWishesRecord, Drain, OperatorAccess, keys};

/// How often a change is tried anew when another operator was faster.
const ATTEMPTS: usize = 5;
/// How long the claims of a drained node may take to go elsewhere before that is answered: many
/// times a hand-over.
const SETTLE: Duration = Duration::from_secs(10);
/// Between two looks at whether they are.
const LOOK: Duration = Duration::from_millis(20);

impl OperatorsService {
    async fn board(&self) -> Board {
        Board::of(&self.core, &self.core.world()).await
    }

    async fn list_claims(
        &self,
        request: Request<v1::ListClaimsRequest>,
    ) -> Result<v1::ClaimList, Status> {
        // The claims are in memory: a silent store hides nothing of them.
        let _ = self.onlooker(&request).await?;
        let claims = self.board().await.statuses();
        Ok(v1::ClaimList { claims })
    }

    async fn explain_claim(
        &self,
        request: Request<v1::ExplainClaimRequest>,
    ) -> Result<v1::ClaimExplanation, Status> {
        let _ = self.onlooker(&request).await?;
        let board = self.board().await;
        let claim = known(&board, &request.get_ref().claim)?;
        board
            .explain(&claim)
            .ok_or_else(|| unknown(&board, claim.as_str()))
    }

    async fn move_claim(
        &self,
        request: Request<v1::MoveClaimRequest>,
    ) -> Result<v1::MovedClaim, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let message = request.into_inner();
        let claim = known(&self.board().await, &message.claim)?;
        let to = match message.to.as_str() {
            "" => None,
            to => Some(name_of(&self.node_of_site(to)?)),
        };
        tracing::info!(CLAIM = %claim, actor = caller.path(), "a move was asked for");
        let moved = self.core.claims.move_claim(claim.clone(), to).await;
        let moved = moved.map_err(|absent| Status::unavailable(absent.to_string()))?;
        let moved = moved.map_err(refusal)?;
        Ok(v1::MovedClaim {
            status: self.board().await.status(&claim),
            took_us: u64::try_from(moved.took.as_micros()).unwrap_or(u64::MAX),
        })
    }

    async fn pause_claim(
        &self,
        request: Request<v1::PauseClaimRequest>,
    ) -> Result<v1::ClaimStatus, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let message = request.into_inner();
        let claim = known(&self.board().await, &message.claim)?;
        let pause = |wishes: &mut ClaimWishesRecord| {
            let changed = if message.paused {
                wishes.paused.insert(claim.clone())
            } else {
                wishes.paused.remove(&claim)
            };
            let (kind, text) = if message.paused {
                (EventKind::ClaimPaused, format!("{claim} is paused"))
            } else {
                (
                    EventKind::ClaimResumed,
                    format!("{claim} is no longer paused"),
                )
            };
            changed.then_some((kind, None, text))
        };
        self.wish(&caller.path(), pause).await?;
        let board = self.board().await;
        board
            .status(&claim)
            .ok_or_else(|| unknown(&board, claim.as_str()))
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<v1::DrainedNode, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let node = self.node_of_site(&request.get_ref().node)?;
        let drain = Drain {
            by: caller.path(),
            since_unix_ms: self.core.clock.unix_ms(),
        };
        let change = |wishes: &mut ClaimWishesRecord| {
            if wishes.drained.contains_key(&node) {
                return None;
            }
            wishes.drained.insert(node.clone(), drain.clone());
            let text = format!("{node} is drained: it is to hold nothing");
            Some((EventKind::NodeDrained, Some(node.clone()), text))
        };
        let before = self.board().await;
        let changed = self.wish(&caller.path(), change).await?;
        let name = name_of(&node);
        let held = |status: &v1::ClaimStatus| status.holder == node.as_str();
        let had: Vec<String> = before
            .of_node(&name)
            .into_iter()
            .filter(held)
            .map(|status| status.claim)
            .collect();
        let mut claims = self.settled(&node, &name).await;
        claims.retain(|status| had.contains(&status.claim) || held(status));
        Ok(v1::DrainedNode { changed, claims })
    }

    async fn undrain_node(
        &self,
        request: Request<v1::UndrainNodeRequest>,
    ) -> Result<v1::DrainedNode, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let node = self.node_of_site(&request.get_ref().node)?;
        let change = |wishes: &mut ClaimWishesRecord| {
            wishes.drained.remove(&node)?;
            let text = format!("{node} may hold claims again");
            Some((EventKind::NodeUndrained, Some(node.clone()), text))
        };
        let changed = self.wish(&caller.path(), change).await?;
        let claims = self.board().await.of_node(&name_of(&node));
        Ok(v1::DrainedNode { changed, claims })
    }

    async fn confirm_node_fenced(
        &self,
        request: Request<v1::ConfirmFencedRequest>,
    ) -> Result<v1::ConfirmedFenced, Status> {
        let caller = self.caller(&request, OperatorAccess::Admin).await?;
        let node = node_of(&request.get_ref().node)?;
        let alive = self
            .core
            .verdicts
            .borrow()
            .get(&node)
            .map(|verdict| verdict.state);
        if alive == Some(State::Alive) {
            return Err(Status::failed_precondition(format!(
                "{node} is alive; nothing was changed; it acknowledges by itself: confirm only \
                 what is switched off"
            )));
        }
        let claims = self.core.claims.confirm_fenced(name_of(&node)).await;
        let claims = claims.map_err(|absent| Status::unavailable(absent.to_string()))?;
        if claims.is_empty() {
            return Err(Status::failed_precondition(format!(
                "no claim waits for {node}; nothing was changed; `coordctl claims` names who is \
                 awaited"
            )));
        }
        let claims: Vec<String> = claims.iter().map(ToString::to_string).collect();
        let text = format!("{node} was confirmed to be off, for {}", claims.join(", "));
        let change = self.core.change(caller.path());
        let change = change.event(EventKind::ClaimFenced, Some(&node), text);
        self.core.ledger.commit(change).await?;
        Ok(v1::ConfirmedFenced { claims })
    }

    /// Changes what operators want of the claims, and waits until this coordinator follows it.
    /// Whether anything was to be changed.
    async fn wish(
        &self,
        by: &str,
        change: impl Fn(&mut ClaimWishesRecord) -> Option<(EventKind, Option<NodeId>, String)>,
    ) -> Result<bool, Status> {
        for _ in 0..ATTEMPTS {
            let kept: Option<Kept<ClaimWishesRecord>> =
                self.core.ledger.read(keys::CLAIM_WISHES).await?;
            let mut wishes = kept
                .as_ref()
                .map(|kept| kept.value.clone())
                .unwrap_or_default();
            let Some((kind, node, text)) = change(&mut wishes) else {
                return Ok(false);
            };
            // Names that left the site are forgotten with the next change.
            let world = self.core.world();
            let site = &world.desired.site;
            wishes
                .drained
                .retain(|node, _| site.nodes.contains_key(node));
            let written: Change = self.core.change(by);
            let written = written
                .put(keys::CLAIM_WISHES, kept.as_ref(), &wishes)
                .event(kind, node.as_ref(), text);
            match self.core.ledger.commit(written).await {
                Ok(()) => {
                    let mut world = self.core.world.subscribe();
                    let followed =
                        world.wait_for(|world| change(&mut world.claim_wishes.clone()).is_none());
                    // What is committed holds, whenever this coordinator reads it.
                    let _ = tokio::time::timeout(SETTLE, followed).await;
                    return Ok(true);
                }
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// The node's claims, when those that it holds are elsewhere or have a reason to stay.
    async fn settled(&self, node: &NodeId, name: &NodeName) -> Vec<v1::ClaimStatus> {
        let deadline = tokio::time::Instant::now() + SETTLE;
        loop {
            let claims = self.board().await.of_node(name);
            let unsettled = |status: &v1::ClaimStatus| {
                status.holder == node.as_str() && status.keeps.is_empty()
                    || status.holder.is_empty()
            };
            if !claims.iter().any(unsettled) || tokio::time::Instant::now() >= deadline {
                return claims;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The node of this name, told with the nearest one if there is none.
    pub(super) fn node_of_site(&self, name: &str) -> Result<NodeId, Status> {
        let world = self.core.world();
        let nodes = &world.desired.site.nodes;
        match name.parse::<NodeId>() {
            Ok(node) if nodes.contains_key(&node) => Ok(node),
            Ok(_) | Err(_) => {
                let meant = did_you_mean(name, nodes.keys().map(NodeId::as_str));
                let meant = meant.unwrap_or_else(|| "`coordctl nodes` lists them".to_owned());
                let name: String = name.chars().take(64).collect();
                Err(Status::not_found(format!(
                    "the site has no node {name:?}; nothing was changed; {meant}"
                )))
            }
        }
    }
}

/// The claim of this name.
fn known(board: &Board, name: &str) -> Result<ClaimId, Status> {
    let claim = name.parse::<ClaimId>().ok();
    let claim = claim.filter(|claim| board.claims().any(|known| known == claim));
    claim.ok_or_else(|| unknown(board, name))
}

fn unknown(board: &Board, name: &str) -> Status {
    let meant = did_you_mean(name, board.claims().map(ClaimId::as_str));
    let meant = meant.unwrap_or_else(|| "`coordctl claims` lists them".to_owned());
    let name: String = name.chars().take(64).collect();
    Status::not_found(format!(
        "the site has no claim {name:?}; nothing was changed; {meant}"
    ))
}

fn refusal(error: MoveError) -> Status {
    let text = error.to_string();
    match error {
        MoveError::Unknown(_)
        | MoveError::Paused(_)
        | MoveError::Unable { .. }
        | MoveError::Nobody { .. }
        | MoveError::Moving(_)
        | MoveError::Late { .. } => Status::failed_precondition(text),
    }
}

#[tonic::async_trait]
impl v1::claims_server::Claims for OperatorsService {
    async fn list(&self, request: Request<v1::ListClaimsRequest>) -> Answer<v1::ClaimList> {
        self.serve("Claims/List", request, |it| self.list_claims(it))
            .await
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainClaimRequest>,
    ) -> Answer<v1::ClaimExplanation> {
        self.serve("Claims/Explain", request, |it| self.explain_claim(it))
            .await
    }

    async fn r#move(&self, request: Request<v1::MoveClaimRequest>) -> Answer<v1::MovedClaim> {
        self.serve("Claims/Move", request, |it| self.move_claim(it))
            .await
    }

    async fn pause(&self, request: Request<v1::PauseClaimRequest>) -> Answer<v1::ClaimStatus> {
        self.serve("Claims/Pause", request, |it| self.pause_claim(it))
            .await
    }

    async fn drain(&self, request: Request<v1::DrainNodeRequest>) -> Answer<v1::DrainedNode> {
        self.serve("Claims/Drain", request, |it| self.drain_node(it))
            .await
    }

    async fn undrain(&self, request: Request<v1::UndrainNodeRequest>) -> Answer<v1::DrainedNode> {
        self.serve("Claims/Undrain", request, |it| self.undrain_node(it))
            .await
    }

    async fn confirm_fenced(
        &self,
        request: Request<v1::ConfirmFencedRequest>,
    ) -> Answer<v1::ConfirmedFenced> {
        self.serve("Claims/ConfirmFenced", request, |it| {
            self.confirm_node_fenced(it)
        })
        .await
    }
}
