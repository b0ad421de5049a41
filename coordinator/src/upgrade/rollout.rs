//! Carries an upgrade out, one node after the other.
//!
//! Guarantees: a node is given its order only when everything that is meant is alive and the node
//! before is well; it ends with the caller, with this leadership and with the first thing that goes
//! wrong, and then touches nothing else. A node that has its order by then carries it out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::tls::PeerIdentity;
use hamesh_proto::v1;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::Order;
use super::gate::{Lack, held, lack};
use super::observe::observe;
use super::plan::{Desired, Observed, Refused, Step, Written, plan};
use crate::core::Core;
use crate::ledger::{CommitError, EventKind};

/// How long a node may take from its order until it says what became of it: apt may wait for
/// another apt, and fetch from far away.
const INSTALL: Duration = Duration::from_secs(15 * 60);
/// How long a node may take until it is well again, and how long one that was well may be away
/// before the next step.
const RECOVERY: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Lines of a node's own words in an answer, whose place is a header.
const SAID: usize = 5;
/// Between two lines about what is waited for.
const TELL: Duration = Duration::from_secs(5);

/// See the module.
pub struct Rollout {
    /// What the services share.
    pub core: Arc<Core>,
    /// In which format the store's records are.
    pub written: Written,
    /// What is wanted.
    pub desired: Desired,
    /// SPIFFE path of who asked.
    pub actor: String,
    /// The same, by certificate.
    pub peer: PeerIdentity,
    /// Where it is told how it goes.
    pub sender: mpsc::Sender<Result<v1::UpgradeProgress, Status>>,
    /// Whether another leader began it.
    pub resumed: bool,
}

/// Why it ended before its end.
enum Stopped {
    Refused(Refused),
    /// The node said why.
    Failed(NodeId, v1::UpgradeOutcome),
    /// The node said nothing for so long.
    Silent(NodeId),
    Unwell(NodeId, Lack),
    Event(CommitError),
    /// Nobody listens any more.
    Left,
    /// The caller may not any more.
    ShutOut(Status),
    /// This coordinator does not lead any more, or stops: another one goes on.
    Over(Status),
}

/// Says what is waited for when that is news, and not too often.
struct Waiting {
    told: String,
    at: Instant,
}

impl Rollout {
    /// To the end, whatever that is; the caller and the event log are told.
    pub async fn run(self) {
        let Err(stopped) = self.all().await else {
            return;
        };
        let status = stopped.status();
        if stopped.is_failure() {
            let text = format!(
                "upgrade to {} stopped: {}",
                self.desired.target,
                status.message()
            );
            // Who asked is told anyway.
            let _ = self
                .event(EventKind::UpgradeFailed, None, first_line(&text))
                .await;
        }
        let _ = self.sender.send(Err(status)).await;
    }

    async fn all(&self) -> Result<(), Stopped> {
        let patience = if self.resumed {
            RECOVERY
        } else {
            Duration::ZERO
        };
        let (observed, mut left) = self.steps(patience).await?;
        let held = held(&observed);
        let target = &self.desired.target;
        if !left.is_empty() && !self.resumed {
            let text = format!("upgrade of {} nodes to {target}", left.len());
            self.event(EventKind::UpgradeStarted, None, text).await?;
        }
        let mut number = 0;
        while let Some(step) = left.first() {
            number += 1;
            let place = (number, number + left.len() - 1);
            self.take(step, place, &held).await?;
            left = self.steps(RECOVERY).await?.1;
        }
        if number > 0 || self.resumed {
            let text = format!("every node that was meant runs {target}");
            self.event(EventKind::UpgradeDone, None, text).await?;
        }
        self.tell(v1::UpgradeProgress {
            phase: "finished".to_owned(),
            done: true,
            ..v1::UpgradeProgress::default()
        })
        .await
    }

    /// What is left to do, as soon as it can be done; and the site that it was planned on.
    async fn steps(&self, patience: Duration) -> Result<(Observed, Vec<Step>), Stopped> {
        let (begun, mut waiting) = (Instant::now(), Waiting::new());
        loop {
            let observed = observe(&self.core).await;
            let refused = match plan(&observed, &self.desired, &self.written) {
                Ok(steps) => return Ok((observed, steps)),
                Err(refused) => refused,
            };
            let at_work = refused.is_work_in_progress() && !patience.is_zero();
            if begun.elapsed() >= if at_work { INSTALL } else { patience } {
                return Err(Stopped::Refused(refused));
            }
            if let Some(text) = waiting.news(refused.to_string()) {
                let phase = "waits".to_owned();
                self.tell(v1::UpgradeProgress {
                    phase,
                    text,
                    ..Default::default()
                })
                .await?;
            }
            self.pause().await?;
        }
    }

    /// One node, from its order until it is well.
    async fn take(
        &self,
        step: &Step,
        (number, of): (usize, usize),
        held: &BTreeSet<ClaimId>,
    ) -> Result<(), Stopped> {
        let (node, target) = (&step.node, &self.desired.target);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let progress = |phase: &str, text: String| v1::UpgradeProgress {
            phase: phase.to_owned(),
            node: node.to_string(),
            number: count(number),
            of: count(of),
            text,
            done: false,
        };
        self.tell(progress("begins", String::new())).await?;
        let text = format!("{node} is upgraded to {target}, {number} of {of}");
        self.event(EventKind::UpgradeStep, Some(node), text).await?;
        let order = Order::new(target.clone());
        let _standing = self.core.upgrades.order(node, order.clone());
        let begun = Instant::now();
        loop {
            match self.core.upgrades.outcome(node, &order) {
                Some(outcome) if outcome.problem.is_empty() => break,
                Some(outcome) => return Err(Stopped::Failed(node.clone(), outcome)),
                None if begun.elapsed() >= INSTALL => return Err(Stopped::Silent(node.clone())),
                None => self.pause().await?,
            }
        }
        let (begun, mut waiting) = (Instant::now(), Waiting::new());
        while let Some(lack) = lack(node, &observe(&self.core).await, target, held) {
            if begun.elapsed() >= RECOVERY {
                return Err(Stopped::Unwell(node.clone(), lack));
            }
            if let Some(text) = waiting.news(lack.to_string()) {
                self.tell(progress("waits", text)).await?;
            }
            self.pause().await?;
        }
        self.tell(progress("done", String::new())).await
    }

    /// Waits a moment, or learns that it is over.
    async fn pause(&self) -> Result<(), Stopped> {
        let core = &self.core;
        tokio::select! {
            () = sleep(LOOK) => Ok(()),
            () = self.sender.closed() => Err(Stopped::Left),
            () = core.stopped() => Err(Stopped::Over(Status::unavailable(
                "this coordinator stops",
            ))),
            () = core.leadership.lapsed() => {
                Err(Stopped::Over(core.elsewhere().status(&core.node)))
            }
            refusal = core.shut_out(&self.peer) => Err(Stopped::ShutOut(refusal)),
        }
    }

    async fn tell(&self, progress: v1::UpgradeProgress) -> Result<(), Stopped> {
        let sent = self.sender.send(Ok(progress)).await;
        sent.map_err(|_| Stopped::Left)
    }

    async fn event(
        &self,
        kind: EventKind,
        node: Option<&NodeId>,
        text: String,
    ) -> Result<(), Stopped> {
        let change = self.core.change(self.actor.clone()).event(kind, node, text);
        self.core
            .ledger
            .commit(change)
            .await
            .map_err(Stopped::Event)
    }
}

impl Waiting {
    fn new() -> Self {
        let (told, at) = (String::new(), Instant::now());
        Self { told, at }
    }

    fn news(&mut self, text: String) -> Option<String> {
        if self.told == text || self.at.elapsed() < TELL {
            return None;
        }
        self.told.clone_from(&text);
        self.at = Instant::now();
        Some(text)
    }
}

impl Stopped {
    /// Whether people should hear of it later, too.
    fn is_failure(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Failed(..)
            | Self::Silent(_)
            | Self::Unwell(..)
            | Self::Left
            | Self::ShutOut(_) => true,
            Self::Event(_) | Self::Over(_) => false,
        }
    }

    /// What the caller is told. Each says what was left alone, and what to do.
    fn status(&self) -> Status {
        const NEXT: &str = "no other node was touched; mend that and run the command again: it \
                            goes on where it stopped";
        let failed = |text: String| Status::failed_precondition(text);
        match self {
            Self::Refused(refused) => failed(format!("{refused}; {NEXT}")),
            Self::Failed(node, outcome) => {
                let last = outcome.said.len().saturating_sub(SAID);
                let said = outcome.said[last..].iter().map(|it| format!("\n  {it}"));
                let said: String = said.collect();
                let problem = &outcome.problem;
                failed(format!(
                    "{node} was not upgraded: {problem}; {NEXT}; on {node}, `journalctl --unit \
                     hamesh-upgrade` has it all; it said last:{said}"
                ))
            }
            Self::Silent(node) => failed(format!(
                "{node} did not say within {} min what became of its order, and may still carry \
                 it out: look at `systemctl status hamesh-upgrade.path hamesh-upgrade` on it; \
                 {NEXT}",
                INSTALL.as_secs() / 60
            )),
            Self::Unwell(node, lack) => failed(format!(
                "{node} has the packages, but after {} s: {lack}; {NEXT}",
                RECOVERY.as_secs()
            )),
            Self::Event(error) => Status::unavailable(error.to_string()),
            Self::Left => Status::cancelled("whoever asked for it is gone"),
            Self::ShutOut(status) | Self::Over(status) => status.clone(),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
