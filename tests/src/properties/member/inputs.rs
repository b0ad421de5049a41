//! What may happen to a member, and sequences of it.

use proptest::prelude::{Just, any, prop_oneof};
use proptest::strategy::Strategy;

/// What may happen to the member `a`.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// So many milliseconds pass.
    Pass(u64),
    /// A leader grants one of the last requests.
    Granted {
        back: usize,
        term: u64,
        ttl: u64,
        yields: bool,
    },
    /// A leader hears that it gave back.
    Freed(usize),
    /// A restored leader gathers the members.
    Gathered(usize),
    /// A leader wants the claim back.
    GiveBack,
    /// A leader makes it known that there is a higher term.
    Seen(u64),
    /// There is a new version of the group.
    Learn(u64),
    /// The oldest write has reached the disk.
    Stored,
    /// Another node holds, and asks for a promise.
    Ask {
        of: usize,
        number: u64,
        version: u64,
        ttl: u64,
    },
    /// Another node promises what was asked of it.
    Promise { of: usize, back: usize, ttl: u64 },
    /// Another node needs its promise no more.
    Release { of: usize, upto: u64 },
    /// A leader wants its consent to an eviction.
    Consent(u64),
    /// Another claim of the node speaks.
    Along,
    /// The kernel's rules were flushed.
    FenceLost,
    /// Its agent is killed and starts again, with its memory or without.
    Restart { remembers: bool },
    /// Its machine loses power.
    Reboot,
}

/// What the member is a member of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An exclusive group of two.
    Pair,
    /// An exclusive group of three.
    Trio,
    /// The peers of the worker `b`.
    Peer,
}

/// A sequence of events, for a member of some group.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) kind: Kind,
    pub(super) inputs: Vec<Input>,
}

fn ttl() -> impl Strategy<Value = u64> {
    prop_oneof![Just(350_u64), Just(900), Just(2000)]
}

fn short() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1_u64), Just(30), Just(60), Just(160)]
}

/// Sequences of events: half of them of any kind, half around a holder that is often alone.
pub fn cases() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![3 => Just(Kind::Pair), 1 => Just(Kind::Trio), 1 => Just(Kind::Peer)];
    let holder = proptest::collection::vec(holding(), 1..30);
    prop_oneof![
        (kind, proptest::collection::vec(anything(), 1..60))
            .prop_map(|(kind, inputs)| Case { kind, inputs }),
        holder.prop_map(|inputs| Case {
            kind: Kind::Pair,
            inputs
        }),
    ]
}

fn holding() -> impl Strategy<Value = Input> {
    let yields = false;
    prop_oneof![
        6 => short().prop_map(Input::Pass),
        4 => (0_usize..3, ttl())
            .prop_map(move |(back, ttl)| Input::Granted { back, term: 1, ttl, yields }),
        4 => (0_usize..4, ttl()).prop_map(|(back, ttl)| Input::Promise { of: 0, back, ttl }),
        2 => Just(Input::Along),
        1 => Just(Input::Restart { remembers: true }),
    ]
}

fn anything() -> impl Strategy<Value = Input> {
    let span = prop_oneof![3 => short(), 1 => Just(360), 1 => Just(1000), 1 => Just(2100)];
    prop_oneof![
        8 => span.prop_map(Input::Pass),
        8 => (0_usize..4, 1_u64..3, ttl(), 0_u8..8).prop_map(|(back, term, ttl, yields)| {
            Input::Granted { back, term, ttl, yields: yields == 0 }
        }),
        1 => (0_usize..2).prop_map(Input::Freed),
        1 => (0_usize..2).prop_map(Input::Gathered),
        1 => Just(Input::GiveBack),
        1 => (1_u64..4).prop_map(Input::Seen),
        1 => (2_u64..4).prop_map(Input::Learn),
        2 => Just(Input::Stored),
        3 => (0_usize..2, 1_u64..6, 1_u64..3, ttl())
            .prop_map(|(of, number, version, ttl)| Input::Ask { of, number, version, ttl }),
        8 => (0_usize..3, 0_usize..3, ttl())
            .prop_map(|(of, back, ttl)| Input::Promise { of, back, ttl }),
        2 => (0_usize..2, 1_u64..6).prop_map(|(of, upto)| Input::Release { of, upto }),
        2 => ttl().prop_map(Input::Consent),
        2 => Just(Input::Along),
        1 => Just(Input::FenceLost),
        2 => any::<bool>().prop_map(|remembers| Input::Restart { remembers }),
        1 => Just(Input::Reboot),
    ]
}
