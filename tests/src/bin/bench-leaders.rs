//! How long operators are without an answer when the leader is lost: `bench-leaders [ROUNDS]`.

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1);
    let rounds = rounds.map_or(Ok(5), |given| given.parse());
    hamesh_tests::scenarios::leaders::bench(rounds.context("ROUNDS is a number")?)
}
