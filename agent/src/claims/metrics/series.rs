//! The series of one claim, for the holder's thread: setting them takes no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hamesh_claims::Moment;
use hamesh_claims::message::Health;
use hamesh_claims::reason::CloseReason;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::REASONS;

/// Handles of the series of one claim.
#[derive(Clone, Debug)]
pub struct ClaimSeries {
    pub(super) holding: IntGauge,
    pub(super) alone: IntGauge,
    pub(super) break_glass: IntGauge,
    pub(super) able: IntGauge,
    pub(super) health: IntGauge,
    pub(super) renewals: Histogram,
    pub(super) transitions: [IntCounter; REASONS.len()],
    pub(super) lapses: IntCounter,
    pub(super) duplicates: IntGauge,
    pub(super) rivals: IntCounter,
    pub(super) deadline: Arc<AtomicU64>,
}

impl ClaimSeries {
    /// The fence was opened until then.
    pub fn opened(&self, until: Moment) {
        self.holding.set(1);
        self.transitions[0].inc();
        self.armed(until);
    }

    /// The fence's deadline was moved.
    pub fn armed(&self, until: Moment) {
        self.deadline.store(until.nanos(), Ordering::Relaxed);
    }

    /// The fence was closed.
    pub fn closed(&self, why: &CloseReason) {
        self.shut();
        let at = match why {
            CloseReason::Lapsed => 1,
            CloseReason::FenceLost => 2,
            CloseReason::Yielded(_) => 3,
            CloseReason::LeftGroup => 4,
            CloseReason::Stopping => 5,
        };
        self.transitions[at].inc();
    }

    /// The claim was opened by hand, or closed again.
    pub fn break_glass(&self, open: bool) {
        self.break_glass.set(i64::from(open));
        if open {
            self.transitions[6].inc();
        }
    }

    /// Nothing is held any more.
    pub fn shut(&self) {
        self.holding.set(0);
        self.alone.set(0);
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Whether it is held by promises.
    pub fn alone(&self, alone: bool) {
        self.alone.set(i64::from(alone));
    }

    /// Whether the fence can be opened.
    pub fn able(&self, able: bool) {
        self.able.set(i64::from(able));
    }

    /// How well the node could serve.
    pub fn health(&self, health: Health) {
        self.health.set(match health {
            Health::Healthy => 2,
            Health::Degraded => 1,
            Health::Failed => 0,
        });
    }

    /// A fence closed before it was renewed.
    pub fn lapsed(&self) {
        self.lapses.inc();
    }

    /// A renewal was granted after this.
    pub fn renewed(&self, after: Duration) {
        self.renewals.observe(after.as_secs_f64());
    }

    /// How many others answered lately.
    pub fn duplicates(&self, others: usize) {
        self.duplicates
            .set(i64::try_from(others).unwrap_or(i64::MAX));
    }

    /// Another spoke as the owner.
    pub fn rival(&self) {
        self.rivals.inc();
    }
}
