//! What may happen to the leaders of a claim, and sequences of it.

use proptest::prelude::{Just, any, prop_oneof};
use proptest::strategy::Strategy;

/// What may happen to the leader.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// So many milliseconds pass.
    Pass(u64),
    /// A node wants the claim.
    Acquire(usize),
    /// A node renews the latest grant that it was given; it may have run out on the way.
    Renew(usize),
    /// A node gives back the grant before its last so many; its fence closed long ago.
    GiveBack { node: usize, back: usize },
    /// A node acknowledges the newest group.
    Acknowledge(usize),
    /// A node tells that it left the coordinators of before the restore, and whether it is closed.
    /// Once it was, it is: anything else was said before.
    Tell { node: usize, closed: bool },
    /// A node has met a higher epoch.
    HigherEpoch(usize),
    /// The leader loses its leadership; another one begins.
    Lead,
    /// The leader does not renew its leadership any more.
    Stall,
    /// The site wants leases of this length.
    Ttl(u64),
    /// What was to be persisted is in the store.
    Persisted,
    /// An operator adds a member.
    Join,
    /// An operator wants the worker evicted, or no more.
    Evict(bool),
    /// A peer answers the ask before the last so many, now.
    Consent { peer: usize, back: usize },
    /// A consent that was given before arrives again.
    ConsentAgain(usize),
}

/// A sequence of events, for an exclusive claim or a worker's.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) worker: bool,
    /// Whether its leaders begin with a backup.
    pub(super) restored: bool,
    pub(super) inputs: Vec<Input>,
}

/// Sequences of events.
pub fn cases() -> impl Strategy<Value = Case> {
    let case = |worker, restored| {
        move |inputs| Case {
            worker,
            restored,
            inputs,
        }
    };
    prop_oneof![
        4 => proptest::collection::vec(exclusive(), 1..60).prop_map(case(false, false)),
        1 => proptest::collection::vec(exclusive(), 1..60).prop_map(case(false, true)),
        2 => proptest::collection::vec(eviction(), 1..60).prop_map(case(true, false)),
    ]
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => prop_oneof![Just(1_u64), Just(40), Just(130)],
        2 => Just(390_u64),
        1 => Just(950),
        1 => Just(2100),
    ]
}

/// What happens to a claim that any of a group may hold: `a` and `b`, then also `c`.
fn exclusive() -> impl Strategy<Value = Input> {
    let node = || prop_oneof![4 => 0_usize..2, 1 => Just(2_usize)];
    prop_oneof![
        8 => span().prop_map(Input::Pass),
        8 => node().prop_map(Input::Acquire),
        4 => node().prop_map(Input::Renew),
        2 => (node(), 0_usize..3).prop_map(|(node, back)| Input::GiveBack { node, back }),
        3 => node().prop_map(Input::Acknowledge),
        3 => (node(), any::<bool>()).prop_map(|(node, closed)| Input::Tell { node, closed }),
        1 => node().prop_map(Input::HigherEpoch),
        2 => Just(Input::Lead),
        1 => Just(Input::Stall),
        3 => prop_oneof![Just(200_u64), Just(350), Just(900)].prop_map(Input::Ttl),
        4 => Just(Input::Persisted),
        1 => Just(Input::Join),
    ]
}

/// What happens to a worker's claim, whose peers are `a`, `b` and `c`.
fn eviction() -> impl Strategy<Value = Input> {
    let peer = || 0_usize..3;
    prop_oneof![
        8 => span().prop_map(Input::Pass),
        1 => Just(Input::Acquire(0)),
        1 => Just(Input::Renew(0)),
        1 => Just(Input::Lead),
        2 => Just(Input::Persisted),
        5 => any::<bool>().prop_map(Input::Evict),
        6 => (peer(), 0_usize..3).prop_map(|(peer, back)| Input::Consent { peer, back }),
        6 => peer().prop_map(Input::ConsentAgain),
    ]
}
