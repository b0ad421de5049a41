//! The claims core under a model checker: every run within stated bounds.
//!
//! The bounds count deviations. Within them anything may go wrong, at any time and in any
//! combination; all else happens in time: nodes are woken when they are due, messages arrive in the
//! order in which they were sent, within their tick. A message that deviates arrives at any later
//! time or never, also beside a copy that came in time: so it is lost, delayed, repeated or
//! overtaken. The checker tries every choice, and a state is reached once however many ways lead
//! there.
//!
//! Absent: evictions, long promises, slow disks, changes of the time-to-live. Those are the
//! simulator's and the properties'.

mod bounds;
mod message;
mod restore;
mod world;

use std::sync::Arc;

pub use bounds::Bounds;
use message::Message;
use stateright::{Checker, HasDiscoveries, Model, Property};
use world::{Harm, NODES, World};

/// The tick from which the bounds count: by then node `a` holds.
const BEGIN: u64 = 5;

/// What came of an exploration.
#[derive(Clone, Debug)]
pub struct Explored {
    /// How many states there are at which something could be chosen.
    pub states: usize,
    /// The longest row of choices.
    pub depth: usize,
    /// The property that does not hold, and the steps that lead there.
    pub violation: Option<String>,
}

/// Explores everything within `bounds`, or up to the first violation.
#[must_use]
pub fn explore(bounds: Bounds) -> Explored {
    let failures = HasDiscoveries::AnyFailures;
    let checker = Site(bounds).checker().finish_when(failures);
    let checker = checker.spawn_dfs().join();
    let found = checker.discoveries().into_iter();
    let violation = found
        .map(|(property, path)| format!("not \"{property}\": {:#?}", path.into_actions()))
        .next();
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        violation,
    }
}

/// What is chosen next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The next message arrives.
    Deliver,
    /// It does not arrive now; a copy does, or none.
    Late { also_now: bool },
    /// It arrives now; for coordinators, at this one.
    Arrive(Arc<Message>, usize),
    /// The next node is woken.
    Wake,
    /// Its agent is stopped instead.
    Pause,
    /// The next tick begins.
    Tick,
    /// This node is cut off from the coordinators.
    Cut(usize),
    /// The agent of this node dies and starts again.
    Crash { node: usize, forgets: bool },
    /// This node is asked to give the claim back.
    GiveBack(usize),
    /// A third node joins.
    ChangeGroup,
    /// The leader is stopped, or dies.
    Depose { dies: bool },
    /// The next leader begins.
    Lead,
    /// A coordinator is restored from a backup; this node does not hear it yet.
    Restore { apart: Option<usize> },
    /// It does now.
    Meet,
}

struct Site(Bounds);

impl Site {
    fn calm(&self, world: &World) -> bool {
        world.tick + self.0.calm >= BEGIN + self.0.ticks
    }

    fn may_fail(&self, world: &World) -> bool {
        world.spent.faults < self.0.faults && world.tick >= BEGIN && !self.calm(world)
    }

    fn over(&self, world: &World) -> bool {
        let idle = world.inbox.is_empty() && world.turn == NODES;
        idle && world.tick >= BEGIN + self.0.ticks
    }

    /// What may be chosen; the first of it is what happens in time.
    fn choices(&self, world: &World) -> Vec<Step> {
        let (bounds, spent) = (&self.0, &world.spent);
        if world.harm.is_some() {
            return Vec::new();
        }
        let fails = self.may_fail(world);
        if let Some(front) = world.inbox.front() {
            let mut steps = vec![Step::Deliver];
            if fails && spent.late < bounds.late && front.matters() {
                steps.push(Step::Late { also_now: false });
                steps.push(Step::Late { also_now: true });
            }
            return steps;
        }
        if world.turn < NODES {
            let mut steps = vec![Step::Wake];
            if fails && spent.pauses < bounds.pauses {
                steps.push(Step::Pause);
            }
            return steps;
        }
        if self.over(world) {
            return Vec::new();
        }
        let may_lead = !world.steady && world.tick >= world.led_until;
        let may_lead = may_lead && world.term < u64::from(bounds.leaders);
        let may_lead = may_lead && world.restored.is_none();
        if may_lead && self.calm(world) {
            return vec![Step::Lead];
        }
        let mut steps = vec![Step::Tick];
        if may_lead {
            steps.push(Step::Lead);
        }
        if world.is_split() {
            steps.push(Step::Meet);
        }
        for message in &world.late {
            let up = matches!(**message, Message::Up(_));
            let heard = |to: &usize| {
                if up {
                    world.grantors[*to].is_some()
                } else {
                    *to == 0
                }
            };
            let arrive = |to| Step::Arrive(Arc::clone(message), to);
            steps.extend((0..2).filter(heard).map(arrive));
        }
        if fails {
            self.faults(world, &mut steps);
        }
        steps
    }

    fn faults(&self, world: &World, steps: &mut Vec<Step>) {
        let (bounds, spent) = (&self.0, &world.spent);
        if spent.cuts < bounds.cuts {
            steps.extend((0..NODES).filter(|n| !world.nodes[*n].cut).map(Step::Cut));
        }
        if spent.crashes < bounds.crashes {
            for node in 0..NODES {
                let crash = |forgets| Step::Crash { node, forgets };
                steps.push(crash(false));
                if bounds.forgetful {
                    steps.push(crash(true));
                }
            }
        }
        if spent.give_backs < bounds.give_backs {
            let held = (0..NODES).filter(|n| world.nodes[*n].member.holds().is_some());
            steps.extend(held.map(Step::GiveBack));
        }
        if spent.group_changes < bounds.group_changes {
            steps.push(Step::ChangeGroup);
        }
        if spent.restores < bounds.restores {
            steps.push(Step::Restore { apart: None });
            let apart = (0..bounds.members).map(|node| Step::Restore { apart: Some(node) });
            steps.extend(apart);
        }
        if spent.depositions < bounds.depositions && world.steady {
            steps.push(Step::Depose { dies: true });
            steps.push(Step::Depose { dies: false });
        }
    }

    fn take(&self, world: &mut World, step: Step) {
        let bounds = &self.0;
        let spent = &mut world.spent;
        let kind = match &step {
            Step::Late { .. } => Some(&mut spent.late),
            Step::Pause => Some(&mut spent.pauses),
            Step::Cut(_) => Some(&mut spent.cuts),
            Step::Crash { .. } => Some(&mut spent.crashes),
            Step::Depose { .. } => Some(&mut spent.depositions),
            Step::GiveBack(_) => Some(&mut spent.give_backs),
            Step::ChangeGroup => Some(&mut spent.group_changes),
            Step::Restore { .. } => Some(&mut spent.restores),
            Step::Deliver
            | Step::Arrive(..)
            | Step::Wake
            | Step::Tick
            | Step::Lead
            | Step::Meet => None,
        };
        if let Some(kind) = kind {
            *kind += 1;
            spent.faults += 1;
        }
        match step {
            Step::Deliver => {
                if let Some(message) = world.inbox.pop_front() {
                    world.deliver(&message, None, bounds);
                }
            }
            Step::Late { also_now } => {
                if let Some(message) = world.inbox.pop_front() {
                    world.late.insert(Arc::clone(&message));
                    if also_now {
                        world.deliver(&message, None, bounds);
                    }
                }
            }
            Step::Arrive(message, to) => {
                world.late.remove(&message);
                let to = matches!(*message, Message::Up(_)).then_some(to);
                world.deliver(&message, to, bounds);
            }
            Step::Wake => world.wake(bounds),
            Step::Pause => world.pause(),
            Step::Cut(node) => world.nodes[node].cut = true,
            Step::Tick => {
                world.pass(bounds);
                if self.calm(world) {
                    world.late.clear();
                    world.nodes.iter_mut().for_each(|node| node.cut = false);
                    world.end_outdated();
                }
            }
            Step::Crash { node, forgets } => world.crash(node, forgets, bounds),
            Step::GiveBack(node) => world.give_back(node, bounds),
            Step::ChangeGroup => world.change_group(bounds),
            Step::Depose { dies } => world.depose(dies),
            Step::Lead => world.lead(bounds),
            Step::Restore { apart } => world.restore(apart, bounds),
            Step::Meet => world.meet(),
        }
    }

    /// Goes on for as long as there is only one thing that can happen.
    fn settle(&self, world: &mut World) {
        loop {
            let mut choices = self.choices(world);
            if choices.len() != 1 {
                return;
            }
            if let Some(step) = choices.pop() {
                self.take(world, step);
            }
        }
    }
}

impl Model for Site {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new(&self.0);
        self.settle(&mut world);
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend(self.choices(world));
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        self.take(&mut world, step);
        self.settle(&mut world);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two holders", |_, world: &World| {
                world.harm != Some(Harm::TwoHolders)
            }),
            Property::always("no grant under a promise", |_, world: &World| {
                world.harm != Some(Harm::BrokenPromise)
            }),
            Property::always("held in the end", |site: &Self, world: &World| {
                let over = site.over(world) && world.harm.is_none();
                !(site.0.held_at_last && over) || world.open_fences() == 1
            }),
        ]
    }
}
