//! Tells the HAProxy of this node which servers' nodes died, and which lead the databases no more,
//! as soon as gossip says so.
//!
//! Where there is no such HAProxy there is no socket, and nothing is done.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hamesh_proto::ids::NodeId;
use tokio::sync::watch;

use super::leaders::{Change, Leaders};
use super::marks::{Deaths, Mark, Marks};
use super::runtime::ask;
use super::series::{MarkSeries, Outcome};
use super::servers;
use crate::gossip::PeersView;

/// The socket of an internal proxy for the agent.
pub const SOCKET: &str = "/run/haproxy/hamesh.sock";

/// Marks servers.
#[derive(Debug)]
pub struct Marker {
    /// Where HAProxy listens.
    pub socket: PathBuf,
    /// Everyone else.
    pub peers: watch::Receiver<Arc<PeersView>>,
    /// Counters.
    pub series: MarkSeries,
}

impl Marker {
    /// That of this machine's proxy.
    pub fn here(peers: watch::Receiver<Arc<PeersView>>, series: MarkSeries) -> Self {
        Self {
            socket: SOCKET.into(),
            peers,
            series,
        }
    }

    /// Until gossip is gone.
    pub async fn run(mut self) {
        let (mut deaths, mut leaders) = (Deaths::default(), Leaders::default());
        loop {
            let peers = Arc::clone(&self.peers.borrow_and_update());
            let now = Instant::now();
            let (died, change) = (deaths.observe(&peers, now), leaders.observe(&peers, now));
            if !died.is_empty() || !change.is_empty() {
                self.mark((&died, &change), &peers).await;
            }
            if self.peers.changed().await.is_err() {
                return;
            }
        }
    }

    async fn mark(&self, (died, change): (&BTreeSet<NodeId>, &Change), peers: &PeersView) {
        let servers = match ask(&self.socket, servers::QUESTION).await {
            Ok(answer) => servers::read(&answer).ok_or(answer),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(error.to_string()),
        };
        let servers = match servers {
            Ok(servers) => servers,
            Err(why) => return self.failed("its servers", &why),
        };
        let mut marks = Marks::of(died, peers, &servers);
        marks.add(change.marks(peers, &servers));
        for mark in &marks.spared {
            self.series.of(Outcome::Spared).inc();
            let why = &mark.cause;
            tracing::warn!(server = %mark, "{mark} is the last of its backend, though {why}");
        }
        for mark in &marks.down {
            self.mark_down(mark).await;
        }
    }

    async fn mark_down(&self, mark: &Mark) {
        match ask(&self.socket, &mark.command()).await {
            Ok(answer) if answer.is_empty() => {
                self.series.of(Outcome::Marked).inc();
                let why = &mark.cause;
                tracing::info!(server = %mark, %why, "{mark} is marked down: {why}");
            }
            Ok(answer) => self.failed(&mark.to_string(), &answer),
            Err(error) => self.failed(&mark.to_string(), &error.to_string()),
        }
    }

    fn failed(&self, what: &str, why: &str) {
        self.series.of(Outcome::Failed).inc();
        tracing::warn!(
            why,
            "HAProxy could not be told of {what}: its checks will find out"
        );
    }
}
