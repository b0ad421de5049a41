//! The loop that makes the machine what it is to be, and keeps it so.
//!
//! ```text
//!        +---------------- every LOOK_EVERY, or a new order ----------------+
//!        v                                                                  |
//!     observe --> plan --> no steps? ------------------------------------> rest
//!        ^         | steps                                                  ^
//!        +-- all --+--> take them in order --> one fails --> verdict, or a pause
//! ```
//! Guarantees: level-triggered. What is to be done follows from the notes on disk and a look at the
//! machine, so that it may be killed at any moment; a new order is taken up after the step that is
//! being taken; with an order to observe nothing is changed.

use std::time::Duration;

use hamesh_proto::v1;
use hamesh_roles::engine::{Action, Desired, Owned, Plan, Resource, Step, plan};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::anchor::Believed;
use super::decide::{Consequence, Good, Order, Target, Verdict, corrections};
use super::machine::Machine;
use super::report::{Reporter, Standing, role_of};
use super::store::Store;
use super::trouble::Trouble;
use crate::backoff::Backoff;
use crate::state::StateError;

/// How often the machine is looked at though nothing is known to have changed.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The pauses between attempts at what worked before.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many plans in a row may be carried out whole and leave something to do: what undoes itself
/// at once, or is undone by somebody, is a failure like any other.
const MOST_PASSES: u32 = 3;

/// The loop.
#[derive(Debug)]
pub struct Converge {
    store: Store,
    machine: Machine,
    orders: watch::Receiver<Option<Believed>>,
    reporter: Reporter,
    backoff: Backoff,
    passes: u32,
}

/// What the notes say, at the beginning of a turn.
struct Notes {
    order: Order,
    good: Option<Good>,
    /// Of this order.
    verdict: Option<Verdict>,
    owned: Owned,
}

/// How a run of steps ended.
enum Ended {
    /// All were taken.
    Whole,
    /// There may be a newer order.
    Interrupted,
    /// One of them failed.
    Failed(Trouble),
}

impl Notes {
    fn read(store: &Store) -> Result<Option<Self>, StateError> {
        let Some(order) = store.order()? else {
            return Ok(None);
        };
        let verdict = store.verdict()?.filter(|verdict| verdict.is_of(&order));
        Ok(Some(Self {
            verdict,
            good: store.good()?,
            owned: store.owned()?,
            order,
        }))
    }

    fn target(&self) -> Target<'_> {
        Target::choose(&self.order, self.good.as_ref(), self.verdict.as_ref())
    }

    /// What is told of: an order that works by now did not fail.
    fn told(&self) -> Option<&Verdict> {
        let worked = self.order.worked(self.good.as_ref());
        self.verdict.as_ref().filter(|_| !worked)
    }
}

impl Converge {
    /// Takes orders from `orders`, the newest only.
    pub fn new(
        store: Store,
        machine: Machine,
        orders: watch::Receiver<Option<Believed>>,
        told: watch::Sender<v1::RoleReport>,
    ) -> Self {
        Self {
            reporter: Reporter::new(told, store.clone()),
            store,
            machine,
            orders,
            backoff: Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE),
            passes: 0,
        }
    }

    /// Until its notes cannot be read or written: nothing can be relied on then.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn run(mut self) -> Result<std::convert::Infallible, StateError> {
        loop {
            self.take_order()?;
            let pause = self.turn().await?;
            let changed = timeout(pause, self.orders.changed()).await;
            if changed.is_ok_and(|open| open.is_err()) {
                // Nobody can order anything any more: what is ordered stays.
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Keeps the newest order, if it can be read. It was believed when it came: from now on it
    /// holds, whatever becomes of its signer's certificate.
    fn take_order(&mut self) -> Result<(), StateError> {
        let Some(believed) = self.orders.borrow_and_update().clone() else {
            return Ok(());
        };
        let Some(anchor) = self.store.anchor()? else {
            return Ok(());
        };
        match Order::try_from(&believed.order) {
            Ok(order) => {
                self.reporter.unread = None;
                if self.store.order()?.as_ref() != Some(&order) {
                    let (digest, attempt) = (order.digest.short(), order.attempt);
                    tracing::info!(digest, attempt, "a new order of {}", order.assignment);
                    self.store.save_order(&order)?;
                    self.backoff.reset();
                    self.passes = 0;
                }
            }
            Err(why) => {
                tracing::error!("an order is not taken: {why}");
                self.reporter.unread = Some((believed.order.clone(), why.to_string()));
            }
        }
        self.store.save_anchor(&anchor.after(&believed))
    }

    /// One look, and what follows from it; how long until the next.
    async fn turn(&mut self) -> Result<Duration, StateError> {
        let Some(notes) = Notes::read(&self.store)? else {
            self.reporter.tell(None, Standing::default());
            return Ok(LOOK_EVERY);
        };
        self.reporter.worked_as = role_of(notes.good.as_ref());
        let target = notes.target();
        let Some((desired, _, _)) = target.desired() else {
            let standing = Standing::at_rest(notes.told(), &Plan::default());
            self.reporter.tell(Some(&notes.order), standing);
            return Ok(LOOK_EVERY);
        };
        let observed = self.machine.observe(desired, &notes.owned).await?;
        let plan = plan(desired, &observed, &notes.owned);
        if notes.order.observe {
            let standing = Standing::observing(&plan);
            self.reporter.tell(Some(&notes.order), standing);
            return Ok(LOOK_EVERY);
        }
        if plan.steps.is_empty() {
            (self.passes, _) = (0, self.backoff.reset());
            let standing = Standing::at_rest(notes.told(), &plan);
            self.reporter.tell(Some(&notes.order), standing);
            return Ok(LOOK_EVERY);
        }
        let ended = match self.passes >= MOST_PASSES + packages(desired) {
            true => Ended::Failed(unsettled(&plan)),
            false => self.pass(&notes, target, &plan).await?,
        };
        match ended {
            Ended::Whole => {
                self.passes += 1;
                Ok(Duration::ZERO)
            }
            Ended::Interrupted => Ok(Duration::ZERO),
            Ended::Failed(trouble) => {
                self.passes = 0;
                self.failed(&notes, &plan, trouble)
            }
        }
    }

    /// Takes the steps in order, until one fails or there is a newer order.
    async fn pass(
        &mut self,
        notes: &Notes,
        target: Target<'_>,
        plan: &Plan,
    ) -> Result<Ended, StateError> {
        let Some((desired, digest, assignment)) = target.desired() else {
            return Ok(Ended::Whole);
        };
        let begun = Instant::now();
        for (n, step) in plan.steps.iter().enumerate() {
            if self.orders.has_changed().unwrap_or_default() {
                return Ok(Ended::Interrupted);
            }
            let standing = Standing::taking(notes.told(), plan, (n, step, begun));
            self.reporter.tell(Some(&notes.order), standing);
            let proves = matches!(step.action, Action::Prove(_));
            if !proves {
                self.store.save_proven(None)?;
            }
            tracing::info!(number = n + 1, of = plan.steps.len(), "{step}");
            if let Err(trouble) = self.machine.take(step, desired, assignment).await {
                return Ok(Ended::Failed(trouble));
            }
            if let Action::Make(Resource::Package(_)) = &step.action {
                // Its own scripts change what the plan was made on: users, files, units that run.
                return Ok(Ended::Whole);
            }
            if proves {
                self.proven(notes, target, &plan.steps)?;
                self.store.save_proven(Some(digest))?;
            }
        }
        Ok(Ended::Whole)
    }

    fn proven(&mut self, notes: &Notes, at: Target<'_>, steps: &[Step]) -> Result<(), StateError> {
        let Target::Order(order) = at else {
            return Ok(());
        };
        if order.worked(notes.good.as_ref()) {
            let corrected = corrections(steps);
            self.reporter.corrected = self.reporter.corrected.saturating_add(corrected);
            return Ok(());
        }
        tracing::info!(digest = order.digest.short(), "the order was seen to work");
        self.store.save_good(&order.good())
    }

    fn failed(
        &mut self,
        notes: &Notes,
        plan: &Plan,
        trouble: Trouble,
    ) -> Result<Duration, StateError> {
        for line in &trouble.said {
            tracing::info!("it said: {line}");
        }
        match notes.target().consequence(notes.good.as_ref()) {
            Consequence::Verdict => {
                tracing::error!(problem = trouble.problem, "the order failed: {trouble}");
                self.store.save_verdict(&Verdict {
                    digest: notes.order.digest.clone(),
                    attempt: notes.order.attempt,
                    trouble,
                })?;
                Ok(Duration::ZERO)
            }
            Consequence::Retry => {
                let pause = self.backoff.pause();
                tracing::warn!(?pause, "not put right yet: {trouble}");
                let standing = Standing::retrying(notes.told(), plan, trouble);
                self.reporter.tell(Some(&notes.order), standing);
                Ok(pause)
            }
        }
    }
}

/// Each of them may end a run of its own.
fn packages(desired: &Desired) -> u32 {
    let resources = desired.resources.iter();
    let packages = resources.filter(|it| matches!(it, Resource::Package(_)));
    u32::try_from(packages.count()).unwrap_or(u32::MAX - MOST_PASSES)
}

fn unsettled(plan: &Plan) -> Trouble {
    let steps = plan.steps.iter().map(ToString::to_string).collect();
    let problem = format!("after {MOST_PASSES} runs of all steps something still differs");
    Trouble::with(problem, steps)
}
