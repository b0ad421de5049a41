//! The whole bench: brings the site up for each kind of rival, makes the runs that are missing,
//! writes each down at once, and takes the site down again whatever happened.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::case::Case;
use super::faults;
use super::figures::ms;
use super::options::{Options, Wanted};
use super::proxies::Site;
use super::record::{Machine, Outcome, Record, Records, done};
use super::rival::Rival;
use super::{bars, curve, hamesh, idle, keepalived, stillness, table};
use crate::tidy;

/// A rival that could not be measured so often in a row is left.
const MOST_FAILURES: u32 = 3;

/// Does what the options say.
///
/// # Errors
/// The site cannot be brought up, or records cannot be written. A run that fails is a record.
pub fn bench(options: &Options) -> Result<()> {
    let records = Records::at(in_tree(&options.records));
    if !options.table {
        if options.resume {
            records.mend()?;
        } else {
            records.begin_anew()?;
        }
        make_runs(&records, &options.wanted())?;
    }
    let all = records.read()?;
    println!(
        "\n{}{}\n{}",
        table::all(&all),
        curve::text(&all),
        bars::text(&all)
    );
    Ok(())
}

fn in_tree(path: &std::path::Path) -> PathBuf {
    tidy::root().join(path)
}

fn make_runs(records: &Records, wanted: &[Wanted]) -> Result<()> {
    let site = Site::of_this_build()?;
    ensure!(
        !site.is_up()?,
        "a lab is up on this machine; `hamesh-lab down` takes it down"
    );
    let known = done(&records.read()?);
    let missing: Vec<(Wanted, u32)> = wanted
        .iter()
        .map(|w| {
            (
                *w,
                known.get(&(w.rival, w.case)).copied().unwrap_or_default(),
            )
        })
        .filter(|(w, known)| *known < w.runs)
        .collect();
    let clean = Clean(&site);
    for foreign in [true, false] {
        let part: Vec<_> = missing
            .iter()
            .filter(|(w, _)| w.rival.is_foreign() == foreign)
            .collect();
        if part.is_empty() {
            continue;
        }
        let with = if foreign {
            "the rivals alone"
        } else {
            "hamesh"
        };
        println!("bringing up the site with {with}");
        site.up(foreign)?;
        let mut running = None;
        for (wanted, known) in part {
            if running != Some(wanted.rival) {
                change(&site, running, wanted.rival)?;
                running = Some(wanted.rival);
            }
            make(&site, records, *wanted, *known)?;
        }
    }
    drop(clean);
    Ok(())
}

/// Takes the site down when it goes out of scope.
struct Clean<'a>(&'a Site);

impl Drop for Clean<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.down() {
            eprintln!("the lab is not down; `hamesh-lab down` does it: {error:#}");
        }
    }
}

/// Ends one rival and starts another.
fn change(site: &Site, from: Option<Rival>, to: Rival) -> Result<()> {
    match from {
        Some(Rival::Keepalived { .. }) => {
            faults::restore(site, Rival::KEEPALIVED)?;
            keepalived::stop(site)?;
        }
        Some(Rival::Hamesh { .. }) => faults::restore(site, Rival::HAMESH)?,
        None => {}
    }
    match to {
        Rival::Keepalived { advert, tracking } => keepalived::start(site, advert, tracking),
        Rival::Hamesh { ttl } => hamesh::start(site, ttl),
    }
    .with_context(|| format!("starting {to}"))
}

/// Makes the runs of one rival under one case, from the first that is missing.
fn make(site: &Site, records: &Records, wanted: Wanted, known: u32) -> Result<()> {
    let Wanted { rival, case, runs } = wanted;
    let (mut failures, mut set_aside) = (0, 0);
    let mut run = known;
    while run < runs && failures < MOST_FAILURES && set_aside <= runs {
        let machine = Machine::now()?;
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let outcome = one(site, rival, case).unwrap_or_else(|error| {
            failures += 1;
            Outcome::Failed(format!("{error:#}"))
        });
        let record = Record {
            rival,
            case,
            run: run + 1,
            began,
            machine,
            outcome,
        };
        records.add(&record)?;
        println!("{}", line(&record));
        match record.outcome {
            Outcome::Run(_) | Outcome::Idle(_) => {
                failures = 0;
                run += 1;
            }
            Outcome::SetAside(_) => set_aside += 1,
            Outcome::Failed(_) => mend(site, rival),
        }
    }
    Ok(())
}

fn one(site: &Site, rival: Rival, case: Case) -> Result<Outcome> {
    let holder = faults::ready(site, rival, case)?;
    Ok(match case {
        Case::Idle => Outcome::Idle(idle::weigh(site, rival.unit(), holder)?),
        _ => {
            let figures = faults::run(site, rival, case, holder)?;
            match figures.stood_still_ms > ms(stillness::MOST) {
                true => Outcome::SetAside(figures),
                false => Outcome::Run(figures),
            }
        }
    })
}

/// After a run that failed: the rival is started afresh. What is still wrong then, the next run
/// says.
fn mend(site: &Site, rival: Rival) {
    let again = || -> Result<()> {
        faults::restore(site, rival)?;
        match rival {
            Rival::Keepalived { advert, tracking } => {
                keepalived::stop(site)?;
                keepalived::start(site, advert, tracking)
            }
            Rival::Hamesh { .. } => hamesh::restart(site),
        }
    };
    if let Err(error) = again() {
        eprintln!("{rival} could not be started afresh: {error:#}");
    }
}

/// One run in a line, as it is made.
fn line(record: &Record) -> String {
    let Record {
        rival,
        case,
        run,
        machine,
        outcome,
        ..
    } = record;
    let said = match outcome {
        Outcome::Run(figures) => format!(
            "outage {:.0} ms, two holders {:.0} ms, taken {}",
            figures.worst_outage_ms(),
            figures.two_holders_ms(),
            figures.takings
        ),
        Outcome::SetAside(figures) => format!(
            "SET ASIDE: the machine itself stood still for {:.0} ms",
            figures.stood_still_ms
        ),
        Outcome::Idle(idle) => format!("{:.2} % of a core", idle.holder.cpu_percent),
        Outcome::Failed(why) => format!("NOT MEASURED: {why}"),
    };
    format!(
        "{rival:<22} {case:<18} {run:>3}  {said}  (load {:.2})",
        machine.load
    )
}
