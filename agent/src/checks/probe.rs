//! One probe after another, each within its time.
//!
//! Guarantees: the probes of one check never overlap; no more run at once than [`Turns`] has, so
//! that a site with thousands of checks costs a node no more than its share. A probe that had to
//! wait for its turn is counted; its own time begins when it runs.

use std::sync::Arc;

use hamesh_roles::{Check, CheckKind};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::series::CheckSeries;
use super::{Outcome, command, http, tcp};

/// How many probes may wait for an answer from the network at once.
const NETWORK_AT_ONCE: usize = 128;
/// How many programs may run at once.
const COMMANDS_AT_ONCE: usize = 16;

/// The right to run a probe.
#[derive(Clone, Debug)]
pub struct Turns {
    network: Arc<Semaphore>,
    commands: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            network: Arc::new(Semaphore::new(NETWORK_AT_ONCE)),
            commands: Arc::new(Semaphore::new(COMMANDS_AT_ONCE)),
        }
    }
}

/// Probes until `tell` says that nobody listens. What is watched is not probed: it ends at once.
pub async fn repeat<F: Future<Output = bool>>(
    check: &Check,
    turns: &Turns,
    series: &CheckSeries,
    tell: impl Fn(Outcome) -> F,
) {
    let queue = match &check.kind {
        CheckKind::Process(_) => return,
        CheckKind::Tcp(_) | CheckKind::Http(_) => &turns.network,
        CheckKind::Command(_) => &turns.commands,
    };
    let mut ticks = interval(check.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let due = Instant::now();
        let Ok(turn) = queue.acquire().await else {
            return;
        };
        if due.elapsed() > check.timeout {
            series.delayed.inc();
        }
        let outcome = once(check).await;
        drop(turn);
        if !tell(outcome).await {
            return;
        }
    }
}

/// Probes once, within its time.
pub async fn once(check: &Check) -> Outcome {
    let within = check.timeout;
    let late = |_| Err(format!("no answer within {within:?}"));
    match &check.kind {
        CheckKind::Process(_) => Err("is watched, not probed".to_owned()),
        CheckKind::Tcp(server) => timeout(within, tcp::probe(*server))
            .await
            .unwrap_or_else(late),
        CheckKind::Http(url) => timeout(within, http::probe(url)).await.unwrap_or_else(late),
        CheckKind::Command(line) => command::probe(line, within).await,
    }
}
