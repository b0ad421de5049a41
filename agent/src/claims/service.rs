//! The asynchronous side of the claims: tells the holder's thread what it must know, and does for
//! it whatever takes time.
//!
//! Guarantees: nothing is granted before its address is fenced in this boot and on the list for the
//! next one; what a member wants on disk is there before it is told so, in order; the thread is
//! started with the node's first claim and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::ids::BootId;
use hamesh_claims::member::Durable;
use hamesh_claims::message::Health;
use hamesh_kernel::load::Claimed;
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::brief::Brief;
use super::duty::Judged;
use super::fencing::Fencing;
use super::holder::{Holder, Order};
use super::keys::{SentKeys, StoredKeys};
use super::lease::DatabaseLease;
use super::machine::Machine;
use super::metrics::ClaimMetrics;
use super::orders::{FromHolder, Orders, Unheard};
use super::outbox::Word;
use super::report::Report;
use super::run_dir::RunDir;
use super::thread::start;
use super::words;
use crate::assignment::Assignment;
use crate::checks::Reports;
use crate::gossip::PeersView;
use crate::primary::Word as DatabaseWord;
use crate::session::SessionState;
use crate::state::StateDir;

/// How often all of the fence is compared with what it should be.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A fence that was just found broken is not loaded again sooner than this.
const LOAD_PAUSE: Duration = Duration::from_millis(100);

/// What the service works with.
#[derive(Debug)]
pub struct Service {
    /// The node.
    pub node: NodeId,
    /// This run's number.
    pub start: u64,
    /// This boot's.
    pub boot_id: String,
    /// The state directory.
    pub state: StateDir,
    /// The runtime directory.
    pub run: RunDir,
    /// What the node was told to be.
    pub assignment: watch::Receiver<Option<Arc<Assignment>>>,
    /// The newest keys of a session.
    pub keys: watch::Receiver<Option<v1::LeaseKeys>>,
    /// How well the node could serve each claim that has checks.
    pub health: watch::Receiver<Reports>,
    /// What is said of this node's database.
    pub database: DatabaseInputs,
    /// The others, by gossip.
    pub peers: watch::Receiver<Arc<PeersView>>,
    /// True: give everything back.
    pub stop: watch::Receiver<bool>,
    /// How the session stands.
    pub session: watch::Receiver<SessionState>,
    /// How the claims stand.
    pub report: watch::Sender<Report>,
    /// Counters.
    pub metrics: Arc<ClaimMetrics>,
    /// Whether another machine took the node's name over.
    pub superseded: bool,
}

/// The way between the claims and what looks after the database.
#[derive(Debug)]
pub struct DatabaseInputs {
    /// What is said of it.
    pub words: watch::Receiver<DatabaseWord>,
    /// Until when this node leads.
    pub lease: DatabaseLease,
}

/// The thread, while there is one.
struct Thread {
    orders: Orders,
    words: mpsc::Receiver<FromHolder>,
}

impl Service {
    /// Runs until an input is gone, or the thread ends, which it must not.
    pub async fn run(mut self) {
        let mut fencing = Fencing::open(self.state.path());
        let mut assignment = self.assignment.clone();
        loop {
            let claims = assignment
                .borrow_and_update()
                .as_ref()
                .is_some_and(|assignment| !assignment.claims.is_empty());
            if claims || fencing.is_needed() {
                break;
            }
            if assignment.changed().await.is_err() {
                return;
            }
        }
        match self.begin() {
            Ok(thread) => self.serve(thread, &mut fencing).await,
            Err(error) => tracing::error!(%error, "no thread for the claims: {error}"),
        }
    }

    fn begin(&self) -> std::io::Result<Thread> {
        let boot = BootId(boot_number(&self.boot_id));
        let metrics = || Arc::clone(&self.metrics);
        let holder = Holder::new(self.node.clone(), self.start, boot, metrics());
        let machine = Machine::new(self.run.clone(), self.database.lease.clone());
        let (orders, words) = start(holder, machine, metrics())?;
        Ok(Thread { orders, words })
    }

    /// How well the node could serve each claim. One that the checks do not know yet is not
    /// healthy.
    fn judged(&self) -> BTreeMap<ClaimId, Judged> {
        let reports = self.health.borrow();
        let database = self.database.words.borrow();
        let assignment = self.assignment.borrow();
        let claims = assignment.iter().flat_map(|found| &found.claims);
        claims
            .map(|claim| {
                let checked = || match reports.get(&claim.id) {
                    Some(report) => (report.health, report.why.clone()),
                    None => (Health::Failed, "not checked yet".to_owned()),
                };
                let judged = match claim.id.is_database() {
                    true => database.judged.clone(),
                    false => checked(),
                };
                (claim.id.clone(), judged)
            })
            .collect()
    }

    fn database_told(&mut self, orders: &Orders) -> Result<(), Unheard> {
        let without = self.database.words.borrow_and_update().without;
        orders.give(Order::Health(self.judged()))?;
        orders.give(Order::Database(without))
    }

    async fn serve(&mut self, mut thread: Thread, fencing: &mut Fencing) {
        let mut heard = self.alive();
        self.assignment.mark_changed();
        self.health.mark_changed();
        self.session.mark_changed();
        self.recall_keys(&thread.orders);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loaded: Option<Option<String>> = None;
        loop {
            let orders = &thread.orders;
            let mut load = false;
            let given = tokio::select! {
                Ok(()) = self.assignment.changed() => match self.brief(fencing).await {
                    None => Ok(()),
                    // Nothing is asked for before it is fenced.
                    Some(brief) => load_fence(orders, fencing, &mut loaded)
                        .await
                        .and_then(|()| orders.give(Order::Health(self.judged())))
                        .and_then(|()| orders.give(Order::Brief(brief))),
                },
                Ok(()) = self.keys.changed() => self.take_keys(orders).await,
                Ok(()) = self.health.changed() => {
                    self.health.mark_unchanged();
                    orders.give(Order::Health(self.judged()))
                }
                Ok(()) = self.database.words.changed() => self.database_told(orders),
                Ok(()) = self.peers.changed() => {
                    self.peers.mark_unchanged();
                    let now = self.alive();
                    let returned = now.difference(&heard).next().is_some();
                    heard = now;
                    if returned { orders.give(Order::PeerReturned) } else { Ok(()) }
                }
                Ok(()) = self.stop.changed() => orders.give(Order::Stop),
                Ok(()) = self.session.changed() => self.session_changed(orders),
                word = thread.words.recv() => match word {
                    None => return,
                    Some(FromHolder::Report(report)) => {
                        load = self.reported(report, fencing);
                        Ok(())
                    }
                    Some(FromHolder::Word(Word::LoadFence)) => {
                        load = true;
                        loaded = None;
                        Ok(())
                    }
                    Some(FromHolder::Word(Word::Said(claim, said))) => {
                        words::log(&claim, &said);
                        Ok(())
                    }
                    Some(FromHolder::Word(Word::Store(claim, disk))) => {
                        self.store(orders, claim, disk).await
                    }
                },
                _ = look.tick() => {
                    load = true;
                    Ok(())
                }
            };
            let given = match (given, load && fencing.is_needed()) {
                (Ok(()), true) => load_fence(orders, fencing, &mut loaded).await,
                (given, _) => given,
            };
            if let Err(error) = given {
                tracing::error!(%error, "claims: {error}");
                return;
            }
        }
    }

    /// What the assignment says, with what members left on disk.
    async fn brief(&mut self, fencing: &mut Fencing) -> Option<Arc<Brief>> {
        let assignment = self.assignment.borrow_and_update().clone()?;
        let mut disk = BTreeMap::new();
        for claim in &assignment.claims {
            disk.insert(claim.id.clone(), self.disk(&claim.id).await);
        }
        fencing.want(self.claimed());
        let brief = Brief::of(&assignment, &disk, fencing.former().clone());
        Some(Arc::new(brief))
    }

    async fn disk(&self, claim: &ClaimId) -> Durable {
        let (state, claim) = (self.state.clone(), claim.clone());
        let read = tokio::task::spawn_blocking(move || (state.claim(&claim), claim)).await;
        match read {
            Ok((Ok(disk), _)) => disk.unwrap_or_default(),
            Ok((Err(error), claim)) => {
                let why = crate::held::describe(&error);
                tracing::warn!(%claim, why, "{claim}: what was known of its group is lost: {why}");
                Durable::default()
            }
            Err(_) => Durable::default(),
        }
    }

    async fn store(&self, orders: &Orders, claim: ClaimId, disk: Durable) -> Result<(), Unheard> {
        let (state, name, value) = (self.state.clone(), claim.clone(), disk.clone());
        let write = move || state.save_claim(&name, &value);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => orders.give(Order::Stored(claim, disk)),
            // Wanted again within a second.
            Ok(Err(error)) => {
                let why = crate::held::describe(&error);
                tracing::error!(%claim, why, "{claim}: its group cannot be kept: {why}");
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// The keys of the last run: good until a coordinator sends others.
    fn recall_keys(&self, orders: &Orders) {
        let peers = self.state.lease_keys().unwrap_or_else(|error| {
            let why = crate::held::describe(&error);
            tracing::warn!(why, "the lease keys on disk cannot be used: {why}");
            None
        });
        let (peers, damaged) = peers.unwrap_or_default().read();
        let (sessions, _) = self.run.session_keys().read();
        for damage in damaged {
            tracing::warn!(%damage, "{damage}");
        }
        let mut given = orders.give(Order::PeerKeys(peers));
        for key in sessions {
            given = given.and(orders.give(Order::SessionKey(key, 0)));
        }
        if let Err(error) = given {
            tracing::error!(%error, "claims: {error}");
        }
    }

    /// Of two machines with one name the one that started later has it: this one ends its claims,
    /// until its agent starts anew.
    fn session_changed(&mut self, orders: &Orders) -> Result<(), Unheard> {
        let superseded = self.session.borrow_and_update().superseded;
        if !superseded || std::mem::replace(&mut self.superseded, true) {
            return Ok(());
        }
        tracing::error!(
            "another machine runs under this node's name and started later: every claim is given \
             back here; stop one of the two"
        );
        orders.give(Order::Superseded)
    }

    async fn take_keys(&mut self, orders: &Orders) -> Result<(), Unheard> {
        let Some(keys) = self.keys.borrow_and_update().clone() else {
            return Ok(());
        };
        let SentKeys {
            peers,
            starts,
            coordinator,
            incarnation,
            damaged,
        } = keys.into();
        for damage in damaged {
            tracing::error!(%damage, "{damage}");
        }
        orders.give(Order::PeerKeys(peers.clone()))?;
        orders.give(Order::Starts(starts))?;
        if let Some(key) = coordinator {
            orders.give(Order::SessionKey(key.clone(), incarnation))?;
            if let Err(error) = self
                .run
                .keep_session_key(&StoredKeys::from([key].as_slice()))
            {
                tracing::warn!(%error, "the session's lease key cannot be kept: {error}");
            }
        }
        let (state, stored) = (self.state.clone(), StoredKeys::from(peers.as_slice()));
        let saved = tokio::task::spawn_blocking(move || state.save_lease_keys(&stored)).await;
        if let Ok(Err(error)) = saved {
            let why = crate::held::describe(&error);
            tracing::error!(why, "the lease keys cannot be kept: {why}");
        }
        Ok(())
    }

    /// Publishes a report. Whether other addresses have to be fenced now.
    fn reported(&mut self, report: Report, fencing: &mut Fencing) -> bool {
        if let Some(why) = &report.unfit
            && self.report.borrow().unfit.is_none()
        {
            tracing::warn!(why, "the holder's thread may be late under load: {why}");
        }
        self.report.send_replace(report);
        fencing.want(self.claimed())
    }

    /// What this node has or had a part in, and has not ended yet.
    fn claimed(&self) -> Claimed {
        let (assignment, report) = (self.assignment.borrow(), self.report.borrow());
        let told = assignment.iter().flat_map(|assignment| &assignment.claims);
        let told = told.map(|claim| (&claim.id, &claim.addresses));
        let cared_for = report.claims.iter();
        let cared_for = cared_for.map(|(id, view)| (id, &view.addresses));
        let mut claimed = Claimed::default();
        for (id, addresses) in told.chain(cared_for) {
            claimed.database |= id.is_database();
            claimed.addresses.extend(addresses);
        }
        claimed
    }

    fn alive(&self) -> BTreeSet<NodeId> {
        let peers = self.peers.borrow();
        let alive = peers.iter().filter(|(_, peer)| peer.alive);
        alive.map(|(node, _)| node.clone()).collect()
    }
}

async fn load_fence(
    orders: &Orders,
    fencing: &mut Fencing,
    told: &mut Option<Option<String>>,
) -> Result<(), Unheard> {
    let began = Instant::now();
    let trouble = fencing.load().await;
    if told.as_ref() == Some(&trouble) {
        return Ok(());
    }
    match &trouble {
        Some(why) => {
            tracing::error!(why, "the fence is not loaded, no claim can be held: {why}");
            tokio::time::sleep_until(began + LOAD_PAUSE).await;
        }
        None => tracing::info!("the fence is loaded"),
    }
    *told = Some(trouble.clone());
    orders.give(Order::Fence(trouble))
}

/// The boot's id, a UUID, as a number; 0 where the kernel does not say: then no boot is like
/// another, and what was remembered is not believed.
fn boot_number(boot_id: &str) -> u128 {
    let digits: String = boot_id.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default()
}
