//! The VIP bench; see `tests/bench/vip`.

use clap::Parser as _;
use hamesh_tests::vip::bench::bench;
use hamesh_tests::vip::options::Options;
use hamesh_tests::vip::tell::tell;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match &options.tell {
        Some(file) => tell(file),
        None => bench(&options),
    }
}
