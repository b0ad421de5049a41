//! How much of the peers the session tells: everything now and then, life and death at once.

use std::time::Duration;

use hamesh_proto::v1;
use tokio::time::Instant;

use crate::gossip::PeersView;

/// How often the peers' facts are told; their life and death are told at once.
const PEERS_IN_FULL_EVERY: Duration = Duration::from_secs(30);

/// Decides that.
#[derive(Debug, Default)]
pub(super) struct Teller {
    in_full_at: Option<Instant>,
    lives: Vec<(String, bool)>,
}

impl Teller {
    pub fn tell(&mut self, view: &PeersView, now: Instant) -> Option<v1::PeerView> {
        let lives = view
            .iter()
            .map(|(node, peer)| (node.to_string(), peer.alive))
            .collect();
        let in_full = self
            .in_full_at
            .is_none_or(|at| now - at >= PEERS_IN_FULL_EVERY);
        if !in_full && self.lives == lives {
            return None;
        }
        if in_full {
            self.in_full_at = Some(now);
        }
        self.lives = lives;
        let peers = view.iter().map(|(node, peer)| v1::Peer {
            node: node.to_string(),
            alive: peer.alive,
            facts: peer.facts.clone().filter(|_| in_full),
        });
        Some(v1::PeerView {
            peers: peers.collect(),
        })
    }
}
