//! Estimates how far this node's wall clock is from its peers'. For people only: nothing is
//! decided by it.
//!
//! Idea: every gossip datagram carries its sender's clock. What the network and a busy machine add
//! is never negative, so the smallest difference of the last [`WINDOW`] is the nearest to the
//! truth, and the median over the peers shrugs off those whose own clock is wrong.
//!
//! Absent: correction for the network's delay (well under a millisecond inside a site).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use hamesh_proto::ids::NodeId;

/// How far back differences count.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The window is kept as the minima of slices of this length, to bound what is remembered.
const SLICE: Duration = Duration::from_secs(10);

/// The newest differences between this node's clock and each peer's.
#[derive(Debug, Default)]
pub struct ClockOffsets {
    peers: BTreeMap<NodeId, VecDeque<Slice>>,
}

/// This node's clock against the median of its peers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Positive: this node is ahead.
    pub ms: i64,
    /// Of how many peers it is the median.
    pub peers: u32,
}

#[derive(Debug)]
struct Slice {
    began: Instant,
    smallest_ms: i64,
}

impl ClockOffsets {
    /// Notes one datagram: the receiver's clock minus the clock it carried.
    pub fn record(&mut self, peer: &NodeId, difference_ms: i64, now: Instant) {
        let slices = self.peers.entry(peer.clone()).or_default();
        match slices.back_mut() {
            Some(slice) if now.saturating_duration_since(slice.began) < SLICE => {
                slice.smallest_ms = slice.smallest_ms.min(difference_ms);
            }
            Some(_) | None => {
                slices.push_back(Slice {
                    began: now,
                    smallest_ms: difference_ms,
                });
                slices.retain(|slice| now.saturating_duration_since(slice.began) < WINDOW);
            }
        }
    }

    /// Forgets every peer that is no longer a member.
    pub fn retain(&mut self, is_member: impl Fn(&NodeId) -> bool) {
        self.peers.retain(|node, _| is_member(node));
    }

    /// The median over the peers heard within the window; `None` when there are none.
    pub fn offset(&self, now: Instant) -> Option<Offset> {
        let mut each: Vec<i64> = self
            .peers
            .values()
            .filter_map(|slices| {
                slices
                    .iter()
                    .filter(|slice| now.saturating_duration_since(slice.began) < WINDOW)
                    .map(|slice| slice.smallest_ms)
                    .min()
            })
            .collect();
        each.sort_unstable();
        let upper = *each.get(each.len() / 2)?;
        let lower = each[(each.len() - 1) / 2];
        let ms = i64::midpoint(lower, upper);
        Some(Offset {
            ms,
            peers: u32::try_from(each.len()).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a node name")
    }

    #[test]
    fn the_smallest_difference_of_a_peer_counts_and_the_median_over_peers() {
        let now = Instant::now();
        let mut clocks = ClockOffsets::default();
        assert_eq!(clocks.offset(now), None);
        for (peer, differences) in [("a", [250, 31, 90]), ("b", [33, 40, 35]), ("c", [9000; 3])] {
            for difference in differences {
                clocks.record(&node(peer), difference, now);
            }
        }
        assert_eq!(clocks.offset(now), Some(Offset { ms: 33, peers: 3 }));
    }

    #[test]
    fn a_peer_that_fell_silent_stops_counting() {
        let now = Instant::now();
        let mut clocks = ClockOffsets::default();
        clocks.record(&node("a"), -500, now);
        clocks.record(&node("b"), 10, now + Duration::from_secs(50));
        let later = now + WINDOW;
        assert_eq!(clocks.offset(later), Some(Offset { ms: 10, peers: 1 }));
    }

    #[test]
    fn what_is_remembered_of_a_peer_is_bounded() {
        let now = Instant::now();
        let mut clocks = ClockOffsets::default();
        for second in 0..1000 {
            clocks.record(
                &node("a"),
                second,
                now + Duration::from_secs(second.unsigned_abs()),
            );
        }
        assert!(clocks.peers[&node("a")].len() <= 6);
        let last = now + Duration::from_secs(999);
        assert_eq!(clocks.offset(last), Some(Offset { ms: 940, peers: 1 }));
    }
}
