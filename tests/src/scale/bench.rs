//! The whole bench: each size on a fresh leader, and the table and bars of all.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::crowd::{Crowd, own_cpu};
use super::figures::{Faults, Figures, Setup};
use super::leader::{Leader, Weights};
use super::options::Options;
use super::{bars, layout, table};
use crate::lab::Lab;
use crate::vip::record::Machine;

/// How long the leader is weighed before there are agents.
const IDLE: Duration = Duration::from_secs(20);
/// After the last claim was taken the leader has events to write, and agents settle.
const SETTLE: Duration = Duration::from_secs(20);

/// Measures what the options say; whether no bar failed and every size was measured.
///
/// # Errors
/// A lab is up, or the lab is not built.
pub fn bench(options: &Options) -> Result<bool> {
    let lab = Lab::of_this_build()?;
    ensure!(
        !lab.run(["list"])?.status.success(),
        "a lab is up on this machine; `hamesh-lab down` takes it down"
    );
    let mut sizes = Vec::new();
    for agents in &options.agents {
        println!("{agents} agents: bringing the leader up");
        match measure(&lab, *agents, Duration::from_secs(options.seconds)) {
            Ok(figures) => sizes.push(figures),
            Err(error) => eprintln!("{agents} agents: NOT MEASURED: {error:#}"),
        }
    }
    let bars = bars::all(&sizes);
    println!("\n{}", table::text(&sizes));
    for bar in &bars {
        println!("{bar}");
    }
    Ok(bars::passed(&bars) && sizes.len() == options.agents.len())
}

fn measure(lab: &Lab, agents: u32, time: Duration) -> Result<Figures> {
    let leader = Leader::up(lab)?;
    let (idle, ()) = weigh(&leader, || {
        std::thread::sleep(IDLE);
        Ok(())
    })?;
    let mut crowd = Crowd::new(&Leader::namespace())?;
    let setup = set_up(&leader, &mut crowd, agents)?;
    std::thread::sleep(SETTLE);
    let machine = Machine::now()?;
    let (weights, (seen, held, own)) = weigh(&leader, || {
        let before = own_cpu()?;
        let (seen, held) = crowd.watch(time);
        Ok((seen, held, own_cpu()?.saturating_sub(before)))
    })?;
    let claims = layout::claims(agents);
    Ok(Figures {
        agents,
        claims,
        setup,
        seconds: time.as_secs_f64(),
        renewals: seen.renewals(),
        times: seen.times(),
        least_left_ms: seen.least_left.unwrap_or_default().as_secs_f64() * 1e3,
        faults: Faults {
            lapsed: seen.lapsed,
            moved: seen.taken + seen.let_go,
            alone: seen.alone,
            not_held: u64::from(claims).saturating_sub(held.unsigned_abs()),
            dropped: weights.dropped,
        },
        idle: idle.leader,
        leader: weights.leader,
        store: weights.store,
        agents_cpu_percent: own.as_secs_f64() / time.as_secs_f64() * 100.0,
        machine,
    })
}

/// Weighs the leader around some work.
fn weigh<T>(leader: &Leader<'_>, work: impl FnOnce() -> Result<T>) -> Result<(Weights, T)> {
    let before = leader.weigh()?;
    let done = work()?;
    Ok((leader.weigh()?.since(&before), done))
}

/// Brings the agents in, and waits until they hold all claims.
fn set_up(leader: &Leader<'_>, crowd: &mut Crowd, agents: u32) -> Result<Setup> {
    let mut setup = Setup::default();
    let began = Instant::now();
    leader.apply(&layout::document(agents))?;
    setup.apply_s = lap("applied", began);
    let began = Instant::now();
    let enrolled = crowd.enrol(leader.tokens(agents)?)?;
    setup.enrol_s = lap("all enrolled", began);
    let began = Instant::now();
    crowd.start(enrolled, Leader::dial_from)?;
    setup.sessions_s = lap("all in session", began);
    let began = Instant::now();
    crowd.wait_held(layout::claims(agents))?;
    setup.held_s = lap("all claims held", began);
    Ok(setup)
}

/// Says that a step is done; how long it took, in seconds.
fn lap(what: &str, began: Instant) -> f64 {
    let seconds = began.elapsed().as_secs_f64();
    println!("  {what} after {seconds:.1} s");
    seconds
}
