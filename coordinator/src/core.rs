//! What the services share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::seal::SealKey;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::authority::Authority;
use crate::clock::Clock;
use crate::ledger::{Change, Ledger};
use crate::liveness::Verdict;
use crate::metrics::Metrics;
use crate::rotation::Progress;
use crate::sessions::Sessions;
use crate::world::World;

/// The parts of a running coordinator.
#[derive(Debug)]
#[expect(missing_docs, reason = "each part's type says what it is")]
pub struct Core {
    pub site: SiteName,
    pub node: NodeId,
    pub epoch: u64,
    pub clock: Clock,
    pub ledger: Arc<Ledger>,
    pub authority: Authority,
    pub live: LiveCredentials,
    /// 0: the store has no certificates of ours.
    pub store_expires_unix_ms: AtomicU64,
    pub seal: SealKey,
    pub metrics: Metrics,
    pub sessions: Sessions,
    pub world: watch::Sender<Arc<World>>,
    pub verdicts: watch::Sender<Arc<BTreeMap<NodeId, Verdict>>>,
    pub rotation: watch::Sender<Progress>,
    /// Set when the process is to end: long streams must end themselves.
    pub stopping: watch::Sender<bool>,
}

impl Core {
    /// The state as last read.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
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
