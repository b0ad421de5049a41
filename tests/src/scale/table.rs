//! What is printed of all sizes. Pure.

use std::fmt::Write as _;

use super::figures::Figures;

/// One row: what it says, and of which figures.
type Row = (&'static str, fn(&Figures) -> String);

const ROWS: [Row; 24] = [
    ("claims held", |f| f.claims.to_string()),
    ("applied after (s)", |f| format!("{:.1}", f.setup.apply_s)),
    ("then all enrolled after (s)", |f| {
        format!("{:.1}", f.setup.enrol_s)
    }),
    ("then all in session after (s)", |f| {
        format!("{:.1}", f.setup.sessions_s)
    }),
    ("then all claims held after (s)", |f| {
        format!("{:.1}", f.setup.held_s)
    }),
    ("watched (s)", |f| format!("{:.1}", f.seconds)),
    ("renewals per second", |f| {
        format!("{:.0}", f.renewals_per_second())
    }),
    ("renewal p50 (ms)", |f| format!("{:.2}", f.times.p50_ms)),
    ("renewal p99 (ms)", |f| format!("{:.2}", f.times.p99_ms)),
    ("renewal max (ms)", |f| format!("{:.2}", f.times.max_ms)),
    ("least left of a lease (ms)", |f| {
        format!("{:.0}", f.least_left_ms)
    }),
    ("leases lapsed", |f| f.faults.lapsed.to_string()),
    ("claims let go or taken", |f| f.faults.moved.to_string()),
    ("claims held by promises", |f| f.faults.alone.to_string()),
    ("datagrams dropped at the leader", |f| {
        f.faults.dropped.to_string()
    }),
    ("leader CPU (% of a core)", |f| {
        format!("{:.1}", f.leader.cpu_percent)
    }),
    ("leader CPU, idle (% of a core)", |f| {
        format!("{:.1}", f.idle.cpu_percent)
    }),
    ("leader PSS (MiB)", |f| format!("{:.1}", f.leader.pss_mib)),
    ("leader PSS, idle (MiB)", |f| {
        format!("{:.1}", f.idle.pss_mib)
    }),
    ("its etcd CPU (% of a core)", |f| {
        format!("{:.1}", f.store.cpu_percent)
    }),
    ("its etcd PSS (MiB)", |f| format!("{:.1}", f.store.pss_mib)),
    ("CPU per renewal (us) *", |f| {
        format!("{:.1}", f.cpu_per_renewal_us())
    }),
    ("memory per agent (KiB) *", |f| {
        format!("{:.1}", f.memory_per_agent_kib())
    }),
    ("simulated agents' CPU (%)", |f| {
        format!("{:.1}", f.agents_cpu_percent)
    }),
];

/// The table, a column for each size.
pub fn text(all: &[Figures]) -> String {
    let mut text = format!("{:<34}", "agents");
    for figures in all {
        let _ = write!(text, "{:>9}", figures.agents);
    }
    for (title, show) in ROWS {
        let _ = write!(text, "\n{title:<34}");
        for figures in all {
            let _ = write!(text, "{:>9}", show(figures));
        }
    }
    let processors = all.iter().map(|f| f.machine.processors).max();
    let loads: Vec<String> = (all.iter())
        .map(|f| format!("{:.2}", f.machine.load))
        .collect();
    let _ = writeln!(
        text,
        "\n* beyond the same leader without agents; CPU with its part of everything that the \
         leader does\nThe agents share {} processors with the leader; load average when watching \
         began: {}",
        processors.unwrap_or_default(),
        loads.join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_a_column() {
        let size = |agents| Figures {
            agents,
            seconds: 30.0,
            ..Figures::default()
        };
        let text = text(&[size(100), size(1000)]);
        let first = text.lines().next().expect("a heading");
        assert_eq!(
            first.split_whitespace().collect::<Vec<_>>(),
            ["agents", "100", "1000"]
        );
        let rows = text.lines().take(ROWS.len() + 1);
        assert!(rows.clone().all(|line| line.len() == first.len()), "{text}");
    }
}
