//! Databases lost in each way, beside Patroni alone; see `tests/bench/db`.

use anyhow::ensure;
use clap::Parser;
use hamesh_tests::failover::case::Case;
use hamesh_tests::failover::play;
use hamesh_tests::failover::rival::Rival;
use hamesh_tests::failover::table::table;

/// Databases lost in each way: how long nobody can write, and what is lost.
#[derive(Debug, Parser)]
#[command(name = "tests/bench/db", max_term_width = 100)]
struct Options {
    /// Runs of each case.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: u32,
    /// Only these cases.
    #[arg(long, value_enum, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Only these rivals.
    #[arg(long, value_enum, value_delimiter = ',')]
    rivals: Vec<Rival>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let cases = or_all(options.cases, &Case::ALL);
    let rivals = or_all(options.rivals, &Rival::ALL);
    let mut outcomes = Vec::new();
    for rival in &rivals {
        outcomes.extend(play(*rival, &cases, options.runs)?);
        println!("\n{}", table(&outcomes, &rivals, &cases));
    }
    let lost = outcomes.iter().filter(|it| it.rival == Rival::Hamesh);
    let lost: usize = lost.map(|it| it.lost).sum();
    ensure!(lost == 0, "hamesh lost {lost} acknowledged rows");
    Ok(())
}

fn or_all<T: Clone>(some: Vec<T>, all: &[T]) -> Vec<T> {
    match some.is_empty() {
        true => all.to_vec(),
        false => some,
    }
}
