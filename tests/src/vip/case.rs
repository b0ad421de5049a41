//! The faults, and which rival meets which how often.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rival::{Rival, Tracking};

/// One fault, from a well site to a well site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// The bridge drops the holder's frames; the carrier stays.
    Cut,
    /// The holder's cable is pulled: it sees that.
    LinkDown,
    /// All processes of the holder end and its cable goes, in one instant.
    Power,
    /// All processes of the daemon on the holder get SIGKILL.
    DaemonKilled,
    /// They get SIGSTOP, and SIGCONT five seconds later.
    DaemonStopped,
    /// All processes of HAProxy on the holder get SIGKILL; nobody starts it again.
    HaproxyKilled,
    /// An operator moves the address.
    Move,
    /// The proxies cannot reach each other; a client stands on each side.
    Partition,
    /// The holder loses 10 % of the packets in each direction for 60 s.
    Loss,
    /// Both proxies compute as much as they can for 60 s.
    Load,
    /// The coordinator gets SIGKILL and comes back.
    CoordinatorKilled,
    /// The coordinator is stopped; ten seconds later the holder is cut.
    CoordinatorGone,
    /// Nothing happens for 60 s: what the daemon costs.
    Idle,
}

impl Case {
    /// Every case, in the order in which they are run and shown.
    pub const ALL: [Self; 13] = [
        Self::Cut,
        Self::LinkDown,
        Self::Power,
        Self::DaemonKilled,
        Self::DaemonStopped,
        Self::HaproxyKilled,
        Self::Move,
        Self::Partition,
        Self::Loss,
        Self::Load,
        Self::CoordinatorKilled,
        Self::CoordinatorGone,
        Self::Idle,
    ];
    /// What the curve of leases is drawn from.
    pub const CURVE: [Self; 3] = [Self::Cut, Self::Loss, Self::Load];

    /// Its name on the command line and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::LinkDown => "link-down",
            Self::Power => "power",
            Self::DaemonKilled => "daemon-killed",
            Self::DaemonStopped => "daemon-stopped",
            Self::HaproxyKilled => "haproxy-killed",
            Self::Move => "move",
            Self::Partition => "partition",
            Self::Loss => "loss",
            Self::Load => "load",
            Self::CoordinatorKilled => "coordinator-killed",
            Self::CoordinatorGone => "coordinator-gone",
            Self::Idle => "idle",
        }
    }

    /// What happens, for the table.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Cut => "silent cut of the holder, and its return",
            Self::LinkDown => "link of the holder down, and up again",
            Self::Power => "power cut of the holder, and its return",
            Self::DaemonKilled => "daemon of the holder killed (SIGKILL), watched for 10 s",
            Self::DaemonStopped => "daemon of the holder stopped for 5 s (SIGSTOP), then let go on",
            Self::HaproxyKilled => "HAProxy of the holder killed (SIGKILL)",
            Self::Move => "planned move",
            Self::Partition => {
                "proxies parted for 10 s, a client on each side (the coordinator on the standby's)"
            }
            Self::Loss => "10 % of the holder's packets lost each way, 60 s",
            Self::Load => "both proxies at full load, 60 s",
            Self::CoordinatorKilled => "coordinator killed (SIGKILL), back by itself",
            Self::CoordinatorGone => "coordinator stopped, then the holder cut for 20 s",
            Self::Idle => "idle, 60 s",
        }
    }

    /// Whether it takes a minute.
    pub const fn is_long(self) -> bool {
        matches!(self, Self::Loss | Self::Load | Self::Idle)
    }

    /// Whether every taking of the address in it is a false one.
    pub const fn expects_no_move(self) -> bool {
        matches!(self, Self::Loss | Self::Load | Self::CoordinatorKilled)
    }

    /// How often a rival meets it where nothing else is said; zero: not at all.
    pub fn runs(self, rival: Rival) -> u32 {
        let (foreign, script) = match rival {
            Rival::Hamesh { .. } => (false, false),
            Rival::Keepalived { tracking, .. } => (true, tracking == Tracking::Script),
        };
        let most = if rival == Rival::HAMESH || rival == Rival::KEEPALIVED {
            15
        } else {
            5
        };
        match self {
            Self::HaproxyKilled => most,
            _ if script => 0,
            Self::CoordinatorKilled | Self::CoordinatorGone if foreign => 0,
            Self::Idle => 1,
            Self::Loss | Self::Load => 3,
            Self::Cut
            | Self::LinkDown
            | Self::Power
            | Self::DaemonKilled
            | Self::DaemonStopped
            | Self::Move
            | Self::Partition
            | Self::CoordinatorKilled
            | Self::CoordinatorGone => most,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|case| case.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is no case; there are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_reads_back_by_its_name_also_from_a_record() {
        for case in Case::ALL {
            assert_eq!(case.name().parse(), Ok(case));
            let json = serde_json::to_string(&case).expect("JSON");
            assert_eq!(json, format!("\"{}\"", case.name()));
        }
        let error = "cute".parse::<Case>().expect_err("no case");
        assert!(error.contains("cut, link-down"), "{error}");
    }

    #[test]
    fn only_hamesh_has_a_coordinator_to_lose() {
        for case in [Case::CoordinatorKilled, Case::CoordinatorGone] {
            assert_eq!(case.runs(Rival::KEEPALIVED), 0);
            assert_eq!(case.runs(Rival::HAMESH), 15);
        }
    }

    #[test]
    fn the_usual_settings_are_run_most_and_the_long_cases_least() {
        let slow: Rival = "keepalived:2s".parse().expect("a rival");
        let runs = |rival| [Case::Cut, Case::Loss, Case::Idle].map(|case| case.runs(rival));
        assert_eq!(runs(Rival::HAMESH), [15, 3, 1]);
        assert_eq!(runs(Rival::KEEPALIVED), [15, 3, 1]);
        assert_eq!(runs(slow), [5, 3, 1]);
    }

    #[test]
    fn the_script_is_tried_only_where_it_makes_a_difference() {
        let script: Rival = "keepalived:1s:script".parse().expect("a rival");
        let met = Case::ALL.into_iter().filter(|case| case.runs(script) > 0);
        assert_eq!(met.collect::<Vec<_>>(), [Case::HaproxyKilled]);
    }
}
