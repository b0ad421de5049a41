//! Decides whether each node is alive. Reads no clock, opens no socket.
//!
//! Guarantees: a node is called dead only when two independent signals agree, its session with
//! this coordinator and the views that the other agents report; with one of them missing it is
//! suspect or unknown. Every state carries the reason it follows from.
//!
//! ```text
//!                      session                       no session
//! most others hear it  alive                         suspect
//! most do not          suspect (settling: alive)     dead
//! nobody reports       alive                         unknown
//! ```
//!
//! Absent on purpose: anything that acts on a state. It informs people and the key rotation only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;

/// How long gossip may lag behind a session that was just opened: a joining member is heard by
/// all within a few gossip rounds of 200 ms, several times that on a machine under load.
pub const SETTLE: Duration = Duration::from_secs(10);
/// How long after its start a coordinator waits for agents to dial it again before it calls the
/// missing ones dead: several times the agents' longest pause between two attempts.
pub const START_GRACE: Duration = Duration::from_secs(15);

/// Whether a node is alive, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In the site, but no agent has enrolled under its name.
    NotEnrolled,
    /// Both signals are there, or the only one that can be looked at.
    Alive,
    /// One signal is there, the other is gone.
    Suspect,
    /// Both signals are gone.
    Dead,
    /// One signal is gone, and the other cannot be looked at.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [State; 5] = [
        State::NotEnrolled,
        State::Alive,
        State::Suspect,
        State::Dead,
        State::Unknown,
    ];

    /// The name, as metrics show it.
    pub const fn name(self) -> &'static str {
        match self {
            State::NotEnrolled => "not_enrolled",
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Dead => "dead",
            State::Unknown => "unknown",
        }
    }
}

impl From<State> for v1::NodeState {
    fn from(state: State) -> Self {
        match state {
            State::NotEnrolled => v1::NodeState::NotEnrolled,
            State::Alive => v1::NodeState::Alive,
            State::Suspect => v1::NodeState::Suspect,
            State::Dead => v1::NodeState::Dead,
            State::Unknown => v1::NodeState::Unknown,
        }
    }
}

/// Why a node is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Display says what each one means")]
pub enum Reason {
    NoAgentEnrolled,
    SessionAndGossip { seen_by: u32, seen_of: u32 },
    SessionAlone,
    SessionSettling { seen_by: u32, seen_of: u32 },
    GossipLost { seen_by: u32, seen_of: u32 },
    SessionLost { seen_by: u32, seen_of: u32 },
    BothLost { seen_by: u32, seen_of: u32 },
    JustStarted,
    NobodyReports,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgentEnrolled => f.write_str("no agent has enrolled under this name"),
            Self::SessionAndGossip { seen_by, seen_of } => {
                write!(f, "session open, heard by {seen_by} of {seen_of} others")
            }
            Self::SessionAlone => f.write_str("session open, no other agent reports a view"),
            Self::SessionSettling { seen_by, seen_of } => write!(
                f,
                "session just opened, heard by {seen_by} of {seen_of} others so far"
            ),
            Self::GossipLost { seen_by, seen_of } => {
                write!(
                    f,
                    "session open, but heard by only {seen_by} of {seen_of} others"
                )
            }
            Self::SessionLost { seen_by, seen_of } => {
                write!(f, "no session, but heard by {seen_by} of {seen_of} others")
            }
            Self::BothLost { seen_by, seen_of } => {
                write!(f, "no session, and heard by {seen_by} of {seen_of} others")
            }
            Self::JustStarted => {
                f.write_str("not heard of yet since this coordinator started just now")
            }
            Self::NobodyReports => {
                f.write_str("no session, and no other agent is there to report a view")
            }
        }
    }
}

/// What is known of one node at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Its name has an identity.
    pub enrolled: bool,
    /// How long its session has been open; `None`: there is none.
    pub session: Option<Duration>,
    /// How many other members hear it by gossip...
    pub seen_by: u32,
    /// ... of how many that report a view.
    pub seen_of: u32,
}

/// The state that follows from what is known, `since_start` of this coordinator.
pub fn judge(observed: Observed, since_start: Duration) -> (State, Reason) {
    let Observed {
        enrolled,
        session,
        seen_by,
        seen_of,
    } = observed;
    if !enrolled {
        return (State::NotEnrolled, Reason::NoAgentEnrolled);
    }
    let heard_by_most = u64::from(seen_by) * 2 > u64::from(seen_of);
    match session {
        Some(_) if seen_of == 0 => (State::Alive, Reason::SessionAlone),
        Some(_) if heard_by_most => (State::Alive, Reason::SessionAndGossip { seen_by, seen_of }),
        Some(age) if age < SETTLE => (State::Alive, Reason::SessionSettling { seen_by, seen_of }),
        Some(_) => (State::Suspect, Reason::GossipLost { seen_by, seen_of }),
        None if heard_by_most => (State::Suspect, Reason::SessionLost { seen_by, seen_of }),
        None if since_start < START_GRACE => (State::Unknown, Reason::JustStarted),
        None if seen_of == 0 => (State::Unknown, Reason::NobodyReports),
        None => (State::Dead, Reason::BothLost { seen_by, seen_of }),
    }
}

/// A node's state, with its history's last step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Since when it has been in this state, as far as this coordinator knows.
    pub since_unix_ms: u64,
    /// What it follows from.
    pub observed: Observed,
}

/// A change of state that people want to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The node.
    pub node: NodeId,
    /// Its new state.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// Remembers each node's state, and tells changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracker {
    verdicts: BTreeMap<NodeId, Verdict>,
}

impl Tracker {
    /// Judges every node of the site anew; forgets the ones that are not in it any more.
    pub fn observe(
        &mut self,
        observed: BTreeMap<NodeId, Observed>,
        since_start: Duration,
        now_unix_ms: u64,
    ) -> Vec<Transition> {
        self.verdicts.retain(|node, _| observed.contains_key(node));
        let mut transitions = Vec::new();
        for (node, observed) in observed {
            let (state, reason) = judge(observed, since_start);
            let before = self.verdicts.get(&node);
            let same = before.filter(|before| before.state == state);
            let since_unix_ms = same.map_or(now_unix_ms, |before| before.since_unix_ms);
            if worth_telling(before.map(|before| before.reason), state) {
                transitions.push(Transition {
                    node: node.clone(),
                    to: state,
                    reason,
                });
            }
            self.verdicts.insert(
                node,
                Verdict {
                    state,
                    reason,
                    since_unix_ms,
                    observed,
                },
            );
        }
        transitions
    }

    /// Every node's state.
    pub fn verdicts(&self) -> &BTreeMap<NodeId, Verdict> {
        &self.verdicts
    }
}

/// Everything but what this coordinator merely learns: a restarted coordinator that finds the site
/// as it was has nothing to tell, nor has a node's first appearance in the site.
fn worth_telling(before: Option<Reason>, to: State) -> bool {
    let from = match before {
        None => return false,
        Some(Reason::NoAgentEnrolled) => State::NotEnrolled,
        Some(Reason::SessionAndGossip { .. })
        | Some(Reason::SessionAlone)
        | Some(Reason::SessionSettling { .. }) => State::Alive,
        Some(Reason::GossipLost { .. }) | Some(Reason::SessionLost { .. }) => State::Suspect,
        Some(Reason::BothLost { .. }) => State::Dead,
        // The first thing heard of a node since this start is no change of its state.
        Some(Reason::JustStarted) => return to == State::Dead,
        Some(Reason::NobodyReports) => State::Unknown,
    };
    match (from, to) {
        // Enrolment and removal have events of their own.
        (State::NotEnrolled, State::Unknown | State::Dead | State::Suspect)
        | (_, State::NotEnrolled) => false,
        (from, to) => from != to,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn observed(session: Option<Duration>, seen_by: u32, seen_of: u32) -> Observed {
        Observed {
            enrolled: true,
            session,
            seen_by,
            seen_of,
        }
    }

    fn state(observed: Observed, since_start: Duration) -> State {
        judge(observed, since_start).0
    }

    #[test]
    fn the_table_of_states_is_this_one() {
        let (young, old) = (Some(Duration::ZERO), Some(LONG));
        for (session, seen_by, seen_of, since_start, expected) in [
            (old, 12, 12, LONG, State::Alive),
            (old, 7, 12, LONG, State::Alive),
            (old, 6, 12, LONG, State::Suspect),
            (old, 0, 12, LONG, State::Suspect),
            (young, 0, 12, LONG, State::Alive),
            (old, 0, 0, LONG, State::Alive),
            (None, 12, 12, LONG, State::Suspect),
            (None, 6, 12, LONG, State::Dead),
            (None, 0, 12, LONG, State::Dead),
            (None, 0, 12, Duration::ZERO, State::Unknown),
            (None, 12, 12, Duration::ZERO, State::Suspect),
            (None, 0, 0, LONG, State::Unknown),
            (None, 0, 0, Duration::ZERO, State::Unknown),
        ] {
            let seen = observed(session, seen_by, seen_of);
            assert_eq!(
                state(seen, since_start),
                expected,
                "{seen:?} {since_start:?}"
            );
        }
        let absent = Observed {
            enrolled: false,
            ..observed(None, 0, 12)
        };
        assert_eq!(state(absent, LONG), State::NotEnrolled);
    }

    proptest! {
        #[test]
        fn invariant_nobody_is_dead_on_one_signal(
            session: bool, seen_by in 0u32..20, others in 0u32..20, since_s in 0u64..100,
        ) {
            let seen_of = seen_by + others;
            let seen = observed(session.then_some(LONG), seen_by, seen_of);
            if state(seen, Duration::from_secs(since_s)) == State::Dead {
                prop_assert!(!session && seen_of > 0 && seen_by * 2 <= seen_of);
            }
        }
    }

    fn told(tracker: &mut Tracker, seen: Observed, since_start: Duration) -> Vec<State> {
        let node: NodeId = "node-1".parse().expect("a name");
        let transitions = tracker.observe([(node, seen)].into(), since_start, 1);
        transitions
            .into_iter()
            .map(|transition| transition.to)
            .collect()
    }

    #[test]
    fn a_death_and_a_return_are_told_once_each() {
        let mut tracker = Tracker::default();
        let (up, down) = (observed(Some(LONG), 12, 12), observed(None, 0, 12));
        assert!(told(&mut tracker, up, LONG).is_empty());
        assert_eq!(told(&mut tracker, down, LONG), [State::Dead]);
        assert!(told(&mut tracker, down, LONG).is_empty());
        assert_eq!(told(&mut tracker, up, LONG), [State::Alive]);
    }

    #[test]
    fn a_restarted_coordinator_that_finds_all_as_it_was_tells_nothing() {
        let mut tracker = Tracker::default();
        assert!(told(&mut tracker, observed(None, 0, 0), Duration::ZERO).is_empty());
        assert!(told(&mut tracker, observed(Some(LONG), 0, 0), Duration::ZERO).is_empty());
    }

    #[test]
    fn a_restarted_coordinator_tells_of_those_that_did_not_come_back() {
        let mut tracker = Tracker::default();
        assert!(told(&mut tracker, observed(None, 0, 3), Duration::ZERO).is_empty());
        assert_eq!(
            told(&mut tracker, observed(None, 0, 3), START_GRACE),
            [State::Dead]
        );
    }
}
