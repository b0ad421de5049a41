//! Starts and ends the checks as the assignment changes, and publishes what they say.
//!
//! Guarantees: dropping it ends every check and kills every program that one runs; results wait in
//! a bounded queue; a report changes only when a check turns.

use std::collections::BTreeMap;
use std::sync::Arc;

use hamesh_proto::ids::ClaimId;
use hamesh_roles::{Check, CheckKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::board::{Board, Turn};
use super::memory::{MemoryFile, REFRESHED};
use super::probe::{Turns, repeat};
use super::process::{UnitState, follow};
use super::series::CheckSeries;
use super::units::Systemd;
use super::{Outcome, Reports};
use crate::assignment::{Assignment, Claim};

/// How many results may wait; a check whose result finds no place waits itself.
const QUEUE: usize = 256;

type Told = (ClaimId, Arc<Check>, Outcome);

/// The checks of this node.
#[derive(Debug)]
pub struct Checks {
    assignment: watch::Receiver<Option<Arc<Assignment>>>,
    systemd: Systemd,
    memory: MemoryFile,
    series: CheckSeries,
    turns: Turns,
    board: Board,
    running: BTreeMap<ClaimId, Vec<Running>>,
    reports: watch::Sender<Reports>,
}

/// A check at work; it ends when this is dropped.
#[derive(Debug)]
struct Running {
    check: Arc<Check>,
    _task: JoinSet<()>,
}

impl Checks {
    /// The checks, and their reports: what the run before knew, for now.
    pub fn new(
        assignment: watch::Receiver<Option<Arc<Assignment>>>,
        systemd: Systemd,
        memory: MemoryFile,
        series: CheckSeries,
    ) -> (Self, watch::Receiver<Reports>) {
        let mut board = Board::new(memory.read());
        if let Some(assignment) = assignment.borrow().as_ref() {
            board.assign(&assignment.claims);
        }
        let (reports, watched) = watch::channel(board.reports());
        let checks = Self {
            assignment,
            systemd,
            memory,
            series,
            turns: Turns::default(),
            board,
            running: BTreeMap::new(),
            reports,
        };
        (checks, watched)
    }

    /// Checks until nobody listens, or nobody assigns any more.
    pub async fn run(mut self) {
        let (told, mut results) = mpsc::channel(QUEUE);
        let mut refresh = interval(REFRESHED);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.assignment.mark_changed();
        loop {
            tokio::select! {
                changed = self.assignment.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.assign(&told);
                }
                Some((claim, check, outcome)) = results.recv() => {
                    if !self.take(&claim, &check, outcome) {
                        continue;
                    }
                }
                _ = refresh.tick() => {
                    self.remember();
                    continue;
                }
                () = self.reports.closed() => return,
            }
            self.publish();
        }
    }

    fn assign(&mut self, told: &mpsc::Sender<Told>) {
        let assignment = self.assignment.borrow_and_update().clone();
        let claims = assignment.as_ref().map_or(&[][..], |found| &found.claims);
        self.board.assign(claims);
        let mut before = std::mem::take(&mut self.running);
        for claim in claims {
            let old = before.remove(&claim.id).unwrap_or_default();
            let running = self.start(claim, old, told);
            self.running.insert(claim.id.clone(), running);
        }
        for (claim, gone) in before {
            for running in gone {
                self.series.forget(&claim, &running.check);
            }
        }
    }

    /// Goes on with those of `old` that are still wanted as they are.
    fn start(
        &self,
        claim: &Claim,
        mut old: Vec<Running>,
        told: &mpsc::Sender<Told>,
    ) -> Vec<Running> {
        let mut now = Vec::new();
        for check in &claim.checks {
            let same = old.iter().position(|running| *running.check == *check);
            let running = match same {
                Some(i) => old.swap_remove(i),
                None => self.spawn(&claim.id, Arc::new(check.clone()), told.clone()),
            };
            now.push(running);
        }
        for gone in old {
            if now
                .iter()
                .all(|running| running.check.kind != gone.check.kind)
            {
                self.series.forget(&claim.id, &gone.check);
            }
        }
        now
    }

    fn spawn(&self, claim: &ClaimId, check: Arc<Check>, told: mpsc::Sender<Told>) -> Running {
        let mut task = JoinSet::new();
        let (claim, own) = (claim.clone(), Arc::clone(&check));
        let tell = move |outcome| {
            let (told, word) = (told.clone(), (claim.clone(), Arc::clone(&own), outcome));
            async move { told.send(word).await.is_ok() }
        };
        match &check.kind {
            CheckKind::Process(unit) => {
                let (state, states) = watch::channel(UnitState::Unasked);
                let (systemd, unit) = (self.systemd.clone(), unit.clone());
                task.spawn(async move { systemd.tell(&unit, &state).await });
                task.spawn(follow(states, check.every * check.rise, tell));
            }
            CheckKind::Tcp(_) | CheckKind::Http(_) | CheckKind::Command(_) => {
                let (check, turns) = (Arc::clone(&check), self.turns.clone());
                let series = self.series.clone();
                task.spawn(async move { repeat(&check, &turns, &series, tell).await });
            }
        }
        Running { check, _task: task }
    }

    /// Whether the result turned a check.
    fn take(&mut self, claim: &ClaimId, check: &Check, outcome: Outcome) -> bool {
        let Some(Turn { passing, outcome }) = self.board.take(claim, check, outcome) else {
            return false;
        };
        self.series.show(claim, check, passing);
        let subject = &check.kind;
        match outcome {
            Ok(()) => tracing::info!(CLAIM = %claim, check = %subject, "{claim}: {subject} passes"),
            Err(why) => {
                tracing::warn!(CLAIM = %claim, check = %subject, why, "{claim}: {subject} fails");
            }
        }
        true
    }

    fn publish(&mut self) {
        let reports = self.board.reports();
        let news = self.reports.send_if_modified(|before| {
            let news = *before != reports;
            *before = reports;
            news
        });
        if news {
            self.remember();
        }
    }

    fn remember(&self) {
        if let Err(error) = self.memory.write(&self.board.memory()) {
            tracing::warn!(%error, "what the checks found cannot be kept for the next run");
        }
    }
}
