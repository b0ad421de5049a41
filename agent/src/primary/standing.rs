//! Whether Patroni may take part without a lease. Pure.
//!
//! ```text
//!          a lease                the lease is over
//!   clear ----------> under lease -----------------> suspect --+ killed, every few seconds
//!     ^                    ^                          |   | ^  |
//!     |                    +--------- a lease --------+   | +--+
//!     +------------ another process, or none -------------+
//! ```
//! Patroni 3.0.2 puts its leader key without a compare when it believes to lead, from what it read
//! before. So one that led under a lease which is over is kept from etcd (by the fence, which the
//! end of the lease closed) until it is another process. A process that is gone is fine, too: the
//! next one has read nothing yet.

use std::time::Duration;

use hamesh_claims::Moment;

use super::processes::Process;

/// A process that was told to end is told again after this.
const AGAIN: Duration = Duration::from_secs(2);

/// What is known of Patroni's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It never led in this boot, or has begun anew since.
    Clear,
    /// A lease is live, or was when this agent started.
    UnderLease,
    /// The lease is over, and this process may believe otherwise.
    Suspect {
        /// Patroni, as it was when that was seen.
        patroni: Option<Process>,
        /// When it was last told to end.
        told: Option<Moment>,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// Patroni is to be killed.
    Kill,
}

impl Standing {
    /// Where an agent that starts finds itself: whether a node led in this boot, whether the fence
    /// is open to it under a lease, and whether Patroni may take part already.
    pub fn at_start(led: bool, leased: bool, stands_by: bool) -> Self {
        match (led, leased, stands_by) {
            (_, true, _) => Self::UnderLease,
            (false, false, _) | (true, false, true) => Self::Clear,
            (true, false, false) => Self::Suspect {
                patroni: None,
                told: None,
            },
        }
    }

    /// Takes in whether a lease is live, and which process Patroni is.
    pub fn observe(&mut self, leased: bool, patroni: Option<Process>, now: Moment) -> Act {
        if leased {
            *self = Self::UnderLease;
            return Act::None;
        }
        if *self == Self::UnderLease {
            *self = Self::Suspect {
                patroni,
                told: None,
            };
        }
        let Self::Suspect {
            patroni: suspect,
            told,
        } = self
        else {
            return Act::None;
        };
        // An agent that has just started does not know which one led.
        let suspect = *suspect.get_or_insert(match patroni {
            Some(process) => process,
            None => {
                *self = Self::Clear;
                return Act::None;
            }
        });
        if patroni != Some(suspect) {
            *self = Self::Clear;
            return Act::None;
        }
        if told.is_some_and(|at| now.since(at) < AGAIN) {
            return Act::None;
        }
        *told = Some(now);
        Act::Kill
    }

    /// Whether Patroni may take part without a lease.
    pub fn is_clear(&self) -> bool {
        *self == Self::Clear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Option<Process> {
        Some(Process { pid, started: 7 })
    }

    fn at(seconds: u64) -> Moment {
        Moment::ZERO.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn who_never_led_takes_part() {
        let mut standing = Standing::at_start(false, false, false);
        assert_eq!(standing.observe(false, process(1), at(0)), Act::None);
        assert!(standing.is_clear());
    }

    #[test]
    fn who_led_takes_part_as_another_process_only() {
        let mut standing = Standing::Clear;
        assert_eq!(standing.observe(true, process(1), at(0)), Act::None);
        assert!(!standing.is_clear());
        assert_eq!(standing.observe(false, process(1), at(1)), Act::Kill);
        assert_eq!(standing.observe(false, process(1), at(2)), Act::None);
        assert_eq!(
            standing.observe(false, process(1), at(3)),
            Act::Kill,
            "again"
        );
        assert!(!standing.is_clear());
        assert_eq!(standing.observe(false, process(2), at(4)), Act::None);
        assert!(standing.is_clear());
    }

    #[test]
    fn a_process_that_is_gone_when_the_lease_ends_is_no_danger() {
        let mut standing = Standing::UnderLease;
        assert_eq!(standing.observe(false, None, at(0)), Act::None);
        assert!(standing.is_clear());
    }

    #[test]
    fn a_lease_that_comes_back_ends_the_suspicion() {
        let mut standing = Standing::UnderLease;
        standing.observe(false, process(1), at(0));
        assert_eq!(standing.observe(true, process(1), at(1)), Act::None);
        assert_eq!(standing, Standing::UnderLease);
    }

    #[test]
    fn an_agent_that_starts_suspects_whoever_is_shut_out_after_leading() {
        let cases = [
            ((false, false, false), Standing::Clear),
            ((true, true, false), Standing::UnderLease),
            ((true, false, true), Standing::Clear),
        ];
        for ((led, leased, stands_by), expected) in cases {
            assert_eq!(Standing::at_start(led, leased, stands_by), expected);
        }
        let mut standing = Standing::at_start(true, false, false);
        assert_eq!(standing.observe(false, process(1), at(0)), Act::Kill);
        standing.observe(false, process(2), at(1));
        assert!(standing.is_clear());
    }
}
