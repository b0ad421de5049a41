//! Has the HAProxy of this node send nothing new to nodes that operators drained.
//!
//! Where there is no such HAProxy there is no socket, and nothing is done. HAProxy is asked for as
//! long as a node is drained, and not at all else.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use tokio::sync::watch;
use tokio::time::sleep;

use super::drains::{Drains, Look};
use super::marker::SOCKET;
use super::runtime::ask;
use super::series::DrainSeries;
use super::servers;

/// Between two looks: for so long at most a reload of HAProxy undoes a drain, beside the time of
/// its first checks.
pub const EVERY: Duration = Duration::from_millis(500);

/// Drains servers.
#[derive(Debug)]
pub struct Drainer {
    /// Where HAProxy listens.
    pub socket: PathBuf,
    /// Whose servers.
    pub drained: watch::Receiver<Arc<BTreeSet<NodeId>>>,
    /// Gauges.
    pub series: DrainSeries,
}

/// What was last told to the log, so that it is told once.
#[derive(Debug, Default)]
struct Told {
    trouble: Option<String>,
    kept: BTreeSet<(String, String)>,
}

impl Drainer {
    /// That of this machine's proxy.
    pub fn here(drained: watch::Receiver<Arc<BTreeSet<NodeId>>>, series: DrainSeries) -> Self {
        Self {
            socket: SOCKET.into(),
            drained,
            series,
        }
    }

    /// Until nobody could drain a node any more.
    pub async fn run(mut self) {
        let (mut drains, mut told) = (Drains::default(), Told::default());
        loop {
            drains.want(&Arc::clone(&self.drained.borrow_and_update()));
            if !drains.is_idle() {
                let done = self.look(&mut drains, &mut told).await;
                told.trouble(done.err());
            }
            let again = async {
                match drains.is_idle() {
                    true => std::future::pending().await,
                    false => sleep(EVERY).await,
                }
            };
            tokio::select! {
                changed = self.drained.changed() => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    async fn look(&self, drains: &mut Drains, told: &mut Told) -> Result<(), String> {
        let answer = match ask(&self.socket, servers::QUESTION).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let Look {
            switches,
            drained,
            kept,
        } = drains.look(&servers::read(&answer).ok_or(answer)?);
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.series.nothing().set(gauge(drained));
        self.series.all().set(gauge(kept.len()));
        told.kept(kept);
        for switch in switches {
            let answer = ask(&self.socket, &switch.command()).await;
            let answer = answer.map_err(|error| error.to_string())?;
            if !answer.is_empty() {
                return Err(answer);
            }
            tracing::info!(server = switch.server, "{switch}");
        }
        Ok(())
    }
}

impl Told {
    fn trouble(&mut self, trouble: Option<String>) {
        if let Some(why) = &trouble
            && self.trouble.as_ref() != Some(why)
        {
            tracing::warn!(why, "HAProxy could not be told of drained nodes: {why}");
        }
        self.trouble = trouble;
    }

    fn kept(&mut self, kept: BTreeSet<(String, String)>) {
        for (backend, server) in kept.difference(&self.kept) {
            tracing::warn!(
                server,
                "{server} is drained and goes on in {backend}: no other one is well there"
            );
        }
        self.kept = kept;
    }
}
