//! Watches the site from all sides while a run goes on.
//!
//! One origin of time for all: probers in the clients' namespaces, a look into each proxy, and the
//! questions of the second client, each on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::arp::Question;
use super::client::{self, Pulse};
use super::figures::{Established, Seen};
use super::holding::Sample;
use super::probes::{GIVE_UP, Probe};
use super::proxies::{self, PAGE, PROXIES, WEB};
use super::{inside, listener, stillness};

const PAUSE: Duration = Duration::from_millis(20);
/// Connections that are open before a planned move.
const KEPT: u32 = 20;
/// How long after an answer it is certain that no probe under way before it fails yet.
const SETTLED: Duration = GIVE_UP;

/// Who probes, and whether the other client asks instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The first client probes, the second asks who has the address.
    ProbeAndAsk,
    /// Both probe: answers to questions would heal the second one's neighbour cache.
    ProbeTwice,
}

type Watcher<T> = JoinHandle<Result<Vec<T>>>;

/// A watch that is going on.
#[derive(Debug)]
pub struct Watch {
    origin: Instant,
    stop: Arc<AtomicBool>,
    probers: Vec<(Arc<Pulse>, Watcher<Probe>)>,
    lookers: Vec<Watcher<Sample>>,
    listener: Option<Watcher<Question>>,
    stillness: JoinHandle<Result<Duration>>,
}

impl Watch {
    /// Starts to watch.
    pub fn start(view: View) -> Self {
        let origin = Instant::now();
        let stop = Arc::new(AtomicBool::new(false));
        let [first, second] = proxies::clients();
        let mut probing = vec![first];
        let mut listener = None;
        match view {
            View::ProbeTwice => probing.push(second),
            View::ProbeAndAsk => {
                let stop = Arc::clone(&stop);
                listener = Some(spawn(move || {
                    listener::ask(&second, None, WEB, origin, &stop)
                }));
            }
        }
        let probers = probing.into_iter().map(|namespace| {
            let (pulse, stop) = (Arc::new(Pulse::default()), Arc::clone(&stop));
            let shared = Arc::clone(&pulse);
            let work = move || client::probe(&namespace, PAGE, origin, (&shared, &stop));
            (pulse, spawn(work))
        });
        let lookers = PROXIES.map(|proxy| {
            let stop = Arc::clone(&stop);
            let namespace = proxies::namespace(proxy);
            spawn(move || inside::look(&namespace, WEB.into(), origin, &stop))
        });
        let stillness = {
            let stop = Arc::clone(&stop);
            spawn(move || stillness::longest(&stop))
        };
        Self {
            origin,
            stillness,
            probers: probers.collect(),
            lookers: lookers.into(),
            listener,
            stop,
        }
    }

    /// Time since the start of the run.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Waits until a moment of the run.
    pub fn until(&self, moment: Duration) {
        sleep(moment.saturating_sub(self.now()));
    }

    /// Waits until every client has been answered without a failure for `steady`, at most until
    /// `limit`. Says whether that came.
    pub fn until_served(&self, steady: Duration, limit: Duration) -> bool {
        let began = self.now();
        loop {
            let now = self.now();
            // What failed may be known only later: look at the time that is settled.
            let since = now.saturating_sub(steady + SETTLED).max(began);
            let long_enough = now.saturating_sub(since) >= steady + SETTLED;
            if long_enough && self.probers.iter().all(|(pulse, _)| pulse.is_steady(since)) {
                return true;
            }
            if now >= limit {
                return false;
            }
            sleep(PAUSE);
        }
    }

    /// Ends the watch and gives what was seen.
    ///
    /// # Errors
    /// Any of the watchers could not do its work: what it did not see would be taken for nothing.
    pub fn end(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        for (_, prober) in self.probers {
            let probes = joined(prober).context("probing from a client")?;
            seen.clients.push(probes);
        }
        for (place, looker) in seen.proxies.iter_mut().zip(self.lookers) {
            *place = joined(looker).context("looking into a proxy")?;
        }
        if let Some(listener) = self.listener {
            seen.questions = joined(listener).context("asking for the address")?;
        }
        seen.stood_still = joined(self.stillness)?;
        Ok(seen)
    }
}

/// Connections that are open while something happens.
#[derive(Debug)]
pub struct Kept {
    stop: Arc<AtomicBool>,
    keeper: JoinHandle<Result<Established>>,
}

impl Kept {
    /// Opens them from the first client.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn open() -> Result<Self> {
        let [namespace, _] = proxies::clients();
        let (stop, ready) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let shared = (Arc::clone(&ready), Arc::clone(&stop));
        let work = move || client::keep_open(&namespace, PAGE, KEPT, (&shared.0, &shared.1));
        let keeper = spawn(work);
        while !ready.load(Ordering::Relaxed) {
            if keeper.is_finished() {
                joined(keeper).context("opening connections that stay")?;
                bail!("the connections were not kept open");
            }
            sleep(PAUSE);
        }
        Ok(Self { stop, keeper })
    }

    /// Sees which of them still answer.
    ///
    /// # Errors
    /// They could not be asked.
    pub fn end(self) -> Result<Established> {
        self.stop.store(true, Ordering::Relaxed);
        joined(self.keeper).context("asking the open connections")
    }
}

fn joined<T>(handle: JoinHandle<Result<T>>) -> Result<T> {
    let outcome = handle.join();
    outcome.unwrap_or_else(|_| bail!("the thread broke off"))
}
