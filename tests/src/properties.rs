//! Invariants of every transition, under arbitrary sequences of events.
//!
//! Each machine of the claims core is run alone against a record of the plain truth: what it was
//! told, what it told others, and until when each word binds. The record knows nothing of how the
//! machine decides. After every event, each of the machine's actions is judged by it, in order, as
//! if the machine could die between any two.
//!
//! A failing sequence is shrunk before it is shown; the seed that is shown with it replays it.

pub mod election;
pub mod grantor;
pub mod member;

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Result;
use hamesh_claims::Moment;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How properties are tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// How many sequences are tried.
    pub cases: u32,
    /// The seed that they are drawn from.
    pub seed: u64,
    /// Whether a failing sequence is made as short as it can be.
    pub shrinks: bool,
}

/// The first failure of `property` among the sequences of `trial`, with the sequence.
pub fn failure<S>(
    trial: Trial,
    sequences: &S,
    property: impl Fn(&S::Value) -> Result<()>,
) -> Option<String>
where
    S: Strategy,
    S::Value: Debug,
{
    let config = Config {
        cases: trial.cases,
        failure_persistence: None,
        max_shrink_iters: if trial.shrinks { 50_000 } else { 0 },
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&trial.seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let judged = TestRunner::new_with_rng(config, rng).run(sequences, |sequence| {
        property(&sequence).map_err(|harm| TestCaseError::fail(harm.to_string()))
    });
    match judged {
        Ok(()) => None,
        Err(TestError::Fail(harm, sequence)) => Some(format!("{harm}, by {sequence:#?}")),
        Err(TestError::Abort(why)) => Some(format!("gave up: {why}")),
    }
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(n: u64) -> Moment {
    Moment::ZERO.plus(ms(n))
}

/// Until when whoever gives its word of `ttl` at `now` must be bound at least.
fn bound(now: Moment, ttl: Duration) -> Moment {
    now.plus(ttl.mul_f64(1.029)).plus(ms(24))
}
