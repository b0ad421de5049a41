//! Requests without a pause, from outside, by wrk.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, anyhow};

use super::EDGE;
use crate::scenarios::World;

/// Connections at one time.
pub const CONNECTIONS: u32 = 8;

/// How long one run of wrk is, where requests go on for as long as something else does.
const ROUND: u32 = 5;

/// Requests that are being made.
pub struct Load(Child);

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Answered with success.
    pub served: u64,
    /// Not answered, or answered with another status.
    pub failed: u64,
}

/// Asks for the page without a pause until something is done; what came of both.
pub fn during<T>(world: &World, act: impl FnOnce() -> Result<T>) -> Result<(T, Told)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| -> Result<Told> {
            let mut all = Told::default();
            loop {
                let ended = over.load(Ordering::Relaxed);
                let round = Load::start(world, ROUND)?.end()?;
                all.served += round.served;
                all.failed += round.failed;
                if ended {
                    return Ok(all);
                }
            }
        });
        let done = act();
        over.store(true, Ordering::Relaxed);
        let told = asking
            .join()
            .map_err(|_| anyhow!("asking for the page ended"))??;
        Ok((done?, told))
    })
}

impl Load {
    /// Begins, for so long.
    pub fn start(world: &World, seconds: u32) -> Result<Self> {
        let (span, connections) = (format!("-d{seconds}s"), format!("-c{CONNECTIONS}"));
        let url = format!("https://{EDGE}/");
        let words = ["wrk", "-t1", &connections, &span, "--timeout", "10s", &url];
        let mut command: Command = world.site.lab.client_command("untrust", &words);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn();
        Ok(Self(child.context("cannot run wrk (package wrk)")?))
    }

    /// Waits for its end.
    pub fn end(self) -> Result<Told> {
        let output = self.0.wait_with_output().context("losing wrk")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        told(&text).with_context(|| {
            let complaints = String::from_utf8_lossy(&output.stderr);
            format!("wrk ended with {}:\n{text}{complaints}", output.status)
        })
    }
}

/// Reads what wrk printed; `None`: it is no report of its.
fn told(text: &str) -> Option<Told> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let lines = || text.lines().map(str::trim);
    let all = lines().find_map(|line| number(line.split_once(" requests in ")?.0))?;
    let other = lines().find_map(|line| number(line.strip_prefix("Non-2xx or 3xx responses:")?));
    let errors = lines().find_map(|line| line.strip_prefix("Socket errors:"));
    let errors = errors.into_iter().flat_map(|line| line.split(','));
    let errors = errors.filter_map(|kind| number(kind.trim().split_once(' ')?.1));
    let other = other.unwrap_or(0);
    Some(Told {
        served: all.saturating_sub(other),
        failed: other + errors.sum::<u64>(),
    })
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} requests served, {} failed", self.served, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let well = "  1 threads and 8 connections\n  40310 requests in 5.00s, 15.45MB read\n";
        let (served, failed) = (40_310, 0);
        assert_eq!(told(well), Some(Told { served, failed }));
        let broken = format!(
            "{well}  Socket errors: connect 1, read 2, write 0, timeout 3\n  \
             Non-2xx or 3xx responses: 10\n"
        );
        let (served, failed) = (40_300, 16);
        assert_eq!(told(&broken), Some(Told { served, failed }));
        assert_eq!(told("unable to connect"), None);
    }
}
