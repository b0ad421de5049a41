//! What was heard so far, and finishing.
//!
//! Guarantees: what was heard is in memory alone until an admin finishes; then all records are on
//! disk, in one file that appears as a whole, before the answer leaves. Only the plan that was
//! looked at is carried out.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::incarnation;
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::seal::SealKey;
use hamesh_proto::v1;
use tokio::sync::watch;
use tonic::Status;

use super::plan::{Outlook, outlook};
use super::records::records;
use super::roll::{All, Heard};
use super::service::wire;
use super::{Base, Begun, Told};
use crate::authority::Authority;
use crate::backup::SnapshotError;
use crate::clock::Clock;
use crate::config::Dirs;

/// A recovery under way.
#[derive(Debug)]
pub struct Desk {
    begun: Begun,
    /// What was there before.
    pub base: Base,
    authority: Authority,
    seal: SealKey,
    /// The wall clock.
    pub clock: Clock,
    dirs: Dirs,
    heard: Mutex<All>,
    /// Set when it is finished.
    pub finished: watch::Sender<bool>,
}

/// What a recovery works with.
#[derive(Debug)]
#[expect(missing_docs, reason = "each part's type says what it is")]
pub struct Tools {
    pub authority: Authority,
    pub seal: SealKey,
    pub clock: Clock,
    pub dirs: Dirs,
    pub agents_valid: Duration,
}

impl Desk {
    /// Begins, or begins again.
    ///
    /// # Errors
    /// When the backup's records cannot be read.
    pub fn new(
        begun: Begun,
        (site, own): (&SiteName, &NodeId),
        tools: Tools,
    ) -> Result<Self, SnapshotError> {
        let base = Base::read(&begun, (site, own), &tools.seal, tools.agents_valid)?;
        Ok(Self {
            begun,
            base,
            authority: tools.authority,
            seal: tools.seal,
            clock: tools.clock,
            dirs: tools.dirs,
            heard: Mutex::default(),
            finished: watch::channel(false).0,
        })
    }

    /// What an agent is asked with that follows `theirs`: the incarnation to come, and its proof.
    pub fn question(&self, theirs: u64) -> v1::Recover {
        let incarnation = self.base.incarnation.max(theirs.saturating_add(1));
        let ca = self.authority.ca();
        v1::Recover {
            incarnation,
            proof: incarnation::prove(ca, &self.base.site, incarnation),
        }
    }

    /// A node's agent is there; what an earlier run of it told is forgotten.
    ///
    /// # Errors
    /// When a later run of that node's agent was heard: two machines have one name.
    pub fn arrived(&self, node: &NodeId, agent: Heard) -> Result<(), Status> {
        let mut heard = self.heard();
        if let Some(before) = heard.get(node)
            && before.started_unix_ms > agent.started_unix_ms
        {
            return Err(Status::already_exists(format!(
                "an agent of {node} that started later was heard: two machines have this name"
            )));
        }
        heard.insert(node.clone(), agent);
        Ok(())
    }

    /// That agent told what it holds.
    pub fn told(&self, node: &NodeId, run: u64, holdings: v1::Holdings) {
        let told = Told::read(holdings, &self.base.site, node);
        match &told {
            Ok(told) => tracing::info!(AGENT = %node, id = %told.id, "told what it holds"),
            Err(why) => tracing::warn!(AGENT = %node, %why, "told what cannot be read"),
        }
        self.noted(node, run, |heard| heard.told = Some(told));
    }

    /// That agent says how its claims are.
    pub fn facts(&self, node: &NodeId, run: u64, facts: &v1::Facts) {
        let holds = facts.claims.iter().filter(|it| match it.part() {
            v1::ClaimPart::Holding | v1::ClaimPart::HoldingAlone | v1::ClaimPart::BreakGlass => {
                true
            }
            v1::ClaimPart::Unspecified | v1::ClaimPart::Standby | v1::ClaimPart::Unable => false,
        });
        let holds = holds.map(|it| it.claim.clone()).collect();
        self.noted(node, run, |heard| heard.holds = holds);
    }

    /// That agent says whom it hears.
    pub fn peers(&self, node: &NodeId, run: u64, view: &v1::PeerView) {
        let alive = view.peers.iter().filter(|peer| peer.alive);
        let hears = alive.filter_map(|peer| peer.node.parse().ok()).collect();
        self.noted(node, run, |heard| heard.hears = hears);
    }

    /// How it stands, if these nodes are left out.
    pub fn look(&self, without: &BTreeSet<NodeId>) -> v1::RecoveryState {
        let outlook = self.outlook(without);
        wire::state(&self.base, &outlook)
    }

    /// Carries out the plan that was looked at.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn finish(
        &self,
        without: &BTreeSet<NodeId>,
        digest: &str,
        by: &str,
    ) -> Result<v1::RecoveryFinished, Status> {
        if *self.finished.borrow() {
            return Err(Status::unavailable("it was finished already"));
        }
        let plan = self.outlook(without).plan.map_err(|obstacles| {
            Status::failed_precondition(format!("{}; nothing was changed", obstacles.join("; ")))
        })?;
        if wire::plan(&plan).digest != digest {
            return Err(Status::aborted(
                "what is known has changed since you looked; nothing was changed; look again",
            ));
        }
        let now = (by, self.clock.unix_ms());
        let rebirth = records(&self.begun, &plan, &self.seal, now)
            .map_err(|error| Status::internal(error.to_string()))?;
        let text = serde_json::to_vec(&rebirth).expect("plain values are JSON");
        let path = self.dirs.rebirth();
        write_atomic(&path, &text, SECRET).map_err(|error| {
            Status::internal(format!("cannot write {}: {error}", path.display()))
        })?;
        tracing::info!(by, id = %plan.id, "the recovery is finished");
        self.finished.send_replace(true);
        Ok(v1::RecoveryFinished {
            id: Some(plan.id.into()),
        })
    }

    /// Resolves when it is finished.
    pub async fn is_finished(&self) {
        let mut finished = self.finished.subscribe();
        // An error means that the sender is gone, which this very struct holds.
        let _ = finished.wait_for(|finished| *finished).await;
    }

    /// The end of an agent's session when it is finished: the leader is here, in a moment.
    pub fn dial_again(&self) -> Status {
        let own = &self.base.own;
        let leader = self.base.desired.leader_at(own);
        leader.map_or(Elsewhere::Nowhere, Elsewhere::At).status(own)
    }

    fn outlook(&self, without: &BTreeSet<NodeId>) -> Outlook {
        outlook(&self.base, &self.heard(), without, self.clock.unix_ms())
    }

    /// Notes something of an agent, unless a later run took its place.
    fn noted(&self, node: &NodeId, run: u64, note: impl FnOnce(&mut Heard)) {
        if let Some(heard) = self.heard().get_mut(node)
            && heard.started_unix_ms == run
        {
            note(heard);
        }
    }

    fn heard(&self) -> MutexGuard<'_, All> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
