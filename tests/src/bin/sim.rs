//! `./tests/sim`: runs the simulated site with many seeds, or one seed with its trace.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hamesh_claims::Rules;
use hamesh_tests::sim::{Options, run};

const USAGE: &str = "usage: tests/sim [--seeds N] [--from SEED] | --seed SEED [--quiet]";

struct Arguments {
    from: u64,
    seeds: u64,
    traced: bool,
}

fn arguments() -> Result<Arguments> {
    let mut parsed = Arguments {
        from: 1,
        seeds: 100,
        traced: false,
    };
    let mut given = std::env::args().skip(1);
    while let Some(option) = given.next() {
        let mut number = || -> Result<u64> {
            let text = given
                .next()
                .with_context(|| format!("{option} wants a number; {USAGE}"))?;
            text.parse()
                .with_context(|| format!("{option}: `{text}` is no number; {USAGE}"))
        };
        match option.as_str() {
            "--seeds" => parsed.seeds = number()?,
            "--from" => parsed.from = number()?,
            "--seed" => (parsed.from, parsed.seeds, parsed.traced) = (number()?, 1, true),
            "--quiet" => parsed.traced = false,
            _ => bail!("unknown option `{option}`; {USAGE}"),
        }
    }
    Ok(parsed)
}

fn main() -> Result<ExitCode> {
    let arguments = arguments()?;
    let mut out = std::io::stdout().lock();
    let (mut takes, mut alone, mut changes, mut evictions, mut leaders) = (0, 0, 0, 0, 0);
    for seed in arguments.from..arguments.from + arguments.seeds {
        let outcome = run(
            seed,
            Options {
                rules: Rules::all(),
                traced: arguments.traced,
            },
        );
        for line in &outcome.trace {
            writeln!(out, "{line}")?;
        }
        if let Some(what) = outcome.violation {
            writeln!(
                out,
                "seed {seed}: {what}\nreplay: ./tests/sim --seed {seed}"
            )?;
            return Ok(ExitCode::FAILURE);
        }
        takes += outcome.takes;
        alone += outcome.alone;
        changes += outcome.changes;
        evictions += outcome.evictions;
        leaders += outcome.leaders;
    }
    writeln!(
        out,
        "{} seeds from {}: no violation; {leaders} leaderships, {takes} claims taken, \
         {alone} times kept by promises, {changes} group changes, {evictions} evictions",
        arguments.seeds, arguments.from
    )?;
    Ok(ExitCode::SUCCESS)
}
