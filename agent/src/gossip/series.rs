//! What gossip tells Prometheus.
//!
//! Every series exists from the start, also those of reasons that never occurred.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::peers::Ignored;
use crate::metrics::Registering;

/// Handles of gossip's series.
#[derive(Debug)]
pub struct GossipSeries {
    members: IntGaugeVec,
    datagrams: IntCounterVec,
    bytes: IntCounterVec,
    rejected: IntCounterVec,
    facts_rejected: IntCounterVec,
    /// How often gossip had to be started again after it stopped by itself.
    pub restarts: IntCounter,
}

/// Reasons for which a datagram is dropped, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// No sealed datagram of this layout.
    Malformed,
    /// Sealed with a key that is not in the ring.
    UnknownKey,
    /// Not sealed by a member of this site.
    Unauthenticated,
    /// Opened, but no frame.
    BadFrame,
    /// Of a sender, or to an address, that is not a member's.
    NotMember,
    /// From another address than the member's own.
    WrongAddress,
    /// Seen before.
    Replayed,
    /// A half whose other half is missing.
    Unpaired,
    /// No chitchat message.
    BadMessage,
    /// Too large to be sent.
    TooLarge,
    /// The socket would not take it now.
    SendBusy,
    /// The kernel refused it.
    SendFailed,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Dropped; 12] = [
        Dropped::Malformed,
        Dropped::UnknownKey,
        Dropped::Unauthenticated,
        Dropped::BadFrame,
        Dropped::NotMember,
        Dropped::WrongAddress,
        Dropped::Replayed,
        Dropped::Unpaired,
        Dropped::BadMessage,
        Dropped::TooLarge,
        Dropped::SendBusy,
        Dropped::SendFailed,
    ];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Dropped::Malformed => "malformed",
            Dropped::UnknownKey => "unknown_key",
            Dropped::Unauthenticated => "unauthenticated",
            Dropped::BadFrame => "bad_frame",
            Dropped::NotMember => "not_member",
            Dropped::WrongAddress => "wrong_address",
            Dropped::Replayed => "replayed",
            Dropped::Unpaired => "unpaired",
            Dropped::BadMessage => "bad_message",
            Dropped::TooLarge => "too_large",
            Dropped::SendBusy => "send_busy",
            Dropped::SendFailed => "send_failed",
        }
    }
}

/// Which way a datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of this node.
    Sent,
    /// Into this node; counted before it is judged.
    Received,
}

impl Direction {
    const ALL: [Direction; 2] = [Direction::Sent, Direction::Received];

    fn label(self) -> &'static str {
        match self {
            Direction::Sent => "sent",
            Direction::Received => "received",
        }
    }
}

impl GossipSeries {
    pub(crate) fn new(new: &Registering<'_>) -> prometheus::Result<Self> {
        let series = Self {
            members: new.int_gauges("gossip_members", "Peers by liveness.", "state")?,
            datagrams: new.counters(
                "gossip_datagrams_total",
                "Gossip datagrams by direction; received ones before they are judged.",
                "direction",
            )?,
            bytes: new.counters(
                "gossip_bytes_total",
                "Bytes of gossip datagrams by direction.",
                "direction",
            )?,
            rejected: new.counters(
                "gossip_rejected_total",
                "Gossip datagrams that were dropped, by reason.",
                "reason",
            )?,
            facts_rejected: new.counters(
                "facts_rejected_total",
                "Facts of peers that were ignored, by reason.",
                "reason",
            )?,
            restarts: new.counter(
                "gossip_restarts_total",
                "Starts of gossip after it had stopped by itself.",
            )?,
        };
        series.touch();
        Ok(series)
    }

    /// Tells how many peers live.
    pub fn members(&self, alive: usize, dead: usize) {
        for (state, number) in [("alive", alive), ("dead", dead)] {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            self.members.with_label_values(&[state]).set(number);
        }
    }

    /// Counts one datagram.
    pub fn datagram(&self, direction: Direction, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.datagrams.with_label_values(&[direction.label()]).inc();
        self.bytes
            .with_label_values(&[direction.label()])
            .inc_by(bytes);
    }

    /// Counts one datagram that was dropped.
    pub fn dropped(&self, reason: Dropped) {
        self.rejected.with_label_values(&[reason.label()]).inc();
    }

    /// How many datagrams were dropped for a reason so far.
    pub fn dropped_so_far(&self, reason: Dropped) -> u64 {
        self.rejected.with_label_values(&[reason.label()]).get()
    }

    /// Counts facts that were ignored.
    pub fn ignored(&self, reason: Ignored) {
        self.facts_rejected
            .with_label_values(&[reason.label()])
            .inc();
    }

    /// How many facts were ignored for a reason so far.
    pub fn ignored_so_far(&self, reason: Ignored) -> u64 {
        self.facts_rejected
            .with_label_values(&[reason.label()])
            .get()
    }

    fn touch(&self) {
        self.members(0, 0);
        for direction in Direction::ALL {
            self.datagrams.with_label_values(&[direction.label()]);
            self.bytes.with_label_values(&[direction.label()]);
        }
        for reason in Dropped::ALL {
            self.rejected.with_label_values(&[reason.label()]);
        }
        for reason in Ignored::ALL {
            self.facts_rejected.with_label_values(&[reason.label()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_label_of_its_own() {
        let labels: std::collections::BTreeSet<_> = Dropped::ALL.map(Dropped::label).into();
        assert_eq!(labels.len(), Dropped::ALL.len());
    }
}
