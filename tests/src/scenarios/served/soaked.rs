//! A short one of `tests/soak/faults`.

use anyhow::Result;

use crate::scenarios::World;
use crate::soak::faults::suffer;

/// Other faults in each run; the seed is printed, and draws the same ones again.
const FAULTS: usize = 3;

/// A few faults drawn at random: no acknowledged row is lost, and nothing is held twice.
pub fn a_few(world: &World) -> Result<()> {
    let seed = fastrand::u64(..);
    println!("    seed {seed}");
    let report = suffer(world, seed, FAULTS)?;
    println!("{report}");
    report.judge()
}
