//! Looks into a proxy, again and again: is the address there, and does a fence keep it silent?
//!
//! The same look serves every rival: an address counts as held while it is configured and either no
//! fence is loaded or its element in the fence is live.
//!
//! A thread of its own stands in the proxy's network namespace. When the proxy boots anew it has
//! another one, which the thread then enters.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hamesh_kernel::fence::{Fence, FenceError};
use hamesh_kernel::rtnl::Rtnl;
use nix::sched::{CloneFlags, setns};

use super::holding::Sample;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(4);
/// After so many looks it is seen whether the proxy has another namespace.
const LOOKS_PER_BOOT_CHECK: u32 = 25;

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// There is none at this path, or the caller is not root.
pub fn enter(namespace: &Path) -> Result<()> {
    let named = || format!("entering {}", namespace.display());
    let file = File::open(namespace).with_context(named)?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(named)
}

/// Looks until told to stop.
///
/// # Errors
/// The kernel cannot be asked.
pub fn look(
    namespace: &Path,
    address: IpAddr,
    origin: Instant,
    stop: &AtomicBool,
) -> Result<Vec<Sample>> {
    let mut window = Window::open(namespace.to_owned())?;
    let mut samples = Vec::new();
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        looks += 1;
        if looks % LOOKS_PER_BOOT_CHECK == 0 {
            window.follow()?;
        }
        let holds = window.holds(address)?;
        let at = origin.elapsed();
        samples.push(Sample { at, holds });
        sleep(EVERY);
    }
    Ok(samples)
}

/// Which of these addresses each proxy holds now.
///
/// # Errors
/// The kernel cannot be asked.
pub fn once(namespace: &Path, addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let look = || -> Result<Vec<IpAddr>> {
        let mut window = Window::open(namespace.to_owned())?;
        let mut held = Vec::new();
        for address in addresses {
            if window.holds(*address)? {
                held.push(*address);
            }
        }
        Ok(held)
    };
    // The caller stays where it is: only the looking thread moves.
    std::thread::scope(|scope| scope.spawn(look).join())
        .unwrap_or_else(|_| anyhow::bail!("a look into {} broke off", namespace.display()))
}

/// The kernel's sockets of one network namespace.
struct Window {
    namespace: PathBuf,
    entered: (u64, u64),
    links: Rtnl,
    fence: Fence,
}

impl Window {
    fn open(namespace: PathBuf) -> Result<Self> {
        let entered = identity(&namespace)
            .with_context(|| format!("there is no namespace {}", namespace.display()))?;
        enter(&namespace)?;
        let links = Rtnl::open().context("asking for addresses")?;
        let fence = Fence::open().context("asking for the fence")?;
        Ok(Self {
            namespace,
            entered,
            links,
            fence,
        })
    }

    /// Enters the namespace of the next boot, once there is one.
    fn follow(&mut self) -> Result<()> {
        match identity(&self.namespace) {
            // While `ip` makes a namespace its file is there before the namespace is.
            Some(now) if now != self.entered => match Self::open(self.namespace.clone()) {
                Ok(fresh) => *self = fresh,
                Err(error) if identity(&self.namespace) == Some(now) => {
                    eprintln!("not yet in the next boot: {error:#}");
                }
                Err(_) => {}
            },
            Some(_) | None => {}
        }
        Ok(())
    }

    fn holds(&mut self, address: IpAddr) -> Result<bool> {
        let seen = self.links.interfaces().context("listing addresses")?;
        if seen.carrying(address).next().is_none() {
            return Ok(false);
        }
        match self.fence.live() {
            Ok(live) => Ok(live.contains_key(&address)),
            Err(FenceError::NotLoaded { .. }) => Ok(true),
            Err(error) => Err(error).context("listing the fence"),
        }
    }
}

/// Tells one namespace of a path from the next; `None`: there is none.
pub fn identity(namespace: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(namespace).ok()?;
    Some((found.dev(), found.ino()))
}
