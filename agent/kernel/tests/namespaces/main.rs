//! The drivers against a real kernel, in namespaces that each test makes for itself. Needs root.

mod database;
mod deadline;
mod holder;
mod hostile;
mod lab;
mod layers;
mod network;
mod packets;
mod vips;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

type Test = fn() -> anyhow::Result<()>;

const TESTS: &[&[(&str, Test)]] = &[
    packets::TESTS,
    layers::TESTS,
    deadline::TESTS,
    hostile::TESTS,
    network::TESTS,
    vips::TESTS,
    database::TESTS,
];

fn main() -> ExitCode {
    if let Some(code) = holder::main_if_asked() {
        return code;
    }
    let arguments = Arguments::from_args();
    let trial = |(name, test): &(&'static str, Test)| {
        let test = *test;
        let run = move || test().map_err(|e| Failed::from(format!("{e:#}")));
        Trial::test(*name, run)
    };
    let trials = TESTS.iter().flat_map(|group| group.iter()).map(trial);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
