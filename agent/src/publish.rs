//! Says what this node is: puts its facts together, signs them, hands them on.
//!
//! Guarantees: the sequence rises with every version under one start, so that nobody can put an
//! older version in a newer one's place. A renewed certificate or a new assignment is told at once.

use std::sync::Arc;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::facts;
use hamesh_proto::v1;
use tokio::sync::watch;

use crate::assignment::Assignment;
use crate::claims::Report;
use crate::observe::Observed;
use crate::observe::system::Machine;
use crate::session::SessionState;
use crate::upgrade::Packages;
use crate::version;

/// What facts are made of and where they go.
#[derive(Debug)]
pub struct Publisher {
    /// The node's name, for the facts.
    pub node: String,
    /// Signs the facts.
    pub credentials: LiveCredentials,
    /// This run's number.
    pub start: u64,
    /// Kernel and boot.
    pub machine: Machine,
    /// What was seen.
    pub observed: watch::Receiver<Observed>,
    /// What it is among the databases.
    pub database: watch::Receiver<v1::DatabaseState>,
    /// What the node was told to be.
    pub assignment: watch::Receiver<Option<Arc<Assignment>>>,
    /// How its claims stand.
    pub claims: watch::Receiver<Report>,
    /// Whom it has a session with.
    pub session: watch::Receiver<SessionState>,
    /// Its packages of hamesh.
    pub packages: watch::Receiver<Packages>,
    /// Changes when the certificate was renewed.
    pub renewed: watch::Receiver<u64>,
    /// For the coordinator, which knows who talks to it.
    pub plain: watch::Sender<Option<v1::Facts>>,
    /// For gossip.
    pub signed: watch::Sender<Option<v1::SignedFacts>>,
}

impl Publisher {
    /// Publishes each version until an input is gone.
    pub async fn run(mut self) {
        for sequence in 1.. {
            let facts = self.facts(sequence);
            self.signed
                .send_replace(Some(facts::sign(&self.credentials.current(), &facts)));
            self.plain.send_replace(Some(facts));
            let changed = tokio::select! {
                changed = self.observed.changed() => changed,
                changed = self.database.changed() => changed,
                changed = self.assignment.changed() => changed,
                changed = self.claims.changed() => changed,
                changed = self.session.changed() => changed,
                changed = self.packages.changed() => changed,
                changed = self.renewed.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    fn facts(&mut self, sequence: u64) -> v1::Facts {
        let observed = self.observed.borrow_and_update().clone();
        let database = *self.database.borrow_and_update();
        let assignment = self.assignment.borrow_and_update().clone();
        let claims = self.claims.borrow_and_update().clone();
        let leadership = self.session.borrow_and_update().leadership.clone();
        let packages = self.packages.borrow_and_update().clone();
        self.renewed.mark_unchanged();
        v1::Facts {
            node: self.node.clone(),
            started_unix_ms: self.start,
            sequence,
            version: version().to_owned(),
            role: assignment
                .as_ref()
                .and_then(|held| held.role.clone())
                .unwrap_or_default(),
            applied: assignment.as_ref().map(|held| held.id.into()),
            proof: assignment
                .map(|held| held.proof.clone())
                .unwrap_or_default(),
            health: observed.health,
            interfaces: observed.interfaces,
            certificate_expires_unix_ms: self.credentials.current().not_after_unix_ms(),
            kernel: self.machine.kernel.clone(),
            boot_id: self.machine.boot_id.clone(),
            claims: claims.claim_reports(),
            holder_unfit: claims.unfit.unwrap_or_default(),
            leadership: leadership.as_ref().map(Into::into),
            packages: packages.installed,
            upgrading: packages.upgrading,
            database: database.into(),
        }
    }
}
