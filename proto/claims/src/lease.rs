//! Lease arithmetic: every sum of a moment and a time-to-live in hamesh is made here.
//!
//! Guarantees that whoever gave its word is bound for longer than whoever relies on it believes:
//! ```text
//!   holder    |send ------- ttl -------> stops        (fence lapses at most FENCE_LATE later)
//!   grantor       |answer ---------- 1.03 ttl + 25 ms ----------> hands on
//! ```
//! `send` is not later than `answer`, so the holder stops first for as long as two clocks drift
//! apart by no more than 3 %. The 25 ms cover what the kernel's fence may be late: a coarse timer
//! tick ([`KERNEL_TICK`], 100 Hz) and the time between the clock's reading and the fence's commit
//! ([`COMMIT_SLACK`]), and leave 5 ms over.
//! A promise obeys the same sums: who promised is the grantor, who relies on it the holder.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rules::{Rule, Rules};
use crate::time::Moment;

/// Requests that a lease has room for: an unanswered one is followed by another so soon.
pub const REQUESTS_PER_TTL: u32 = 10;
/// A holder whose renewals are answered renews this many times in each time-to-live.
const RENEWALS_PER_TTL: u32 = 4;
/// Requests in a row that stay unanswered before a coordinator is thought lost.
const UNANSWERED: u32 = 3;
/// By how much two machines' clocks may drift apart.
pub const DRIFT_PERCENT: u32 = 3;
/// What a grantor adds, beyond drift, to what a holder believes.
pub const MARGIN: Duration = Duration::from_millis(25);
/// The longest that a kernel timer is late: one tick at 100 Hz.
pub const KERNEL_TICK: Duration = Duration::from_millis(10);
/// A fence whose commit took longer than this after its clock was read is armed again.
pub const COMMIT_SLACK: Duration = Duration::from_millis(10);
/// The latest that a fence of the kernel closes after its lease has run out.
pub const FENCE_LATE: Duration = Duration::from_millis(20);

/// The times of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timing {
    /// Time-to-live of a lease, and of a promise at first.
    pub ttl: Duration,
    /// Time-to-live of a promise once no coordinator has answered for `lengthen_after`.
    pub long_promise: Duration,
    /// How long a holder lives on short promises before it asks for long ones.
    pub lengthen_after: Duration,
}

impl Timing {
    /// A claim with leases of `ttl`: promises lengthen to 30 s after 5 s.
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            long_promise: Duration::from_secs(30),
            lengthen_after: Duration::from_secs(5),
        }
    }

    /// The longest that any word given in this claim can bind: what one who forgot waits out.
    #[must_use]
    pub fn longest_word(&self) -> Duration {
        self.ttl.max(self.long_promise)
    }
}

/// Time from a renewal that was answered to the next: seven requests still fit behind it, so that
/// a lease outlives the loss of six in a row, and costs little while nothing is lost.
#[must_use]
pub fn renewal_interval(ttl: Duration) -> Duration {
    ttl / RENEWALS_PER_TTL
}

/// Time from a request that nobody answered yet to the next.
#[must_use]
pub fn retry_interval(ttl: Duration) -> Duration {
    ttl / REQUESTS_PER_TTL
}

/// Time from a standby's answered sign of life to the next: every other renewal of a holder's.
#[must_use]
pub fn standby_interval(ttl: Duration) -> Duration {
    renewal_interval(ttl) * 2
}

/// Time from the last renewal that was granted until the coordinators are thought lost: nearly half
/// of the lease is then left.
#[must_use]
pub fn lost_after(ttl: Duration) -> Duration {
    renewal_interval(ttl) + retry_interval(ttl) * UNANSWERED
}

/// Until when the asker of a request sent at `sent`, whose answer arrives at `now`, may rely on it.
#[must_use]
pub fn holder_deadline(sent: Moment, now: Moment, ttl: Duration, rules: Rules) -> Moment {
    if rules.keeps(Rule::HolderCountsFromSend) {
        sent.plus(ttl)
    } else {
        now.plus(ttl)
    }
}

/// Until when whoever answered at `answered` is bound by its word of `ttl`.
#[must_use]
pub fn grantor_deadline(answered: Moment, ttl: Duration, rules: Rules) -> Moment {
    if rules.keeps(Rule::GrantorAddsMargin) {
        answered
            .plus(ttl)
            .plus(ttl / 100 * DRIFT_PERCENT)
            .plus(MARGIN)
    } else {
        answered.plus(ttl)
    }
}

/// What is left of a lease that ends at `until`: the timeout of the kernel's fence; `None`:
/// nothing.
#[must_use]
pub fn remaining(until: Moment, now: Moment) -> Option<Duration> {
    (now < until).then(|| until.since(now))
}

/// What a driver does after it committed a fence to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The fence closes in time.
    Stands,
    /// Too long between reading the clock and the commit: arm it again with what is left now.
    Again(Duration),
    /// The lease ran out meanwhile: delete the element at once, then report the fence lost.
    Delete,
}

/// Judges a commit whose timeout was taken from the clock's reading `read`, done by `now`.
#[must_use]
pub fn after_commit(until: Moment, read: Moment, now: Moment) -> Commit {
    match remaining(until, now) {
        None => Commit::Delete,
        Some(left) if now.since(read) > COMMIT_SLACK => Commit::Again(left),
        Some(_) => Commit::Stands,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn at(n: u64) -> Moment {
        Moment::ZERO.plus(ms(n))
    }

    #[test]
    fn the_grantor_waits_for_drift_and_a_margin() {
        assert_eq!(grantor_deadline(at(1000), ms(1000), Rules::all()), at(2055));
    }

    #[test]
    fn the_margin_covers_the_latest_fence() {
        assert!(KERNEL_TICK + COMMIT_SLACK == FENCE_LATE && FENCE_LATE < MARGIN);
    }

    #[test]
    fn a_commit_is_judged_by_the_clock_after_it() {
        assert_eq!(after_commit(at(350), at(0), at(10)), Commit::Stands);
        assert_eq!(after_commit(at(350), at(0), at(11)), Commit::Again(ms(339)));
        assert_eq!(after_commit(at(350), at(0), at(350)), Commit::Delete);
    }

    #[test]
    fn nothing_is_left_at_the_deadline_itself() {
        assert_eq!(remaining(at(10), at(9)), Some(ms(1)));
        assert_eq!(remaining(at(10), at(10)), None);
    }
}
