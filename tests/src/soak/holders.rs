//! Who held each claim when, seen from inside every node that may hold it.
//!
//! A thread stands in each node's network namespace and asks the kernel whether its fence is open.
//! What it calls two holders was certainly that: only what lies between two looks that both saw it
//! open counts (see [`crate::vip::holding`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hamesh_kernel::database::DatabaseFence;
use hamesh_kernel::fence::Fence;

use crate::vip::holding::{Sample, overlap, stretches};
use crate::vip::inside::{enter, identity};
use crate::vip::proxies::namespace;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(10);
/// After so many looks it is seen whether the node has another namespace: it booted anew.
const LOOKS_PER_BOOT_CHECK: u32 = 20;

/// What a fence is about.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// An address.
    Address(IpAddr),
    /// Leading the databases.
    Database,
}

/// The looks at all nodes.
pub struct Holders {
    over: Arc<AtomicBool>,
    looks: Vec<(&'static str, JoinHandle<Vec<Sample>>)>,
}

impl Holders {
    /// Begins to look: for each claim, what it is about and who may hold it.
    pub fn start(claims: &[(&'static str, What, &[&str])]) -> Self {
        let (over, origin) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let mut looks = Vec::new();
        for (claim, what, nodes) in claims {
            for node in *nodes {
                let (over, what, place) = (Arc::clone(&over), *what, namespace(node));
                let look = spawn(move || look(&place, what, origin, &over));
                looks.push((*claim, look));
            }
        }
        Self { over, looks }
    }

    /// Ends them; for how long two nodes held each claim.
    ///
    /// # Errors
    /// A look broke off, or saw nobody hold a claim at any time: it would see no two either.
    pub fn end(self) -> Result<BTreeMap<&'static str, Duration>> {
        self.over.store(true, Ordering::Relaxed);
        let mut seen: BTreeMap<&'static str, Vec<_>> = BTreeMap::new();
        for (claim, look) in self.looks {
            let samples = look.join().map_err(|_| anyhow!("a look broke off"))?;
            seen.entry(claim).or_default().push(stretches(&samples));
        }
        let mut twice = BTreeMap::new();
        for (claim, nodes) in seen {
            if nodes.iter().all(Vec::is_empty) {
                return Err(anyhow!("nobody was seen to hold {claim}"));
            }
            let mut both = Duration::ZERO;
            for (n, one) in nodes.iter().enumerate() {
                for other in &nodes[n + 1..] {
                    both += overlap(one, other, Duration::ZERO);
                }
            }
            twice.insert(claim, both);
        }
        Ok(twice)
    }
}

/// The way into one namespace.
enum Window {
    Address(IpAddr, Fence),
    Database(DatabaseFence),
}

impl Window {
    fn open(place: &Path, what: What) -> Result<Self> {
        enter(place)?;
        Ok(match what {
            What::Address(ip) => Self::Address(ip, Fence::open()?),
            What::Database => Self::Database(DatabaseFence::open()?),
        })
    }

    /// A fence that is not loaded is that of a node which has just booted, without addresses.
    fn holds(&mut self) -> bool {
        match self {
            Self::Address(ip, fence) => fence.live().is_ok_and(|live| live.contains_key(ip)),
            Self::Database(fence) => fence.live().is_ok_and(|left| left.is_some()),
        }
    }
}

fn look(place: &Path, what: What, origin: Instant, over: &AtomicBool) -> Vec<Sample> {
    let mut entered = None;
    let mut window = None;
    let mut samples = Vec::new();
    let mut looks = 0;
    while !over.load(Ordering::Relaxed) {
        if looks % LOOKS_PER_BOOT_CHECK == 0 {
            let now = identity(place);
            if now != entered {
                // While a machine is off there is none.
                window = now.and_then(|_| Window::open(place, what).ok());
                entered = now.filter(|_| window.is_some());
            }
        }
        looks += 1;
        let holds = window.as_mut().is_some_and(Window::holds);
        let at = origin.elapsed();
        samples.push(Sample { at, holds });
        sleep(EVERY);
    }
    samples
}
