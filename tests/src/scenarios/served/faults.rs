//! Each proxy lost in each way, while the page is asked for without a pause.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::load::Load;
use super::{INNER, OUTER, holder_and_other, until_as_wanted, until_served};
use crate::scenarios::World;
use crate::site::Site;

/// How long the page is asked for around each fault, and how long before it.
const SECONDS: u32 = 7;
const BEFORE: Duration = Duration::from_secs(2);

/// A way to lose a proxy, and the way back.
struct Fault {
    name: &'static str,
    /// Whether whoever holds gives back first: then only connections that stand may be lost.
    planned: bool,
    /// Whether only HAProxy is lost, which systemd starts again.
    process: bool,
    hit: fn(&Site, &str) -> Result<()>,
    mend: fn(&Site, &str) -> Result<()>,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "HAProxy killed",
        planned: false,
        process: true,
        hit: |site, node| {
            let kill = "systemctl kill --signal=KILL haproxy.service";
            site.sh(node, kill).map(drop)
        },
        mend: |_, _| Ok(()),
    },
    Fault {
        name: "drained",
        planned: true,
        process: false,
        hit: |site, node| site.coordctl(&["drain", node]).map(drop),
        mend: |site, node| site.coordctl(&["undrain", node]).map(drop),
    },
    Fault {
        name: "cut off",
        planned: false,
        process: false,
        hit: |site, node| site.lab.must(["cut", node]).map(drop),
        mend: |site, node| site.lab.must(["heal", node]).map(drop),
    },
    Fault {
        name: "without power",
        planned: false,
        process: false,
        hit: |site, node| site.lab.must(["kill", node]).map(drop),
        mend: |site, node| site.lab.must(["start", node]).map(drop),
    },
];

/// The holder and the standby of each address are lost in each way; the page goes on.
pub fn each(world: &World) -> Result<()> {
    let site = &world.site;
    println!("    fault            node           requests");
    for fault in &FAULTS {
        for (claim, nodes) in [("vip/edge", OUTER), ("vip/internal", INNER)] {
            // A standby's HAProxy serves nobody: that it dies alone is no fault of the page.
            let parts: &[bool] = if fault.process {
                &[true]
            } else {
                &[true, false]
            };
            for held in parts {
                let [holder, other] = holder_and_other(site, claim, nodes)?;
                let (node, part) = if *held {
                    (holder, "holder")
                } else {
                    (other, "standby")
                };
                lose(world, fault, node, part)
                    .with_context(|| format!("{node}, {part} of {claim}, {}", fault.name))?;
            }
        }
    }
    Ok(())
}

fn lose(world: &World, fault: &Fault, node: &str, part: &str) -> Result<()> {
    let site = &world.site;
    let load = Load::start(world, SECONDS)?;
    sleep(BEFORE);
    (fault.hit)(site, node)?;
    let told = load.end()?;
    println!("    {:<16} {node:<14} {part:<8} {told}", fault.name);
    // One that is refused asks again at once, thousands of times a second: were it refused for
    // much of the time, these would be most.
    ensure!(told.served > 4 * told.failed.max(1), "{told}");
    until_served(world)?;
    if fault.planned && part == "standby" {
        ensure!(told.failed == 0, "a standby gives nothing back: {told}");
    }
    (fault.mend)(site, node)?;
    site.until_whole()?;
    until_as_wanted(site, &[node])
}
