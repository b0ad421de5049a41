//! How long nobody can write, and what is lost, when a database is lost in each way: hamesh beside
//! Patroni alone, at its own times and at the shortest that people choose, in one run.
//!
//! | module | about |
//! |---|---|
//! | [`case`] | the ways to lose one |
//! | [`rival`] | the clusters: how each is built, and who leads there |
//! | [`table`] | what came of it, beside each other (pure) |
//!
//! Eight connections write a row every ten milliseconds each, through the proxy of the cluster. An
//! outage is the longest time without an acknowledgement; a row that was acknowledged and is not
//! there afterwards is lost.

pub mod case;
pub mod rival;
pub mod table;

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use case::Case;
use rival::{Cluster, Rival};
use table::Outcome;

use crate::sql::now;

/// How long rows are written before a fault, and after all is well again.
const AROUND: Duration = Duration::from_secs(3);

/// Plays every case on a rival so many times.
///
/// # Errors
/// The lab does not do it, or a cluster does not become whole again.
pub fn play(rival: Rival, cases: &[Case], runs: u32) -> Result<Vec<Outcome>> {
    println!("{rival}: bringing it up");
    let cluster = Cluster::build(rival)?;
    let mut outcomes = Vec::new();
    for run in 1..=runs {
        for case in cases {
            let outcome = once(&cluster, *case).with_context(|| format!("{rival}, {case}"))?;
            println!("{rival}, {case}, run {run}: {outcome}");
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

fn once(cluster: &Cluster, case: Case) -> Result<Outcome> {
    let members = cluster.until_whole()?;
    cluster.statement("drop table if exists lost_or_not")?;
    cluster.statement("create table lost_or_not (number bigint primary key)")?;
    let writer = cluster.writer("lost_or_not")?;
    sleep(AROUND);
    let begun = now();
    let done = case.begin(cluster, &members);
    let standby = done.and_then(|()| cluster.until_safe_again(case, &members, begun));
    case.end(cluster, &members)?;
    let standby = standby?;
    cluster.until_whole()?;
    sleep(AROUND);
    let written = writer.end()?;
    let there = cluster.statement("select number from lost_or_not")?;
    Ok(Outcome {
        rival: cluster.rival,
        case,
        outage: written.longest_silence(begun),
        unsafe_for: standby,
        acknowledged: written.acknowledged().count(),
        lost: written.lost(&there).len(),
    })
}
