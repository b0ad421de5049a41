//! All simulated agents of one size.
//!
//! Their threads live in the network namespace of the lab's client; nothing of them is left when
//! the crowd is dropped.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hamesh_proto::token::EnrolmentToken;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::agent::{self, Enrolled, Running, Shared};
use super::layout;
use super::seen::Seen;
use crate::vip::inside;

/// In memory: what the agents write shall cost the leader's disk nothing.
const STATE_UNDER: &str = "/dev/shm";
/// Threads of all agents together: the leader has the other processors.
const THREADS: usize = 2;
/// Agents that enrol at one time: the coordinator lets no more than a few strangers of one address
/// in at once.
const ENROLLING: usize = 4;
/// Sessions from one address: the coordinator lets no more than 64 members of one address in.
const FROM_ONE_ADDRESS: usize = 50;
/// How long a group of agents may take to have their sessions.
const SESSIONS: Duration = Duration::from_secs(60);
/// How long all claims may take to be held: a member that remembers no promise waits half a minute.
const HELD: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct Crowd {
    running: Vec<Running>,
    shared: Shared,
    root: TempDir,
    runtime: Option<Runtime>,
}

impl Crowd {
    /// Without agents yet, in this network namespace.
    ///
    /// # Errors
    /// There is no such namespace, or the caller is not root.
    pub fn new(namespace: &Path) -> Result<Self> {
        // What a thread that is being made cannot say, is said here.
        let tried = namespace.to_owned();
        let entered = std::thread::spawn(move || inside::enter(&tried)).join();
        entered.unwrap_or_else(|_| bail!("a look into {} broke off", namespace.display()))?;
        let namespace = namespace.to_owned();
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .on_thread_start(move || {
                inside::enter(&namespace).expect("the namespace was entered a moment ago");
            })
            .build()
            .context("starting the agents' threads")?;
        let root = tempfile::Builder::new()
            .prefix("hamesh-scale-")
            .tempdir_in(STATE_UNDER)
            .with_context(|| format!("making a directory in {STATE_UNDER}"))?;
        Ok(Self {
            running: Vec::new(),
            shared: Shared::new()?,
            root,
            runtime: Some(runtime),
        })
    }

    /// Enrols an agent with each token, in their order.
    ///
    /// # Errors
    /// The first of an agent.
    pub fn enrol(&self, tokens: Vec<EnrolmentToken>) -> Result<Vec<Enrolled>> {
        let mut shares: Vec<Vec<(u32, EnrolmentToken)>> = vec![Vec::new(); ENROLLING];
        for (agent, token) in (0..).zip(tokens) {
            shares[agent as usize % ENROLLING].push((agent, token));
        }
        let mut tasks = JoinSet::new();
        for share in shares {
            let root = self.root.path().to_owned();
            let each = async move {
                let mut enrolled = Vec::new();
                for (agent, token) in share {
                    enrolled.push(agent::enrol(agent, token, &root).await?);
                }
                anyhow::Ok(enrolled)
            };
            tasks.spawn_on(each, self.runtime()?.handle());
        }
        let mut all = Vec::new();
        for enrolled in self.runtime()?.block_on(tasks.join_all()) {
            all.extend(enrolled?);
        }
        all.sort_by_key(Enrolled::agent);
        Ok(all)
    }

    /// Starts them all, in groups with a source address each: `dial_from` says which is next.
    ///
    /// # Errors
    /// A group has not all its sessions in time.
    pub fn start(
        &mut self,
        enrolled: Vec<Enrolled>,
        dial_from: impl Fn(Ipv4Addr) -> Result<()>,
    ) -> Result<()> {
        let mut left = enrolled.into_iter().peekable();
        while let Some(first) = left.peek() {
            dial_from(layout::address(first.agent()))?;
            let group: Vec<Enrolled> = left.by_ref().take(FROM_ONE_ADDRESS).collect();
            let started = self.start_group(group)?;
            self.running.extend(started);
        }
        Ok(())
    }

    fn start_group(&self, group: Vec<Enrolled>) -> Result<Vec<Running>> {
        let shared = self.shared.clone();
        let opened = async move {
            let mut running = Vec::new();
            for enrolled in group {
                running.push(enrolled.start(shared.clone()).await?);
            }
            let all = async {
                for agent in &mut running {
                    agent.in_session().await;
                }
            };
            if timeout(SESSIONS, all).await.is_err() {
                let why = running.iter().find_map(Running::problem);
                let why = why.unwrap_or_else(|| "no reason is known".to_owned());
                bail!("no session within {} s: {why}", SESSIONS.as_secs());
            }
            Ok(running)
        };
        // Spawned: what it opens belongs into the namespace of the runtime's threads.
        let runtime = self.runtime()?;
        let ended = runtime.block_on(runtime.spawn(opened));
        ended.context("starting agents broke off")?
    }

    /// Waits until this many claims are held.
    ///
    /// # Errors
    /// They are not in time.
    pub fn wait_held(&self, claims: u32) -> Result<()> {
        let began = Instant::now();
        loop {
            let held = self.shared.tally.held();
            if held == i64::from(claims) {
                return Ok(());
            }
            ensure!(
                began.elapsed() < HELD,
                "after {} s {held} claims of {claims} are held",
                HELD.as_secs()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Watches for a while; gives what was seen, and how many claims are held then.
    pub fn watch(&self, time: Duration) -> (Seen, i64) {
        self.shared.tally.begin();
        std::thread::sleep(time);
        (self.shared.tally.end(), self.shared.tally.held())
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().context("the agents have ended")
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.running.clear();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// CPU time that this process has used, by the scheduler's own count.
///
/// # Errors
/// The kernel does not tell.
pub fn own_cpu() -> Result<Duration> {
    let mut ran = 0;
    for task in fs::read_dir("/proc/self/task").context("listing own threads")? {
        let path = task
            .context("listing own threads")?
            .path()
            .join("schedstat");
        // A thread may end meanwhile.
        let text = fs::read_to_string(path).unwrap_or_default();
        let first = text.split(' ').next().unwrap_or_default();
        ran += first.parse::<u64>().unwrap_or_default();
    }
    Ok(Duration::from_nanos(ran))
}
