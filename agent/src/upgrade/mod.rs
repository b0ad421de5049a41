//! Upgrades of hamesh's own packages, as the leading coordinator orders them.
//!
//! ```text
//! session --order--> upgrade-order.json --hamesh-upgrade.path--> hamesh-upgrade.service (root)
//!                                                                      | apt-get
//! session <--outcome-- upgrade-result.json <---------------------------+
//! ```
//! Guarantees: an order is carried out once, however often it is told and whoever restarts
//! meanwhile, this agent included; what became of it is told at the end, and again at the beginning
//! of each session. An order comes by a session with a coordinator and in no other way.
//!
//! The idea: the agent may write nothing outside of its folder, and is itself restarted by what it
//! orders. So all that is known is in files, which the next run reads.
//!
//! | module | does |
//! |---|---|
//! | [`files`] | the notes between the agent and the unit |
//! | [`install`] | what the unit runs: apt, as root |

pub mod files;
pub mod install;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::v1;
use hamesh_proto::version::{self, PackageVersion};
use tokio::sync::{Notify, watch};

use crate::held::describe;
use crate::state::StateDir;
use files::Order;

/// How often the notes are looked at while an order is carried out.
const EVERY: Duration = Duration::from_millis(500);
/// How often the packages are looked at otherwise: an administrator may install some by hand.
const IDLE_EVERY: Duration = Duration::from_secs(10);

/// What the node says of its own packages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packages {
    /// Which are installed.
    pub installed: Vec<v1::Package>,
    /// Whether an order is being carried out.
    pub upgrading: bool,
}

/// The agent's side of upgrades. Clones share it.
#[derive(Clone, Debug)]
pub struct Upgrades {
    state: StateDir,
    packages: watch::Sender<Packages>,
    outcome: watch::Sender<Option<v1::UpgradeOutcome>>,
    ordered: Arc<Notify>,
}

impl Upgrades {
    /// Knows what the notes say.
    pub fn new(state: StateDir) -> Self {
        let upgrades = Self {
            state,
            packages: watch::Sender::default(),
            outcome: watch::Sender::default(),
            ordered: Arc::default(),
        };
        upgrades.look();
        upgrades
    }

    /// What is installed, as it changes.
    pub fn packages(&self) -> watch::Receiver<Packages> {
        self.packages.subscribe()
    }

    /// What became of the newest order, as it changes.
    pub fn outcome(&self) -> watch::Receiver<Option<v1::UpgradeOutcome>> {
        self.outcome.subscribe()
    }

    /// Takes an order of the coordinator. `Some` is why it will not be carried out.
    pub async fn take(&self, wire: v1::UpgradeOrder) -> Option<v1::UpgradeOutcome> {
        let order = match Order::try_from(wire) {
            Ok(order) => order,
            Err((id, problem)) => return Some(refusal(id, problem)),
        };
        let (id, state) = (order.id.clone(), self.state.clone());
        let kept = tokio::task::spawn_blocking(move || files::keep(&state, &order)).await;
        match kept {
            Ok(Ok(true)) => {
                tracing::info!(order = id, "the coordinator ordered an upgrade");
                self.ordered.notify_one();
                None
            }
            Ok(Ok(false)) => None,
            Ok(Err(error)) => Some(refusal(id, describe(&error))),
            Err(panic) => Some(refusal(id, format!("writing failed: {panic}"))),
        }
    }

    /// Looks again and again, until the task is dropped.
    pub async fn run(self) {
        loop {
            let awaited = files::waits(&self.state) || self.packages.borrow().upgrading;
            let pause = if awaited { EVERY } else { IDLE_EVERY };
            tokio::select! {
                () = self.ordered.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            self.look();
        }
    }

    /// Reads the notes, and the packages' files with their versions: four small files.
    fn look(&self) {
        // Before the outcome: that is written before the order ends.
        let upgrading = files::under_way(&self.state);
        let outcome = files::outcome(&self.state).map(v1::UpgradeOutcome::from);
        self.outcome.send_if_modified(|known| {
            let news = *known != outcome;
            known.clone_from(&outcome);
            news
        });
        let package = |(name, version): (&str, PackageVersion)| v1::Package {
            name: name.to_owned(),
            version: version.to_string(),
        };
        let now = Packages {
            installed: version::installed().into_iter().map(package).collect(),
            upgrading,
        };
        self.packages.send_if_modified(|known| {
            let news = *known != now;
            known.clone_from(&now);
            news
        });
    }
}

fn refusal(order: String, problem: String) -> v1::UpgradeOutcome {
    tracing::error!(
        order,
        problem,
        "an ordered upgrade is not carried out: {problem}"
    );
    v1::UpgradeOutcome {
        order,
        problem: format!("the agent did not pass the order on: {problem}"),
        said: Vec::new(),
    }
}
