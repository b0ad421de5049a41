//! Prints how long one renewal of the fence takes: `renewal [ADDRESSES] [TIMES]`, as root.
//!
//! Runs in a network namespace of its own, which ends with it, with the fence loaded at one
//! interface. Only the write to the kernel is measured, as a holder does it: delete and add in
//! every table in one transaction.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamesh_kernel::fence::{Fence, Written};
use hamesh_kernel::load::{Claimed, load};
use hamesh_kernel::thread;
use nix::sched::{CloneFlags, unshare};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count: u8 = arguments.next().as_deref().unwrap_or("2").parse()?;
    let times: usize = arguments.next().as_deref().unwrap_or("5000").parse()?;
    ensure!(times > 0 && count > 0, "there must be something to measure");
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    let status = std::process::Command::new("ip")
        .args([
            "link", "add", "eth0", "type", "veth", "peer", "name", "wire0",
        ])
        .status()?;
    ensure!(status.success(), "cannot make an interface");

    let addresses: Vec<IpAddr> = (1..=count)
        .map(|n| Ipv4Addr::new(10, 77, 1, n).into())
        .collect();
    load(&Claimed::of(addresses.iter().copied().collect()))?;
    println!("{}", thread::make_fit());
    let mut fence = Fence::open()?;
    let long = Duration::from_secs(60);
    fence.take(&addresses, Instant::now() + long)?;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        let written = fence.renew(&addresses, start + long)?;
        taken.push(start.elapsed());
        ensure!(
            written == Written::Live,
            "the machine stood still: {written:?}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    taken.sort_unstable();
    let at = |share: usize| taken[(times * share / 1000).min(times - 1)];
    println!(
        "{times} renewals of {count} addresses: median {:?}, p99 {:?}, p99.9 {:?}, longest {:?}",
        at(500),
        at(990),
        at(999),
        taken[times - 1]
    );
    Ok(())
}
