//! Causes each fault on a site that is watched, and notes when.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::case::Case;
use super::figures::{Figures, Marks};
use super::proxies::{COORDINATOR, HAPROXY, PROXIES, SPARE, Site, holders_of, other};
use super::rival::Rival;
use super::watch::{Kept, View, Watch};
use super::{hamesh, keepalived};

/// How long the site is watched before a fault.
const BEFORE: Duration = Duration::from_millis(1500);
/// How long answers must have come without a failure to count as served again.
const STEADY: Duration = Duration::from_secs(1);
/// How long an outage is waited out.
const PATIENCE: Duration = Duration::from_secs(20);
/// A fault lasts at least so long, so that what comes after the first answer is seen too.
const LINGER: Duration = Duration::from_secs(3);
/// Longer than the kernel keeps a stale neighbour entry that it uses.
const AFTER_HEAL: Duration = Duration::from_secs(65);
/// How long a stopped daemon stays so.
const STOPPED: Duration = Duration::from_secs(5);
/// How long a daemon that was killed, or let go on, is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// How long the proxies are parted.
const PARTED: Duration = Duration::from_secs(10);
/// How long loss and load last.
const LONG: Duration = Duration::from_secs(60);
/// How long the coordinator has been gone when the holder is cut.
const GONE: Duration = Duration::from_secs(10);
/// Percent of the holder's packets lost each way.
const LOST: &str = "10";
/// How late after a kill by systemd's own command an outage may begin.
const SETTLE: Duration = Duration::from_millis(500);

/// One run under way.
#[derive(Debug)]
pub struct Run<'a> {
    site: &'a Site,
    rival: Rival,
    holder: &'static str,
    watch: Watch,
}

/// Watches the site, causes one fault on it, and gives the figures. The site is left as the fault
/// left it.
///
/// # Errors
/// The lab cannot cause the fault, or a watcher fails.
pub fn run(site: &Site, rival: Rival, case: Case, holder: &'static str) -> Result<Figures> {
    let view = match case {
        Case::Partition => View::ProbeTwice,
        _ => View::ProbeAndAsk,
    };
    let run = Run {
        site,
        rival,
        holder,
        watch: Watch::start(view),
    };
    let ready = run.watch.until_served(BEFORE, PATIENCE);
    ensure!(
        ready,
        "{holder} holds the address and does not serve the page"
    );
    let kept = match case {
        Case::Move => Some(Kept::open()?),
        _ => None,
    };
    let marks = run.cause(case)?;
    let established = kept.map(Kept::end).transpose()?;
    let mut seen = run.watch.end()?;
    for client in &mut seen.clients {
        client.retain(|probe| probe.start < marks.end);
    }
    let mut figures = Figures::of(&seen, &marks);
    figures.established = established;
    Ok(figures)
}

impl Run<'_> {
    fn cause(&self, case: Case) -> Result<Marks> {
        let lab = self.site.lab();
        let (holder, unit) = (self.holder, self.rival.unit());
        let on_holder = |script: String| lab.sh(holder, &script).map(drop);
        let command = |words: &[&str]| lab.must(words).map(drop);
        match case {
            Case::Cut => self.and_back(|| command(&["cut", holder]), || command(&["heal"])),
            Case::LinkDown => self.and_back(
                || command(&["unplug", holder]),
                || command(&["plug", holder]),
            ),
            Case::Power => self.and_back(
                || command(&["kill", holder]),
                || command(&["start", holder]),
            ),
            Case::DaemonKilled => self.once(WATCHED, || {
                on_holder(format!("systemctl kill -s KILL {unit}"))
            }),
            Case::DaemonStopped => self.stop_and_go(unit),
            Case::HaproxyKilled => {
                self.until_served(|| on_holder(format!("systemctl kill -s KILL {HAPROXY}")))
            }
            Case::Move => self.until_served(|| match self.rival {
                Rival::Hamesh { .. } => hamesh::move_to(self.site, "web", other(holder)),
                Rival::Keepalived { .. } => keepalived::leave(self.site, holder),
            }),
            Case::Partition => self.part(),
            Case::Loss => self.once(LONG, || command(&["loss", holder, LOST])),
            Case::Load => self.once(LONG, || {
                PROXIES
                    .into_iter()
                    .try_for_each(|proxy| self.site.load(proxy))
            }),
            Case::CoordinatorKilled => self.once(WATCHED, || {
                let unit = hamesh::COORDINATOR_UNITS[1];
                lab.sh(COORDINATOR, &format!("systemctl kill -s KILL {unit}"))
                    .map(drop)
            }),
            Case::CoordinatorGone => self.lose_coordinator(),
            Case::Idle => anyhow::bail!("nothing is caused while the daemon is weighed"),
        }
    }

    /// A fault that is watched for a fixed time, and ended after the run.
    fn once(&self, time: Duration, cause: impl FnOnce() -> Result<()>) -> Result<Marks> {
        let fault = self.watch.now();
        cause()?;
        let end = self.watch.now() + time;
        self.watch.until(end);
        Ok(Marks {
            fault,
            heal: None,
            end,
        })
    }

    /// A fault that is watched until the page is served again.
    fn until_served(&self, cause: impl FnOnce() -> Result<()>) -> Result<Marks> {
        let fault = self.watch.now();
        cause()?;
        self.watch.until(self.watch.now() + SETTLE);
        self.watch.until_served(STEADY, fault + PATIENCE);
        self.watch.until(fault + LINGER);
        Ok(Marks {
            fault,
            heal: None,
            end: self.watch.now(),
        })
    }

    /// A fault that is ended once the page is served again.
    fn and_back(
        &self,
        cause: impl FnOnce() -> Result<()>,
        end: impl FnOnce() -> Result<()>,
    ) -> Result<Marks> {
        let fault = self.watch.now();
        cause()?;
        self.watch.until_served(STEADY, fault + PATIENCE);
        self.watch.until(fault + LINGER);
        self.heal(fault, end)
    }

    fn heal(&self, fault: Duration, end: impl FnOnce() -> Result<()>) -> Result<Marks> {
        let begun = self.watch.now();
        end()?;
        let done = self.watch.now();
        self.watch.until(done + LINGER);
        self.watch.until_served(STEADY, done + AFTER_HEAL);
        Ok(Marks {
            fault,
            heal: Some((begun, done)),
            end: self.watch.now(),
        })
    }

    fn stop_and_go(&self, unit: &str) -> Result<Marks> {
        let lab = self.site.lab();
        self.once(WATCHED, || {
            lab.sh(self.holder, &format!("systemctl kill -s STOP {unit}"))?;
            self.watch.until(self.watch.now() + STOPPED);
            lab.sh(self.holder, &format!("systemctl kill -s CONT {unit}"))
                .map(drop)
        })
    }

    /// The first client stays with the holder, the second with the other proxy and the coordinator.
    fn part(&self) -> Result<Marks> {
        let lab = self.site.lab();
        let fault = self.watch.now();
        let ours = format!("{},client", self.holder);
        let theirs = format!("{},client2,{COORDINATOR}", other(self.holder));
        lab.must(["partition", &ours, "|", &theirs])?;
        self.watch.until(fault + PARTED);
        self.heal(fault, || lab.must(["heal"]).map(drop))
    }

    /// The one coordinator is gone, so that nobody may be given the address: it stays away until
    /// the coordinator is back.
    fn lose_coordinator(&self) -> Result<Marks> {
        let lab = self.site.lab();
        let unit = hamesh::COORDINATOR_UNITS[1];
        lab.sh(COORDINATOR, &format!("systemctl stop {unit}"))?;
        self.watch.until(self.watch.now() + GONE);
        let fault = self.watch.now();
        lab.must(["cut", self.holder])?;
        self.watch.until(fault + PATIENCE);
        self.heal(fault, || {
            lab.must(["heal"])?;
            lab.sh(COORDINATOR, &format!("systemctl start {unit}"))
                .map(drop)
        })
    }
}

/// Ends every fault.
///
/// # Errors
/// Something cannot be brought back.
pub fn restore(site: &Site, rival: Rival) -> Result<()> {
    let coordinator: &[&str] = match rival {
        Rival::Hamesh { .. } => &hamesh::COORDINATOR_UNITS,
        Rival::Keepalived { .. } => &[],
    };
    site.restore(rival.unit(), coordinator)
}

/// Brings a rival to where every run begins, and says which proxy holds the address.
///
/// # Errors
/// It does not come there.
pub fn ready(site: &Site, rival: Rival, case: Case) -> Result<&'static str> {
    restore(site, rival)?;
    let holder = site.settled_holder()?;
    match (rival, case) {
        (Rival::Hamesh { .. }, Case::Idle) if holders_of(SPARE)? != [holder] => {
            hamesh::move_to(site, "spare", holder)?;
            site.wait_held(SPARE, holder)?;
        }
        (Rival::Hamesh { .. }, _) => hamesh::wait_ready(site, other(holder))?,
        (Rival::Keepalived { .. }, _) => {}
    }
    site.flush_neighbours()?;
    Ok(holder)
}
