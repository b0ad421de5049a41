//! What the daemon of a rival costs while nothing happens.
//!
//! CPU time from the scheduler's own count of nanoseconds, memory from the kernel's sums over all
//! mappings, of every process of the unit.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::proxies::{PROXIES, SPARE, Site, WEB, holders_of};
use super::record::{Idle, Weight};
use crate::lab::Lab;

/// Time between the first and the last look.
const OVER: Duration = Duration::from_secs(60);

/// Weighs the daemon on both proxies.
///
/// # Errors
/// A proxy cannot be asked, or the daemon does not run.
pub fn weigh(site: &Site, unit: &str, holder: &str) -> Result<Idle> {
    let began = Instant::now();
    let before = PROXIES.map(|proxy| look(site.lab(), proxy, unit));
    sleep(OVER);
    let mut idle = Idle::default();
    for (proxy, before) in PROXIES.into_iter().zip(before) {
        let (before, after) = (before?, look(site.lab(), proxy, unit)?);
        let weight = after.since(&before, began.elapsed());
        if proxy == holder {
            idle.holder = weight;
        } else {
            idle.standby = weight;
        }
    }
    for address in [WEB, SPARE] {
        idle.addresses += u32::from(holders_of(address)? == [holder]);
    }
    Ok(idle)
}

/// What the processes of a unit have used so far, and use now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    processes: u32,
    ran_ns: u64,
    pss_kib: u64,
    uss_kib: u64,
}

impl Look {
    /// What they weigh, after so much time since another look.
    pub fn since(&self, before: &Self, time: Duration) -> Weight {
        let ran = self.ran_ns.saturating_sub(before.ran_ns) as f64 / 1e9;
        Weight {
            processes: self.processes,
            cpu_percent: ran / time.as_secs_f64() * 100.0,
            pss_mib: self.pss_kib as f64 / 1024.0,
            uss_mib: self.uss_kib as f64 / 1024.0,
        }
    }
}

/// Looks at the processes of a unit on a node now.
///
/// # Errors
/// The node cannot be asked, or the unit has no process.
pub fn look(lab: &Lab, node: &str, unit: &str) -> Result<Look> {
    // A line for each process: nanoseconds that its threads ran, PSS, private clean and dirty
    // memory. `%.0f`, because mawk ends its `%d` at two thousand million: two seconds.
    let script = format!(
        "group=$(systemctl show -P ControlGroup {unit}); \
         for tree in systemd unified .; do \
         list=/sys/fs/cgroup/$tree$group/cgroup.procs; [ ! -e $list ] || break; done; \
         for pid in $(cat $list); do \
         echo $(cat /proc/$pid/task/*/schedstat | \
         awk '{{ran += $1}} END {{printf \"%.0f\", ran}}') \
         $(awk '/^Pss:/ {{pss = $2}} /^Private_(Clean|Dirty):/ {{uss += $2}} \
         END {{print pss, uss}}' /proc/$pid/smaps_rollup); done"
    );
    let text = lab.sh(node, &script)?;
    let look = read(&text).with_context(|| format!("weighing {unit} on {node}"))?;
    ensure!(look.processes > 0, "{unit} has no process on {node}");
    Ok(look)
}

fn read(text: &str) -> Result<Look> {
    let mut look = Look::default();
    for line in text.lines() {
        let words: Vec<u64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("`{line}` holds no numbers"))?;
        let [ran, pss, uss] = words[..] else {
            anyhow::bail!("`{line}` has not three numbers");
        };
        look.processes += 1;
        look.ran_ns += ran;
        look.pss_kib += pss;
        look.uss_kib += uss;
    }
    Ok(look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_of_a_unit_weigh_together() {
        let before = read("1000000000 2048 1024\n500000000 1024 1024\n").expect("two processes");
        let after = read("1600000000 2048 1024\n500000000 1024 1024\n").expect("two processes");
        let weight = after.since(&before, Duration::from_secs(60));
        assert_eq!(weight.processes, 2);
        assert!((weight.cpu_percent - 1.0).abs() < 1e-9, "{weight:?}");
        assert_eq!((weight.pss_mib, weight.uss_mib), (3.0, 2.0));
    }

    #[test]
    fn a_line_that_is_no_process_is_refused() {
        assert!(read("1 2\n").is_err());
        assert!(read("a b c\n").is_err());
        assert_eq!(read("").expect("none"), Look::default());
    }
}
