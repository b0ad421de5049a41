//! The claims core under a model checker: every order of events within stated bounds.
//!
//! Safety is exhaustive within each table of [`Bounds`]; the largest bounds and what they leave out
//! are in `docs/decisions/0010-claims-core.md`. Messages are lost (never delivered), repeated,
//! delayed and reordered at will; a message that changes nothing (a refusal, a hint to ask) is not
//! sent, since losing it is among the cases anyway and being woken does the same.

mod world;

use hamesh_claims::ids::Epoch;
use hamesh_claims::member::Event;
use hamesh_claims::message::{Hint, HintKind, ToMember};
use hamesh_claims::reason::MoveReason;
use hamesh_claims::{Rule, Rules, grantor};
use stateright::{Checker, HasDiscoveries, Model, Property};
use world::{Bounds, Message, World};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Tick,
    Wake(usize),
    /// Delivers a message, to this coordinator if it goes to coordinators; or leaves a copy behind.
    Deliver {
        message: Message,
        to: usize,
        repeated: bool,
    },
    Lead,
    Crash {
        node: usize,
        forgets: bool,
    },
    GiveBack(usize),
    ChangeGroup,
}

struct Site(Bounds);

impl Site {
    fn calm(&self, world: &World) -> bool {
        world.tick >= self.0.calm_from
    }

    fn deliveries(&self, world: &World, steps: &mut Vec<Step>) {
        for message in &world.net {
            let message = (**message).clone();
            let up = matches!(message, Message::Up(_));
            let targets = match &message {
                Message::Up(_) if self.calm(world) => vec![world.who()],
                Message::Up(_) => vec![0, 1],
                Message::Down(to, _) | Message::Peer(to, _) => vec![*to],
            };
            for to in targets {
                if up && world.grantors[to].is_none() {
                    continue;
                }
                let message = message.clone();
                steps.push(Step::Deliver {
                    message: message.clone(),
                    to,
                    repeated: false,
                });
                if world.repeats < self.0.repeats && !self.calm(world) {
                    steps.push(Step::Deliver {
                        message,
                        to,
                        repeated: true,
                    });
                }
            }
        }
    }

    fn faults(&self, world: &World, steps: &mut Vec<Step>) {
        let bounds = &self.0;
        let members = 0..bounds.members;
        if world.crashes < bounds.crashes {
            for node in members.clone() {
                steps.push(Step::Crash {
                    node,
                    forgets: false,
                });
                steps.push(Step::Crash {
                    node,
                    forgets: true,
                });
            }
        }
        if world.give_backs < bounds.give_backs {
            let held = members.filter(|n| world.nodes[*n].member.holds().is_some());
            steps.extend(held.map(Step::GiveBack));
        }
        if world.group_changes < bounds.group_changes && world.term > 0 {
            steps.push(Step::ChangeGroup);
        }
    }
}

impl Model for Site {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::held(&self.0, self.0.led_until)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let bounds = &self.0;
        if world.open_fences() > 1 || world.broke_promise {
            return;
        }
        let can_lead = world.tick >= world.led_until && world.term < u64::from(bounds.leaders);
        if self.calm(world) {
            let sleeper = (0..bounds.members).find(|n| !world.nodes[*n].woken);
            match (can_lead, world.net.is_empty(), sleeper) {
                (true, ..) => steps.push(Step::Lead),
                (false, false, _) => self.deliveries(world, steps),
                (false, true, Some(node)) => steps.push(Step::Wake(node)),
                (false, true, None) => steps.push(Step::Tick),
            }
            return;
        }
        let awake = if world.group_changes > 0 {
            3
        } else {
            bounds.members
        };
        steps.push(Step::Tick);
        if can_lead {
            steps.push(Step::Lead);
        }
        if world.wakes < bounds.wakes {
            steps.extend(
                (0..awake)
                    .filter(|n| !world.nodes[*n].woken)
                    .map(Step::Wake),
            );
        }
        self.deliveries(world, steps);
        self.faults(world, steps);
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let bounds = &self.0;
        let mut world = last.clone();
        match step {
            Step::Tick => {
                world.tick += 1;
                world.nodes.iter_mut().for_each(|node| node.woken = false);
                let who = world.who();
                world.grantor(who, grantor::Event::Tick, bounds);
            }
            Step::Wake(node) => {
                world.nodes[node].woken = true;
                world.wakes = world.wakes.saturating_add(1);
                world.member(node, Event::Tick, bounds);
            }
            Step::Deliver {
                message,
                to,
                repeated,
            } => {
                if repeated {
                    world.repeats += 1;
                } else {
                    world.net.retain(|other| **other != message);
                }
                match message {
                    Message::Up(it) => world.grantor(to, grantor::Event::FromMember(it), bounds),
                    Message::Down(n, it) => world.member(n, Event::FromCoordinator(it), bounds),
                    Message::Peer(n, it) => world.member(n, Event::FromPeer(it), bounds),
                }
            }
            Step::Lead => world.lead(bounds),
            Step::Crash { node, forgets } => {
                world.crashes += 1;
                world.crash(node, forgets, bounds);
            }
            Step::GiveBack(node) => {
                world.give_backs += 1;
                let (grant, _) = world.nodes[node].member.holds()?;
                let epoch = Epoch {
                    term: u64::MAX,
                    ..grant.epoch
                };
                let epoch = Epoch {
                    term: world.term.min(epoch.term),
                    ..epoch
                };
                let what = HintKind::GiveBack(grant, MoveReason::Drained);
                let hint = ToMember::Hint(Hint { epoch, what });
                world.member(node, Event::FromCoordinator(hint), bounds);
            }
            Step::ChangeGroup => {
                world.group_changes += 1;
                world.change_group(bounds);
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two holders", |_, world: &World| {
                world.open_fences() <= 1
            }),
            Property::always("no grant under a promise", |_, world: &World| {
                !world.broke_promise
            }),
            Property::always("held in the end", |site: &Self, world: &World| {
                world.tick < site.0.ticks || !site.calm(world) || world.open_fences() == 1
            }),
            Property::sometimes("a claim is held", |_, world: &World| {
                world.open_fences() == 1
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.tick <= self.0.ticks
    }
}

/// A holder and a standby, under one leader: 153,903 states.
const NARROW: Bounds = Bounds {
    rules: Rules::all(),
    members: 2,
    ticks: 7,
    wakes: 3,
    in_flight: 2,
    repeats: 0,
    crashes: 0,
    leaders: 1,
    give_backs: 0,
    group_changes: 0,
    led_until: 99,
    calm_from: u64::MAX,
};

/// The leader changes: 70,261 states.
const LEADERS: Bounds = Bounds {
    leaders: 2,
    led_until: 4,
    ticks: 6,
    ..NARROW
};

/// Explores everything within `bounds`; the violation found, if any, as the steps that lead to it.
fn violation(name: &str, bounds: Bounds) -> Option<String> {
    let failures = HasDiscoveries::AnyFailures;
    let checker = Site(bounds)
        .checker()
        .finish_when(failures)
        .spawn_dfs()
        .join();
    println!(
        "{name}: {} states, depth {}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    let found = checker.discoveries();
    assert!(
        !found.is_empty(),
        "{name}: nobody ever holds: the bounds are too narrow"
    );
    let harm = found
        .into_iter()
        .find(|(property, _)| *property != "a claim is held");
    harm.map(|(property, path)| format!("{name}: not \"{property}\": {:#?}", path.into_actions()))
}

#[test]
fn no_order_of_renewals_makes_two_holders() {
    assert_eq!(violation("renewals", NARROW), None);
}

#[test]
fn no_change_of_leader_makes_two_holders() {
    assert_eq!(violation("leaders", LEADERS), None);
}

#[test]
fn no_crash_of_a_member_makes_two_holders() {
    assert_eq!(
        violation(
            "crashes",
            Bounds {
                crashes: 1,
                ticks: 6,
                ..NARROW
            }
        ),
        None
    );
}

#[test]
fn the_model_shows_the_harm_of_breaking_a_rule() {
    for rule in [Rule::StartUpWait] {
        let broken = Bounds {
            rules: Rules::without(rule),
            ..LEADERS
        };
        assert!(
            violation("broken", broken).is_some(),
            "{rule:?} can be broken unseen"
        );
    }
}
