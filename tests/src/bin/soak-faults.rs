//! Faults drawn at random; see `tests/soak/faults`.

use clap::Parser;
use hamesh_tests::lab::Lab;
use hamesh_tests::scenarios::{Ground, World};
use hamesh_tests::soak::faults::suffer;

/// The reference site under faults drawn at random: what fails, and what is lost.
#[derive(Debug, Parser)]
#[command(name = "tests/soak/faults", max_term_width = 100)]
struct Options {
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 40)]
    faults: usize,
    /// What draws them; drawn itself if not given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let world = World::boot(Lab::of_this_build()?, Ground::Served)?;
    let report = suffer(&world, seed, options.faults)?;
    println!("{report}");
    report.judge()
}
