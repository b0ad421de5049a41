//! What the services share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::seal::SealKey;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::tls::PeerIdentity;
use hamesh_proto::v1;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::authority::Authority;
use crate::claims::Claims;
use crate::clock::Clock;
use crate::config::Dirs;
use crate::databases::Databases;
use crate::leadership::{Leadership, Standing};
use crate::ledger::{Change, Ledger};
use crate::liveness::Verdict;
use crate::metrics::Metrics;
use crate::roles::Roles;
use crate::rotation::Progress;
use crate::sessions::Sessions;
use crate::store::Membership;
use crate::upgrade::Upgrades;
use crate::world::World;

/// The parts of a running coordinator.
#[derive(Debug)]
#[expect(missing_docs, reason = "each part's type says what it is")]
pub struct Core {
    pub site: SiteName,
    pub node: NodeId,
    /// Empty until this coordinator leads.
    pub term: OnceLock<u64>,
    pub leadership: Leadership,
    pub clock: Clock,
    pub ledger: Arc<Ledger>,
    pub authority: Authority,
    pub live: LiveCredentials,
    pub dirs: Dirs,
    /// Who keeps the store; `None`: it has no members.
    pub members: Option<Arc<dyn Membership>>,
    /// 0: the store has no certificates of ours.
    pub store_expires_unix_ms: AtomicU64,
    pub seal: SealKey,
    pub metrics: Metrics,
    pub sessions: Sessions,
    pub claims: Claims,
    pub upgrades: Upgrades,
    pub roles: Roles,
    pub databases: Databases,
    pub world: watch::Sender<Arc<World>>,
    pub verdicts: watch::Sender<Arc<BTreeMap<NodeId, Verdict>>>,
    pub rotation: watch::Sender<Progress>,
    /// Set when the site was restored elsewhere: this coordinator stops for good.
    pub outdated: watch::Sender<bool>,
    /// Set when the process is to end: long streams must end themselves.
    pub stopping: watch::Sender<bool>,
}

impl Core {
    /// The state as last read.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// This leadership's epoch; 0 before it leads.
    pub fn epoch(&self) -> u64 {
        self.term.get().copied().unwrap_or_default()
    }

    /// This leadership, as agents tell each other of it; `None`: its node has no address to name.
    pub fn own_leadership(&self) -> Option<v1::Leadership> {
        let world = self.world();
        let coordinators = world.desired.coordinators();
        let own = |at: &v1::CoordinatorEndpoint| at.node == self.node.as_str();
        Some(v1::Leadership {
            at: Some(coordinators.into_iter().find(own)?),
            incarnation: world.desired.id().incarnation,
            epoch: self.epoch(),
        })
    }

    /// Who leads, as one that does not lead tells it.
    pub fn elsewhere(&self) -> Elsewhere {
        let standing = self.leadership.standing();
        let leader = match &*standing.borrow() {
            Standing::Follows(Some(node)) => self.world().desired.leader_at(node),
            Standing::Looking
            | Standing::Follows(None)
            | Standing::Leads { .. }
            | Standing::Deposed
            | Standing::Resigned => None,
        };
        leader.map_or(Elsewhere::Nowhere, Elsewhere::At)
    }

    /// A change that somebody causes.
    pub fn change(&self, actor: impl Into<String>) -> Change {
        Change::new(actor, self.clock.unix_ms())
    }

    /// A change that the coordinator makes by itself.
    pub fn own_change(&self) -> Change {
        self.change(self.path())
    }

    /// The coordinator's SPIFFE path.
    pub fn path(&self) -> String {
        format!("coordinator/{}", self.node)
    }

    /// Counts a call of the API by its outcome.
    pub async fn counted<T>(
        &self,
        method: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let result = call.await;
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        self.metrics
            .requests
            .with_label_values(&[method, &format!("{code:?}")])
            .inc();
        result
    }

    /// Refuses a certificate that ran out on a connection that stands.
    pub fn in_force(&self, peer: &PeerIdentity) -> Result<(), Status> {
        if peer.not_after_unix_ms >= self.clock.unix_ms() {
            return Ok(());
        }
        Err(ran_out(&peer.id.principal))
    }

    /// Resolves, with the refusal, when a certificate has run out.
    pub async fn ran_out(&self, peer: &PeerIdentity) -> Status {
        self.clock.passed(peer.not_after_unix_ms).await;
        ran_out(&peer.id.principal)
    }

    /// Resolves, with the refusal, when a certificate has run out or was revoked.
    pub async fn shut_out(&self, peer: &PeerIdentity) -> Status {
        let mut world = self.world.subscribe();
        let revoked =
            world.wait_for(|world| world.desired.record.revoked.contains_key(&peer.serial));
        tokio::select! {
            refusal = self.ran_out(peer) => refusal,
            // An error means that the sender is gone, which this very struct holds.
            _ = revoked => Status::unauthenticated(format!(
                "the certificate of {} was revoked",
                peer.id.principal.path()
            )),
        }
    }

    /// Resolves when the process is to end.
    pub async fn stopped(&self) {
        // An error means that the sender is gone, which this very struct holds.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }
}

fn ran_out(principal: &Principal) -> Status {
    let next = match principal {
        Principal::Agent(node) => format!(
            "after `coordctl node re-enrol {node}` its agent trades it for a new one by itself"
        ),
        Principal::Operator(_) => "run the command again with a certificate that is valid".into(),
        Principal::Coordinator(_) => "restart that coordinator".into(),
    };
    let holder = principal.path();
    Status::unauthenticated(format!(
        "the certificate of {holder} ran out and was not renewed on this connection; {next}"
    ))
}
