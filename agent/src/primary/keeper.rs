//! Looks after this node's database for as long as it has a part in the claim on leading it.
//!
//! Two loops: one asks etcd, which may take as long as an election; the other looks at processes
//! and the lease twenty times a second, and waits for nobody.

use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::Moment;
use hamesh_kernel::database::DatabaseFence;
use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::ids::NodeId;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Word;
use super::etcd::Etcd;
use super::judge::{STALE_AFTER, judge};
use super::patroni;
use super::processes::{Program, Watched};
use super::standing::{Act, Standing};
use super::view::{Leader, View};
use crate::assignment::Assignment;
use crate::claims::holder::Without;
use crate::claims::lease::DatabaseLease;
use crate::claims::machine::monotonic;
use crate::claims::run_dir::RunDir;

/// Between two looks at processes and the lease: what an end of PostgreSQL goes unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two questions to etcd: what a change of leader goes unnoticed.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The claims are told again at the latest after this: what they open without a lease ends.
const TELL_EVERY: Duration = Duration::from_millis(400);
/// What must be left of the lease for a leader key to be removed under it.
const LEAST_LEFT: Duration = Duration::from_millis(300);

/// What etcd said, and when it was asked.
#[derive(Clone, Debug)]
struct Seen {
    view: Arc<View>,
    asked: Moment,
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    /// This node, by which name Patroni knows it, too.
    pub node: NodeId,
    /// What etcd is shown.
    pub credentials: LiveCredentials,
    /// What the node was told to be.
    pub assignment: watch::Receiver<Option<Arc<Assignment>>>,
    /// Where the lease is told to programs.
    pub run: RunDir,
    /// Until when this node leads.
    pub lease: DatabaseLease,
    /// What the claims are told.
    pub words: watch::Sender<Word>,
}

impl Keeper {
    /// Until the assignment's side is gone.
    pub async fn run(mut self) {
        loop {
            let told = self.assignment.borrow_and_update().clone();
            let told = told.filter(|told| may_lead(told));
            let Some(told) = told else {
                if self.assignment.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let scope = told.site.to_string();
            let etcd = Arc::new(Mutex::new(Etcd::new(self.credentials.clone(), &scope)));
            let (sender, seen) = watch::channel(None);
            let mut tasks = JoinSet::new();
            tasks.spawn(ask_again(
                Etcd::new(self.credentials.clone(), &scope),
                sender,
            ));
            if !self.keep(seen, &etcd, &mut tasks).await {
                return;
            }
            self.words.send_replace(Word::default());
        }
    }

    /// Until the claim is gone (true), or the assignment's side is.
    async fn keep(
        &mut self,
        seen: watch::Receiver<Option<Seen>>,
        etcd: &Arc<Mutex<Etcd>>,
        tasks: &mut JoinSet<()>,
    ) -> bool {
        let mut look = Look::new(self);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.assignment.changed() => {
                    let told = self.assignment.borrow_and_update().clone();
                    let keeps = told.is_some_and(|told| may_lead(&told));
                    if changed.is_err() || !keeps {
                        return changed.is_ok();
                    }
                }
                // What etcd or systemd were asked for has been answered.
                Some(_) = tasks.join_next() => {}
                _ = ticks.tick() => {
                    let seen = seen.borrow().clone();
                    let todo = look.step(self, seen.as_ref(), monotonic());
                    if todo.kill {
                        tasks.spawn(kill());
                    }
                    if let Some((leader, view)) = todo.remove
                        && let Ok(etcd) = Arc::clone(etcd).try_lock_owned()
                    {
                        tasks.spawn(async move { remove(etcd, &leader, &view).await });
                    }
                }
            }
        }
    }
}

fn may_lead(told: &Assignment) -> bool {
    told.claims.iter().any(|claim| claim.id.is_database())
}

/// What is to be done that takes its time.
#[derive(Debug, Default)]
struct Todo {
    kill: bool,
    remove: Option<(Leader, Arc<View>)>,
}

/// What was seen so far.
#[derive(Debug)]
struct Look {
    postgresql: Watched,
    patroni: Watched,
    standing: Standing,
    /// Until when the fence was open when this agent started: under a lease of its last run.
    inherited: Moment,
    /// The lease as programs were told of it.
    written: Option<Moment>,
    /// Who led when the lease that is live began.
    led_before: Option<String>,
    leased: bool,
    told: Option<Moment>,
}

impl Look {
    fn new(keeper: &Keeper) -> Self {
        let fence = DatabaseFence::open().ok();
        let (open, stands_by) = fence.map_or((None, false), |mut fence| {
            let open = fence.live().ok().flatten();
            (open, fence.stands_by().unwrap_or_default())
        });
        let led = keeper.run.leads_until().is_some();
        let inherited = open.map_or(Moment::ZERO, |left| monotonic().plus(left));
        Self {
            inherited,
            postgresql: Watched::new(Program::PostgreSql),
            patroni: Watched::new(Program::Patroni),
            standing: Standing::at_start(led, open.is_some(), stands_by),
            written: None,
            led_before: None,
            leased: false,
            told: None,
        }
    }

    fn step(&mut self, keeper: &Keeper, seen: Option<&Seen>, now: Moment) -> Todo {
        let me = keeper.node.as_str();
        let until = self.until(keeper);
        let leased = now < until;
        self.tell_programs(keeper, until);
        let act = self.standing.observe(leased, self.patroni.look(), now);
        let seen = seen.map(|seen| (seen.view.as_ref(), now.since(seen.asked), seen));
        let known = seen.map(|(view, age, _)| (view, age));
        let judged = judge(me, known, self.postgresql.look().is_some(), leased);
        let fresh = seen.filter(|(_, age, _)| *age <= STALE_AFTER);
        let reads = |view: &View| {
            !view.leads(me) && view.members.get(me).is_some_and(|member| member.reads())
        };
        let without = Without {
            stands_by: self.standing.is_clear(),
            reads: fresh.is_some_and(|(view, ..)| reads(view)),
        };
        self.tell(keeper, Word { judged, without }, now);
        if leased && !self.leased {
            let before = fresh.and_then(|(view, ..)| view.leader.as_ref());
            self.led_before = before.map(|leader| leader.name.clone());
        }
        self.leased = leased;
        let removes = leased && until.since(now) > LEAST_LEFT;
        let remove = fresh.filter(|_| removes).and_then(|(view, _, seen)| {
            let leader = view.leader.as_ref()?;
            let of_before = self.led_before.as_deref() == Some(&leader.name);
            (leader.name != me && of_before).then(|| (leader.clone(), Arc::clone(&seen.view)))
        });
        Todo {
            kill: act == Act::Kill,
            remove,
        }
    }

    /// Until when the fence is open. What the last run left open counts until this one holds.
    fn until(&mut self, keeper: &Keeper) -> Moment {
        let until = keeper.lease.until();
        if until > Moment::ZERO {
            self.inherited = Moment::ZERO;
        }
        until.max(self.inherited)
    }

    fn tell(&mut self, keeper: &Keeper, word: Word, now: Moment) {
        let due = self.told.is_none_or(|at| now.since(at) >= TELL_EVERY);
        let news = keeper.words.send_if_modified(|told| {
            let news = *told != word;
            *told = word;
            news || due
        });
        if news {
            self.told = Some(now);
        }
    }

    /// Programs on this node are told until when it leads, by the clock that the lease is of.
    fn tell_programs(&mut self, keeper: &Keeper, until: Moment) {
        if self.written == Some(until) || (self.written.is_none() && until == Moment::ZERO) {
            return;
        }
        match keeper.run.lead_until(until) {
            Ok(()) => self.written = Some(until),
            Err(error) => tracing::error!(%error, "the lease cannot be told to Patroni: {error}"),
        }
    }
}

async fn ask_again(mut etcd: Etcd, seen: watch::Sender<Option<Seen>>) {
    let mut trouble: Option<String> = None;
    loop {
        let asked = monotonic();
        match etcd.view().await {
            Ok(view) => {
                if trouble.take().is_some() {
                    tracing::info!("etcd of the databases answers");
                }
                let view = Arc::new(view);
                seen.send_replace(Some(Seen { view, asked }));
            }
            Err(why) => {
                // While it starts the reasons change many times.
                if trouble.is_none() {
                    tracing::warn!(why, "etcd of the databases cannot be asked: {why}");
                }
                trouble = Some(why);
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn remove(mut etcd: tokio::sync::OwnedMutexGuard<Etcd>, leader: &Leader, view: &View) {
    let name = leader.name.as_str();
    match etcd.remove(leader, view).await {
        Ok(true) => tracing::warn!(
            leader = name,
            "this node holds db/primary, the fence of {name} is closed: its leader key is removed"
        ),
        // It is read again, and then removed as it is.
        Ok(false) => tracing::debug!(leader = name, "the leader key of {name} has changed"),
        Err(why) => tracing::warn!(
            leader = name,
            why,
            "the leader key of {name} cannot be removed yet: {why}"
        ),
    }
}

async fn kill() {
    match patroni::kill().await {
        Ok(()) => tracing::warn!(
            "this node led and its lease is over: Patroni is killed, and starts anew before it \
             reaches etcd again"
        ),
        Err(why) => tracing::error!(why, "Patroni, whose lease is over, cannot be killed: {why}"),
    }
}
