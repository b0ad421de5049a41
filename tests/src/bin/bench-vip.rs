//! The VIP bench; see `tests/bench/vip`.

use clap::Parser as _;
use hamesh_tests::vip::bench::bench;
use hamesh_tests::vip::options::Options;

fn main() -> anyhow::Result<()> {
    bench(&Options::parse())
}
