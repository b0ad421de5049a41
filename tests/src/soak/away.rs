//! Static stability, watched: the coordinator is away while agents restart.
//!
//! Works on any site of the lab that has the bench's two proxies with its page behind its address.
//! Connections every few milliseconds, the question who has the address, and a look into both
//! proxies, from the moment before the coordinator stops to the moment after it is back.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::vip::arp;
use crate::vip::figures::Seen;
use crate::vip::holding::{Stretch, overlap, stretches};
use crate::vip::probes::{GIVE_UP, Probe};
use crate::vip::proxies::{COORDINATOR, PROXIES, other};
use crate::vip::watch::{View, Watch};

/// How long promises are as short as leases: a restart may then cost the holder its lease.
const SHORT_PROMISES: Duration = Duration::from_secs(8);
/// How long connections must have been answered before it begins.
const STEADY: Duration = Duration::from_secs(1);
/// For how long that is waited.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the site is watched after the holder's restart, and after the coordinator is back.
const LINGER: Duration = Duration::from_secs(4);
/// Between two restarts of the standby's agent at the least, and at the most.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(45);

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// How long the coordinator was away.
    pub span: Duration,
    /// Restarts of the standby's agent.
    pub restarts: u32,
    /// Connections tried while no agent but the standby's restarted, and those that failed.
    pub calm: Tally,
    /// The same from the restart of the holder's agent on.
    pub after: Tally,
    /// How often another node took the address, or the holder lost and took it again before its
    /// agent restarted.
    pub moves: usize,
    /// How long two nodes had the address, or answered for it.
    pub two_holders: Duration,
}

/// Connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tried.
    pub sent: usize,
    /// Without an answer.
    pub failed: usize,
}

impl Tally {
    fn of<'a>(probes: impl Iterator<Item = &'a Probe>) -> Self {
        probes.fold(Self::default(), |so_far, probe| Self {
            sent: so_far.sent + 1,
            failed: so_far.failed + usize::from(probe.answered.is_none()),
        })
    }
}

impl Away {
    fn of(seen: &Seen, holder: &str, (began, calm_until): (Duration, Duration)) -> Self {
        let probes = || seen.clients.iter().flatten().filter(|p| p.start >= began);
        let [one, other] = seen.proxies.each_ref().map(|samples| stretches(samples));
        let taken = PROXIES.iter().zip([&one, &other]).map(|(proxy, had)| {
            // What the holder had when it began is no move, nor is a gap of its own restart: one
            // that takes longer than a lease breaks off, and goes on by promises.
            let own = *proxy == holder;
            let counts = |it: &&Stretch| !own || it.from < calm_until;
            had.iter()
                .filter(counts)
                .count()
                .saturating_sub(usize::from(own))
        });
        let two = seen.questions.iter().filter(|q| q.answers.len() > 1);
        let twice = u32::try_from(two.count()).unwrap_or(u32::MAX);
        Self {
            span: Duration::ZERO,
            restarts: 0,
            calm: Tally::of(probes().filter(|p| p.start < calm_until)),
            after: Tally::of(probes().filter(|p| p.start >= calm_until)),
            moves: taken.sum(),
            two_holders: overlap(&one, &other, Duration::ZERO).max(twice * arp::EVERY),
        }
    }

    /// Whether static stability held.
    ///
    /// # Errors
    /// Says what did not.
    pub fn judge(&self) -> Result<()> {
        ensure!(
            self.two_holders.is_zero(),
            "two nodes had the address\n{self}"
        );
        ensure!(self.moves == 0, "the address moved\n{self}");
        ensure!(self.calm.sent > 0, "nothing was tried\n{self}");
        let lost = self.calm.failed;
        ensure!(
            lost == 0,
            "connections failed while only a standby's agent restarted\n{self}"
        );
        Ok(())
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            span,
            restarts,
            calm,
            after,
            moves,
            two_holders,
        } = self;
        writeln!(
            f,
            "coordinator away            {:>8.1} s",
            span.as_secs_f64()
        )?;
        writeln!(f, "standby's agent restarted   {restarts:>8} times")?;
        writeln!(f, "connections until then      {:>8}", calm.sent)?;
        writeln!(f, "  failed                    {:>8}", calm.failed)?;
        writeln!(f, "after the holder's restart  {:>8}", after.sent)?;
        writeln!(f, "  failed                    {:>8}", after.failed)?;
        writeln!(f, "moves                       {moves:>8}")?;
        write!(
            f,
            "two holders                 {:>8} ms",
            two_holders.as_millis()
        )
    }
}

/// Stops the coordinator for a span, restarts the standby's agent again and again meanwhile and
/// the holder's once at the end, and starts the coordinator.
///
/// # Errors
/// The lab does not do it, or the page is not served to begin with.
pub fn coordinator_away(lab: &Lab, holder: &str, span: Duration) -> Result<Away> {
    let watch = Watch::start(View::ProbeAndAsk);
    let ready = watch.until_served(STEADY, PATIENCE);
    let began = watch.now();
    let played = match ready {
        true => play(lab, holder, span, &watch),
        false => Err(anyhow::anyhow!("{holder} does not serve the page")),
    };
    lab.sh(COORDINATOR, "systemctl start hamesh-coordinator")?;
    let away = watch.now().saturating_sub(began);
    std::thread::sleep(LINGER);
    let seen = watch.end()?;
    let (restarts, calm_until) = played?;
    Ok(Away {
        span: away,
        restarts,
        ..Away::of(&seen, holder, (began, calm_until))
    })
}

/// How often the standby's agent restarted, and when the holder's did.
fn play(lab: &Lab, holder: &str, span: Duration, watch: &Watch) -> Result<(u32, Duration)> {
    let restart = |node: &str| lab.sh(node, "systemctl restart hamesh-agent").map(drop);
    lab.sh(COORDINATOR, "systemctl stop hamesh-coordinator")?;
    let stopped = watch.now();
    watch.until(stopped + SHORT_PROMISES);
    let end = stopped + span.saturating_sub(LINGER);
    let every = (span / 8).clamp(*EVERY.start(), *EVERY.end());
    let mut restarts = 0;
    while restarts == 0 || watch.now() + every < end {
        restart(other(holder))?;
        restarts += 1;
        watch.until(watch.now() + every);
    }
    watch.until(end);
    // A connection under way is given up by then: it is not the restart's.
    let calm_until = watch.now().saturating_sub(GIVE_UP);
    restart(holder)?;
    watch.until(watch.now() + LINGER);
    Ok((restarts, calm_until))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vip::arp::Question;
    use crate::vip::holding::Sample;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn seen(failed_at: Option<u64>, holds: [&[bool]; 2]) -> Seen {
        let probe = |n| Probe {
            start: s(n),
            connected: None,
            answered: (Some(n) != failed_at).then_some(Duration::ZERO),
        };
        let samples = |marks: &[bool]| {
            let sample = |(n, holds): (u64, &bool)| Sample {
                at: s(n),
                holds: *holds,
            };
            (0..).zip(marks).map(sample).collect()
        };
        Seen {
            clients: vec![(0..10).map(probe).collect()],
            proxies: holds.map(samples),
            questions: vec![Question::default()],
            stood_still: Duration::ZERO,
        }
    }

    fn judged(failed_at: Option<u64>, holds: [&[bool]; 2]) -> Result<()> {
        Away::of(&seen(failed_at, holds), PROXIES[0], (s(1), s(5))).judge()
    }

    #[test]
    fn a_holder_that_kept_it_and_no_failure_is_well() {
        judged(None, [&[true; 9], &[false; 9]]).expect("well");
        judged(Some(0), [&[true; 9], &[false; 9]]).expect("before it began");
        judged(Some(7), [&[true; 9], &[false; 9]]).expect("after the holder's restart");
    }

    #[test]
    fn a_failed_connection_is_told() {
        judged(Some(3), [&[true; 9], &[false; 9]]).expect_err("one failed");
    }

    #[test]
    fn a_move_there_and_one_away_and_back_are_told() {
        let away = [true, true, false, false, true];
        judged(None, [&away, &[false; 5]]).expect_err("taken again");
        judged(None, [&away[..4], &[false, false, false, true]]).expect_err("taken elsewhere");
    }

    #[test]
    fn a_gap_of_the_holders_own_restart_is_no_move() {
        let gap = [true, true, true, true, true, true, false, true];
        judged(None, [&gap, &[false; 8]]).expect("its own");
    }

    #[test]
    fn two_holders_are_told() {
        let both = seen(None, [&[true; 9], &[false; 9]]);
        let mut twice = both;
        twice.questions[0].answers = [[1; 6], [2; 6]].into();
        let away = Away::of(&twice, PROXIES[0], (s(1), s(5)));
        away.judge().expect_err("two answered");
    }
}
