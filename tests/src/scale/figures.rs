//! One size, measured.
//!
//! Pure. What the leader costs for its agents is what it costs beyond what it cost the same site
//! without them: the fixed cost of an idle coordinator, divided by more and more agents, would
//! hide what each of them costs.

use super::seen::Times;
use crate::vip::record::{Machine, Weight};

/// One size, measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Simulated agents.
    pub agents: u32,
    /// Claims that they hold together.
    pub claims: u32,
    /// How long it took until then.
    pub setup: Setup,
    /// How long was watched, in seconds.
    pub seconds: f64,
    /// Renewals in that time.
    pub renewals: usize,
    /// How long they took.
    pub times: Times,
    /// The least that was left of any lease when it was renewed, in milliseconds.
    pub least_left_ms: f64,
    /// What should not have happened.
    pub faults: Faults,
    /// The coordinator before there were agents.
    pub idle: Weight,
    /// The coordinator while it was watched.
    pub leader: Weight,
    /// Its etcd.
    pub store: Weight,
    /// Percent of one processor that the simulated agents used.
    pub agents_cpu_percent: f64,
    /// How busy the machine was when the time began.
    pub machine: Machine,
}

/// Time that the beginning took, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Setup {
    /// Until the document was applied.
    pub apply_s: f64,
    /// Then until every agent was enrolled, each with a token of its own.
    pub enrol_s: f64,
    /// Then until every agent had a session.
    pub sessions_s: f64,
    /// Then until every claim was held.
    pub held_s: f64,
}

/// What should not happen while nothing is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Leases that ran out.
    pub lapsed: u64,
    /// Claims that were let go or taken.
    pub moved: u64,
    /// Claims seen held by promises.
    pub alone: u64,
    /// Claims that nobody held at the end.
    pub not_held: u64,
    /// Datagrams that the leader's kernel dropped because its socket was full. No fault by
    /// itself: the next request is sent soon.
    pub dropped: u64,
}

impl Faults {
    /// Whether no claim was lost, moved or held without the leader.
    pub const fn none(&self) -> bool {
        self.lapsed == 0 && self.moved == 0 && self.alone == 0 && self.not_held == 0
    }
}

impl Figures {
    /// Renewals in a second.
    pub fn renewals_per_second(&self) -> f64 {
        self.renewals as f64 / self.seconds
    }

    /// CPU time of the leader for one renewal, in microseconds, and for all that goes with it: its
    /// share of the standbys' signs of life and of the sessions.
    pub fn cpu_per_renewal_us(&self) -> f64 {
        let busy = self.leader.cpu_percent - self.idle.cpu_percent;
        busy / 100.0 * 1e6 / self.renewals_per_second()
    }

    /// Memory of the leader for one agent with its claims, in KiB.
    pub fn memory_per_agent_kib(&self) -> f64 {
        (self.leader.pss_mib - self.idle.pss_mib) * 1024.0 / f64::from(self.agents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_idle_leader_costs_is_not_the_agents() {
        let weight = |cpu_percent, pss_mib| Weight {
            cpu_percent,
            pss_mib,
            ..Weight::default()
        };
        let figures = Figures {
            agents: 100,
            seconds: 10.0,
            renewals: 10_000,
            idle: weight(1.0, 20.0),
            leader: weight(6.0, 30.0),
            ..Figures::default()
        };
        assert!((figures.cpu_per_renewal_us() - 50.0).abs() < 1e-9);
        assert!((figures.memory_per_agent_kib() - 102.4).abs() < 1e-9);
    }

    #[test]
    fn a_dropped_datagram_is_no_fault_and_a_claim_that_moved_is() {
        let dropped = Faults {
            dropped: 5,
            ..Faults::default()
        };
        assert!(dropped.none());
        assert!(
            !Faults {
                moved: 1,
                ..dropped
            }
            .none()
        );
    }
}
