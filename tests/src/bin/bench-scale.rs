//! The scale bench; see `tests/bench/scale`.

use std::process::ExitCode;

use clap::Parser as _;
use hamesh_tests::scale::bench::bench;
use hamesh_tests::scale::options::Options;

fn main() -> anyhow::Result<ExitCode> {
    Ok(if bench(&Options::parse())? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
