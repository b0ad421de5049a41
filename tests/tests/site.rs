//! The end-to-end suite: boots one site on the lab and tries every scenario on it, in order.
//!
//! `cargo test --release --workspace --test site` runs all of them, with a part of a name only
//! those that hold it (the lab is then left as it is, for a second look). The lab is driven by its
//! own command only. Each scenario finds the site whole, and is held to leave it so; after one that
//! failed the next begins on a fresh site, so that each failure told is one of its own.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use hamesh_tests::lab::Lab;
use hamesh_tests::scenarios::{ALL, Ground, Scenario, World};
use libtest_mimic::{Arguments, Failed, Trial};

/// A site once it is up, or why it cannot be.
type Booted = Mutex<Option<Result<World, String>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One site, one thing done to it at a time.
    arguments.test_threads = Some(1);
    let [thirteen, served, pair, plain] = [(); 4].map(|()| Arc::<Booted>::default());
    let trials = ALL.iter().map(|scenario| {
        let world = Arc::clone(match scenario.ground {
            Ground::Thirteen => &thirteen,
            Ground::Served => &served,
            Ground::Pair => &pair,
            Ground::Plain => &plain,
        });
        Trial::test(scenario.sentence, move || play(&world, scenario))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn play(booted: &Booted, scenario: &Scenario) -> Result<(), Failed> {
    let mut booted = booted.lock().unwrap_or_else(PoisonError::into_inner);
    let world = booted.get_or_insert_with(|| boot(scenario.ground).map_err(|e| format!("{e:#}")));
    let world = world
        .as_ref()
        .map_err(|e| Failed::from(format!("the lab is not up: {e}")))?;
    let started = std::time::Instant::now();
    let outcome = world.play(scenario);
    eprintln!("    [{:.1} s]", started.elapsed().as_secs_f64());
    outcome.map_err(|e| {
        let said = format!("{e:#}");
        // At once: the runner tells of it at the end only.
        eprintln!("{said}");
        *booted = None;
        Failed::from(said)
    })
}

fn boot(ground: Ground) -> anyhow::Result<World> {
    World::boot(Lab::of_this_build()?, ground)
}
