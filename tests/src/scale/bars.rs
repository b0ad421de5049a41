//! The bars that one leader must pass, judged from what was measured. Pure.

use super::figures::Figures;
use crate::vip::bars::{Bar, Verdict, at_most};

/// The size that is demanded.
const LARGE: u32 = 1_000;
/// What its cost is compared with.
const SMALL: u32 = 100;
const P99_MS: f64 = 50.0;
/// What an agent may cost among many, in terms of what it costs among few.
const GROWTH: f64 = 1.5;

/// All bars.
pub fn all(sizes: &[Figures]) -> Vec<Bar> {
    let of = |agents| sizes.iter().find(|figures| figures.agents == agents);
    let large = of(LARGE);
    let growth = |what: &str, cost: fn(&Figures) -> f64| {
        let demand = format!("{what} at {LARGE} agents: at most {GROWTH} times that at {SMALL}");
        let growth = large
            .zip(of(SMALL))
            .map(|(large, small)| cost(large) / cost(small));
        at_most(demand, growth, GROWTH, "times")
    };
    let p99 = format!("renewals with {LARGE} agents: p99 under {P99_MS} ms");
    let p99_ms = large.map(|large| large.times.p99_ms);
    vec![
        at_most(p99, p99_ms, P99_MS.next_down(), "ms"),
        no_faults(sizes),
        growth("CPU for one renewal", Figures::cpu_per_renewal_us),
        growth("memory for one agent", Figures::memory_per_agent_kib),
    ]
}

/// Whether none failed. One that was not measured did not.
pub fn passed(bars: &[Bar]) -> bool {
    bars.iter().all(|bar| bar.verdict != Verdict::Fail)
}

fn no_faults(sizes: &[Figures]) -> Bar {
    let faulty: Vec<String> = (sizes.iter())
        .filter(|figures| !figures.faults.none())
        .map(|figures| format!("{} agents: {:?}", figures.agents, figures.faults))
        .collect();
    let (verdict, seen) = match (sizes.is_empty(), faulty.is_empty()) {
        (true, _) => (Verdict::Unmeasured, "no runs".to_owned()),
        (false, true) => (Verdict::Pass, format!("none at {} sizes", sizes.len())),
        (false, false) => (Verdict::Fail, faulty.join("; ")),
    };
    Bar {
        demand: "no lease lapses, no claim moves, all are held by leases".to_owned(),
        verdict,
        seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::figures::Faults;
    use crate::scale::seen::Times;
    use crate::vip::record::Weight;

    /// Of so many agents that cost `factor` each.
    fn size(agents: u32, factor: f64) -> Figures {
        let cost = f64::from(agents) / 100.0 * factor;
        Figures {
            agents,
            seconds: 10.0,
            renewals: agents as usize * 100,
            times: Times {
                p99_ms: 49.0,
                ..Times::default()
            },
            leader: Weight {
                cpu_percent: cost,
                pss_mib: cost,
                ..Weight::default()
            },
            ..Figures::default()
        }
    }

    fn verdicts(sizes: &[Figures]) -> Vec<Verdict> {
        all(sizes).iter().map(|bar| bar.verdict).collect()
    }

    #[test]
    fn linear_cost_passes_and_quadratic_cost_fails() {
        use Verdict::{Fail, Pass};
        let linear = [size(100, 1.0), size(1000, 1.4)];
        assert_eq!(verdicts(&linear), [Pass, Pass, Pass, Pass]);
        let quadratic = [size(100, 1.0), size(1000, 10.0)];
        assert_eq!(verdicts(&quadratic), [Pass, Pass, Fail, Fail]);
        assert!(passed(&all(&linear)) && !passed(&all(&quadratic)));
    }

    #[test]
    fn slow_renewals_and_faults_fail() {
        let mut late = size(1000, 1.0);
        late.times.p99_ms = P99_MS;
        late.faults = Faults {
            lapsed: 1,
            ..Faults::default()
        };
        let both = [size(100, 1.0), late];
        assert_eq!(verdicts(&both)[..2], [Verdict::Fail, Verdict::Fail]);
    }

    #[test]
    fn what_was_not_measured_is_neither_passed_nor_failed() {
        let small = [size(100, 1.0)];
        let Verdict::Unmeasured = verdicts(&small)[0] else {
            panic!("{:?}", verdicts(&small));
        };
        assert!(passed(&all(&small)) && passed(&all(&[])));
    }
}
