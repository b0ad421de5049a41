//! An agent that the kernel kills for want of memory.

use anyhow::{Result, ensure};

use super::{CLAIM, settled, watched};
use crate::scenarios::World;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// A control group of the holder's, with little memory, in which something else wants much.
const STARVED: &str = "/sys/fs/cgroup/memory/starved";

/// Killed for want of memory, the holder's agent leaves one holder, comes back, and its unit says
/// how it ended.
pub fn starved(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site, CLAIM)?;
    let run = site.agent(holder)?.started_unix_ms;
    let since = site.sh(holder, "date +@%s")?;
    watched(|| {
        starve(site, holder)?;
        until(&format!("{holder}'s agent is back"), PATIENCE, || {
            let now = site.agent(holder)?.started_unix_ms;
            ensure!(now > run, "still run {now}");
            Ok(())
        })?;
        site.until_part(other, CLAIM, "holding")?;
        site.until_part(holder, CLAIM, "standby")
    })?;
    let said = site.sh(
        holder,
        &format!(
            "journalctl --unit=hamesh-agent --since='{}' --no-pager",
            since.trim()
        ),
    )?;
    for words in ["code=killed, status=9/KILL", "Scheduled restart job"] {
        ensure!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    settled(site, CLAIM).map(drop)
}

/// Has the kernel choose the agent when its group is full.
fn starve(site: &Site, node: &str) -> Result<()> {
    let script = format!(
        "mount -o remount,rw,bind /sys/fs/cgroup/memory; mkdir -p {STARVED}; \
         echo 16M > {STARVED}/memory.limit_in_bytes; \
         agent=$(systemctl show --property=MainPID --value hamesh-agent); \
         echo 1000 > /proc/$agent/oom_score_adj; echo $agent > {STARVED}/cgroup.procs; \
         sh -c 'echo $$ > {STARVED}/cgroup.procs; head -c 64M /dev/zero | tail -c 64M >/dev/null' \
         || true; \
         grep '^oom_kill ' {STARVED}/memory.oom_control; \
         for look in $(seq 50); do rmdir {STARVED} 2>/dev/null && break; sleep 0.1; done"
    );
    let killed = site.sh(node, &script)?;
    ensure!(killed.trim() != "oom_kill 0", "the kernel killed nobody");
    Ok(())
}
