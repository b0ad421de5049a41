//! How long operators are without an answer when the leader is lost, one way after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::members::added;
use super::{ALL, lead_elsewhere, lost, parts, succeeded};
use crate::lab::Lab;
use crate::scenarios::{Ground, World};
use crate::site::Site;
use crate::site::traces::Traces;

/// A way to lose the leader's machine, or its programs, and to have them back.
struct Case {
    name: &'static str,
    lose: fn(&Site, &str) -> Result<()>,
    restore: fn(&Site, &str) -> Result<()>,
}

const CASES: [Case; 4] = [
    Case {
        name: "killed",
        lose: lost::kill,
        restore: |_, _| Ok(()),
    },
    Case {
        name: "without power",
        lose: |site, node| site.lab.must(["kill", node]).map(drop),
        restore: |site, node| site.lab.must(["start", node]).map(drop),
    },
    Case {
        name: "frozen",
        lose: |site, node| site.lab.must(["freeze", node]).map(drop),
        restore: |site, node| site.lab.must(["thaw", node]).map(drop),
    },
    Case {
        name: "cut off",
        lose: |site, node| site.lab.must(["cut", node]).map(drop),
        restore: |site, node| site.lab.must(["heal", node]).map(drop),
    },
];

/// Loses the leader in every way, `rounds` times each, on the site that is up or is brought up; it
/// has three coordinators then. Prints each figure, and the median of each case.
pub fn bench(rounds: usize) -> Result<()> {
    let lab = Lab::of_this_build()?;
    Ground::Thirteen.up(&lab)?;
    let before = Traces::look()?;
    let site = Site::of(lab)?;
    let world = World { site, before };
    let site = &world.site;
    site.until_whole()?;
    if parts(site)?.len() < ALL.len() {
        added(&world)?;
    }
    let mut took: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for _ in 0..rounds {
        for case in &CASES {
            let leader = lead_elsewhere(site)?;
            let figure = succeeded(site, case.name, || (case.lose)(site, &leader));
            (case.restore)(site, &leader)?;
            took.entry(case.name).or_default().push(figure?);
            site.until_whole()?;
        }
    }
    let mut both = Vec::new();
    for _ in 0..rounds {
        both.push(lost::both_lost(site)?);
    }
    println!("leader lost: seconds until `coordctl status` answers again");
    println!(
        "{:<14} {:>6} {:>8} {:>8}",
        "case", "runs", "median", "worst"
    );
    for (name, mut figures) in took {
        figures.sort();
        let worst = figures.last().context("no run")?.as_secs_f64();
        let median = figures[figures.len() / 2].as_secs_f64();
        println!("{name:<14} {:>6} {median:>8.2} {worst:>8.2}", figures.len());
    }
    println!("\nleader and holder lost together: seconds until another leads, until the address");
    println!("answers, and between the two, in which a lease has to go by");
    for (leads, answers) in both {
        let (leads, answers) = (leads.as_secs_f64(), answers.as_secs_f64());
        println!("{leads:>8.2} {answers:>8.2} {:>8.2}", answers - leads);
    }
    Ok(())
}
