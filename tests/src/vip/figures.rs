//! One run in figures.
//!
//! Pure: from what was seen and the moments of the fault to what the record keeps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arp::{self, Question};
use super::holding::{self, Sample, Stretch};
use super::probes::{self, GIVE_UP, Probe};

/// How long after a heal every client must be served again.
pub const AFTER_HEAL: Duration = Duration::from_secs(1);

/// All that was seen in a run; moments count from its start.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The probes of each client.
    pub clients: Vec<Vec<Probe>>,
    /// The samples of the two proxies.
    pub proxies: [Vec<Sample>; 2],
    /// The questions of who has the address; none where asking would have changed the outcome.
    pub questions: Vec<Question>,
    /// For how long the whole machine stood still, at the longest.
    pub stood_still: Duration,
}

/// When things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The fault was about to be caused.
    pub fault: Duration,
    /// It was about to be ended, and was ended.
    pub heal: Option<(Duration, Duration)>,
    /// Nothing after this counts.
    pub end: Duration,
}

/// What became of connections that were open before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Established {
    /// How many there were.
    pub open: u32,
    /// How many of them were cut off.
    pub reset: u32,
}

/// One run in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The longest stretch without an answer between fault and heal, for each client.
    pub outage_ms: Vec<f64>,
    /// All such stretches, of the client that had most.
    pub unanswered_ms: f64,
    /// Whether every client was answered again before the heal (or the end).
    pub served_again: bool,
    /// The share of probes that were answered between fault and heal, of the worst client.
    pub answered_share: f64,
    /// The longest that a new connection waited; one that was given up waited until then.
    pub longest_wait_ms: f64,
    /// How long both proxies had the address unfenced.
    pub two_by_address_ms: f64,
    /// How long both answered ARP; nothing where nobody asked.
    pub two_by_arp_ms: Option<f64>,
    /// Whether both still had it when the run ended.
    pub two_at_end: bool,
    /// Clients without an answer one second after the heal; nothing where nothing was healed.
    pub unanswered_after_heal: Option<u32>,
    /// How long after the heal the last client was served for good.
    pub recovery_ms: Option<f64>,
    /// Clients that were not served when the run ended.
    pub never_recovered: u32,
    /// How often a proxy took the address.
    pub takings: u32,
    /// Connections from before a planned move.
    pub established: Option<Established>,
    /// For how long the whole machine stood still, at the longest.
    #[serde(default)]
    pub stood_still_ms: f64,
}

impl Figures {
    /// Works a run out.
    pub fn of(seen: &Seen, marks: &Marks) -> Self {
        let (until, healed) = match marks.heal {
            Some((begun, done)) => (begun, Some(done)),
            None => (marks.end, None),
        };
        // A probe that was under way when the fault came failed because of it.
        let window = marks.fault.saturating_sub(GIVE_UP)..until;
        let outages: Vec<_> = seen
            .clients
            .iter()
            .map(|c| probes::outage(c, &window))
            .collect();
        let waits = seen
            .clients
            .iter()
            .map(|c| probes::longest_wait(c, &window));
        let shares = seen
            .clients
            .iter()
            .map(|c| probes::answered_share(c, &window));
        let total = outages.iter().map(|outage| outage.total).max();
        let stretches: [Vec<Stretch>; 2] = seen.proxies.each_ref().map(|p| holding::stretches(p));
        let [one, other] = &stretches;
        let asked = (!seen.questions.is_empty()).then(|| arp::both(&seen.questions, marks.fault));
        let mut figures = Self {
            outage_ms: outages.iter().map(|outage| ms(outage.longest)).collect(),
            unanswered_ms: ms(total.unwrap_or_default()),
            served_again: outages.iter().all(|outage| outage.ended),
            answered_share: shares.fold(1.0, f64::min),
            longest_wait_ms: ms(waits.max().unwrap_or_default()),
            two_by_address_ms: ms(holding::overlap(one, other, marks.fault)),
            two_by_arp_ms: asked.map(ms),
            two_at_end: holding::still_two(&seen.proxies[0], &seen.proxies[1]),
            takings: stretches
                .iter()
                .map(|s| holding::takings(s, marks.fault))
                .sum(),
            stood_still_ms: ms(seen.stood_still),
            ..Self::default()
        };
        if let Some(healed) = healed {
            figures.after_heal(seen, healed);
        }
        figures
    }

    /// The longest outage of any client.
    pub fn worst_outage_ms(&self) -> f64 {
        self.outage_ms.iter().copied().fold(0.0, f64::max)
    }

    /// Two holders by whichever way of looking saw them for longer.
    pub fn two_holders_ms(&self) -> f64 {
        self.two_by_address_ms
            .max(self.two_by_arp_ms.unwrap_or_default())
    }

    fn after_heal(&mut self, seen: &Seen, healed: Duration) {
        let unserved = |client: &&Vec<Probe>| {
            // Where there is no probe to tell, nothing shows that it was served.
            probes::is_served(client, healed + AFTER_HEAL) != Some(true)
        };
        let count = seen.clients.iter().filter(unserved).count();
        self.unanswered_after_heal = Some(u32::try_from(count).unwrap_or(u32::MAX));
        let recoveries: Vec<_> = seen
            .clients
            .iter()
            .map(|c| probes::recovery(c, healed))
            .collect();
        let never = recoveries.iter().filter(|r| r.is_none()).count();
        self.never_recovered = u32::try_from(never).unwrap_or(u32::MAX);
        let all: Option<Vec<Duration>> = recoveries.into_iter().collect();
        self.recovery_ms = all.and_then(|all| all.into_iter().max()).map(ms);
    }
}

/// Milliseconds, to a tenth of one.
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn client(silent: &[std::ops::Range<u64>]) -> Vec<Probe> {
        let probe = |start: u64| {
            let answered = !silent.iter().any(|gap| gap.contains(&start));
            Probe {
                start: at(start),
                connected: answered.then_some(at(1)),
                answered: answered.then_some(at(2)),
            }
        };
        (0..10_000).step_by(5).map(probe).collect()
    }

    fn proxy(held: std::ops::Range<u64>) -> Vec<Sample> {
        let sample = |n| Sample {
            at: at(n),
            holds: held.contains(&n),
        };
        (0..10_000).step_by(5).map(sample).collect()
    }

    const MARKS: Marks = Marks {
        fault: at(1000),
        heal: Some((at(5000), at(5050))),
        end: at(10_000),
    };

    #[test]
    fn a_cut_that_both_held_through_is_told_in_all_its_figures() {
        let seen = Seen {
            clients: vec![client(&[1010..4000, 5000..7000]), client(&[])],
            proxies: [proxy(0..10_000), proxy(4000..6000)],
            questions: Vec::new(),
            stood_still: Duration::ZERO,
        };
        let figures = Figures::of(&seen, &MARKS);
        assert_eq!(figures.outage_ms, [2990.0, 0.0]);
        assert!(figures.served_again);
        assert_eq!(figures.two_holders_ms(), 1995.0);
        assert_eq!(figures.unanswered_after_heal, Some(1));
        assert_eq!(figures.recovery_ms, Some(1950.0));
        assert_eq!((figures.takings, figures.never_recovered), (1, 0));
    }

    #[test]
    fn a_client_that_never_came_back_is_counted_and_not_dropped() {
        let seen = Seen {
            clients: vec![client(std::slice::from_ref(&(1010..10_000)))],
            proxies: [proxy(0..1000), proxy(0..0)],
            questions: Vec::new(),
            stood_still: Duration::ZERO,
        };
        let figures = Figures::of(&seen, &MARKS);
        assert!(!figures.served_again);
        assert_eq!(figures.never_recovered, 1);
        assert_eq!(
            (figures.recovery_ms, figures.unanswered_after_heal),
            (None, Some(1))
        );
    }

    #[test]
    fn a_run_without_a_heal_is_judged_to_its_end_and_says_nothing_of_a_heal() {
        let marks = Marks {
            heal: None,
            ..MARKS
        };
        let seen = Seen {
            clients: vec![client(std::slice::from_ref(&(9000..10_000)))],
            ..Seen::default()
        };
        let figures = Figures::of(&seen, &marks);
        assert_eq!(figures.outage_ms, [1000.0]);
        assert!(!figures.served_again);
        assert_eq!(figures.unanswered_after_heal, None);
    }

    #[test]
    fn figures_read_back_from_a_record_as_they_were() {
        let figures = Figures {
            outage_ms: vec![1.5],
            established: Some(Established { open: 20, reset: 3 }),
            ..Figures::default()
        };
        let text = serde_json::to_string(&figures).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Figures>(&text).expect("figures"),
            figures
        );
    }
}
