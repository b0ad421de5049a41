//! What goes wrong in a run, drawn from its seed; and how it is mended.

use fastrand::Rng;
use hamesh_claims::member::Event;
use hamesh_claims::message::Health;

use super::clock::MS;
use super::coordinator::{Command, Line};
use super::network::Weather;
use super::site::{CLAIMS, COORDINATORS, NODES, TRIO, WORKER, name, timing, title};
use super::world::{STORM, What, World};

/// Something that goes wrong, is done by an operator, or is mended.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The agent dies and starts again after this long.
    Kill(usize, u64),
    /// The node loses power for this long.
    PowerOff(usize, u64),
    /// The node loses power for this long, and an operator confirms it for the trio's group.
    Fenced(usize, u64),
    /// The agent is stopped for this long.
    Pause(usize, u64),
    /// The coordinator dies and starts again after this long.
    KillCoordinator(usize, u64),
    /// The coordinator is stopped for this long.
    PauseCoordinator(usize, u64),
    /// These ways are cut.
    Cut(Vec<(usize, usize)>),
    /// The coordinator and the store do not hear each other, both ways or one, for this long.
    StoreCut(usize, Line, u64),
    /// They do again.
    StoreBack(usize),
    /// The store's disk does nothing for this long.
    StoreStall(u64),
    /// The coordinator's machine is lost, and a blank one takes its place after this long.
    Blank(usize, u64),
    /// A backup is made.
    Backup,
    /// The coordinator's machine is made blank, and after this long the site is restored on it.
    Restore(usize, u64),
    /// Every way is whole.
    Heal,
    /// The network gets better or worse.
    Weather(Weather),
    /// The kernel's rules are flushed.
    Flush(usize, usize),
    /// The node's checks change their mind.
    Health(usize, Health),
    /// An operator's command.
    Command(usize, Command),
    /// The node is drained, or no longer.
    Drain(usize, bool),
    /// The claim is paused, or no longer.
    PauseClaim(usize, bool),
    /// The claim's time-to-live changes.
    Ttl(usize, u64),
    /// The claim goes back to its preferred node, or no longer.
    FailBack(usize, bool),
    /// The agent dies and starts again: soon, if it holds something.
    Restart(usize),
    /// Whoever holds now shall hold without a break until this is looked at again.
    Mark,
    /// It is looked at.
    Unmoved,
    /// All of this is over.
    Mend,
}

/// Draws the faults of a run.
pub fn schedule(world: &mut World) {
    let mut rng = world.rng.fork();
    // Some runs are calm but for a few faults, so that rules are also tried alone.
    let faults = *rng.choice([6, 20, 60].iter()).unwrap_or(&20);
    let calm = rng.bool();
    for _ in 0..faults {
        let at = rng.u64(200 * MS..STORM);
        let fault = draw(&mut rng, calm);
        if matches!(fault, Fault::Cut(_)) {
            let mended = at + rng.u64(100..9000) * MS;
            world.at(mended, What::Fault(Fault::Heal));
        }
        world.at(at, What::Fault(fault));
    }
    for second in 0..8 {
        world.at(STORM + second * 1000 * MS, What::Fault(Fault::Mend));
    }
}

/// Draws the restarts of agents while no coordinator answers for most of a run.
pub fn schedule_outage(world: &mut World) {
    let mut rng = world.rng.fork();
    world.stalls = false;
    world.at(6000 * MS, What::Fault(Fault::Mark));
    for who in 0..COORDINATORS {
        let fault = Fault::KillCoordinator(who, 40_000 * MS);
        world.at(7000 * MS, What::Fault(fault));
    }
    for restart in 0..11 {
        let node = rng.usize(0..NODES);
        let at = (11_000 + 3000 * restart) * MS;
        world.at(at, What::Fault(Fault::Restart(node)));
    }
    world.at(44_000 * MS, What::Fault(Fault::Unmoved));
    world.at(54_000 * MS, What::Fault(Fault::Unmoved));
}

fn draw(rng: &mut Rng, calm: bool) -> Fault {
    let node = rng.usize(0..NODES);
    let who = rng.usize(0..COORDINATORS);
    let claim = rng.usize(0..CLAIMS);
    let moving = rng.usize(0..2);
    let health = *rng
        .choice([Health::Healthy, Health::Degraded, Health::Failed].iter())
        .unwrap_or(&Health::Healthy);
    match rng.u32(0..24) {
        0 | 1 => Fault::Kill(node, span(rng)),
        2 => Fault::PowerOff(node, span(rng)),
        3 => Fault::Fenced(node, span(rng)),
        4 | 5 => Fault::Pause(node, span(rng)),
        6 | 7 => Fault::KillCoordinator(who, span(rng)),
        8 => Fault::PauseCoordinator(who, span(rng)),
        9 | 10 => Fault::Cut(cuts(rng)),
        11 => disturb_store(rng, who),
        12 if !calm => Fault::Weather(Weather::random(rng)),
        12 => Fault::Heal,
        13 => Fault::Flush(node, claim),
        14 | 15 => Fault::Health(node, health),
        16 => Fault::Command(moving, Command::Move(rng.usize(0..4))),
        17 | 18 => Fault::Command(TRIO, Command::Group(members(rng))),
        19 => Fault::Drain(node, rng.bool()),
        20 => Fault::PauseClaim(claim, rng.bool()),
        21 => Fault::Ttl(moving, *rng.choice([200, 350, 900].iter()).unwrap_or(&350)),
        22 => Fault::FailBack(moving, rng.bool()),
        _ => Fault::Command(WORKER, Command::Evict(rng.u32(0..4) > 0)),
    }
}

/// What goes wrong between coordinators and their store, or with it.
fn disturb_store(rng: &mut Rng, who: usize) -> Fault {
    match rng.u32(0..4) {
        0 => Fault::StoreCut(who, Line::Mute, span(rng)),
        1 => Fault::StoreCut(who, Line::Deaf, span(rng)),
        2 => Fault::StoreStall(span(rng)),
        _ => Fault::Blank(who, span(rng)),
    }
}

/// From a blink to longer than the longest promise.
fn span(rng: &mut Rng) -> u64 {
    let longest = *rng.choice([50, 500, 2500, 7000].iter()).unwrap_or(&500);
    rng.u64(1..longest) * MS
}

/// A partition, a node cut off, or single ways.
fn cuts(rng: &mut Rng) -> Vec<(usize, usize)> {
    let all = NODES + COORDINATORS;
    let pairs = (0..all).flat_map(|a| (0..all).map(move |b| (a, b)));
    match rng.u32(0..4) {
        0 => {
            let side: Vec<bool> = (0..all).map(|_| rng.bool()).collect();
            pairs.filter(|(a, b)| side[*a] != side[*b]).collect()
        }
        1 => {
            let alone = rng.usize(0..NODES);
            pairs
                .filter(|(a, b)| (*a == alone) != (*b == alone))
                .collect()
        }
        2 => {
            let deaf = rng.usize(0..NODES);
            pairs
                .filter(|(a, b)| (*a == deaf && *b >= NODES) || (*b == deaf && *a >= NODES))
                .collect()
        }
        _ => pairs.filter(|_| rng.u32(0..5) == 0).collect(),
    }
}

/// A group of one to four.
fn members(rng: &mut Rng) -> Vec<usize> {
    let members: Vec<usize> = (0..4).filter(|_| rng.u32(0..3) > 0).collect();
    if members.is_empty() {
        vec![rng.usize(0..4)]
    } else {
        members
    }
}

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.trace(|| format!("* {fault:?}"));
        match fault {
            Fault::Kill(node, span) => {
                self.kill_agent(node);
                self.at(self.now + span, What::StartAgent(node));
            }
            Fault::PowerOff(node, span) => {
                self.power_off(node);
                self.at(self.now + span, What::StartAgent(node));
            }
            Fault::Fenced(node, span) => {
                self.power_off(node);
                self.command(TRIO, &Command::Fenced(node));
                self.at(self.now + span, What::StartAgent(node));
            }
            Fault::Pause(node, span) => {
                let machine = &mut self.machines[node];
                machine.busy_until = machine.busy_until.max(self.now + span);
            }
            Fault::KillCoordinator(who, span) => {
                self.kill_coordinator(who);
                self.at(self.now + span, What::StartCoordinator(who));
            }
            Fault::PauseCoordinator(who, span) => {
                let coordinator = &mut self.coordinators[who];
                coordinator.busy_until = coordinator.busy_until.max(self.now + span);
            }
            Fault::Cut(ways) => ways.into_iter().for_each(|(a, b)| self.network.cut(a, b)),
            Fault::Heal => self.network.heal(),
            Fault::Weather(weather) => self.network.weather = weather,
            Fault::StoreCut(who, line, span) => {
                self.coordinators[who].line = line;
                self.at(self.now + span, What::Fault(Fault::StoreBack(who)));
            }
            Fault::StoreBack(who) => self.coordinators[who].line = Line::Whole,
            Fault::StoreStall(span) => self.stall_stores(self.now + span),
            Fault::Backup => self.back_up(),
            Fault::Restore(who, span) => self.restore(who, span),
            Fault::Blank(who, span) => {
                self.blank_coordinator(who);
                self.at(self.now + span, What::StartCoordinator(who));
            }
            Fault::Flush(node, claim) => self.flush(node, claim),
            Fault::Health(node, health) => self.feel(node, health),
            Fault::Command(claim, command) => self.command(claim, &command),
            Fault::Drain(node, drained) => self.drain(node, drained),
            Fault::PauseClaim(claim, paused) => self.configure(claim, |spec| spec.paused = paused),
            Fault::Ttl(claim, ttl) => self.configure(claim, |spec| spec.timing = timing(ttl)),
            Fault::FailBack(claim, wanted) => {
                let patience = wanted.then(|| std::time::Duration::from_secs(1));
                self.configure(claim, |spec| spec.fail_back = patience);
            }
            Fault::Restart(node) => self.restart(node),
            Fault::Mark => {
                let holder = |claim: usize| self.fences[claim].holder_since(self.now);
                self.marked = (0..CLAIMS).map(holder).collect();
            }
            Fault::Unmoved => self.check_unmoved(),
            Fault::Mend => self.mend(),
        }
    }

    fn restart(&mut self, node: usize) {
        let holds = self
            .fences
            .iter()
            .any(|it| it.holder(self.now) == Some(node));
        // A lease outlives the one, a long promise the other.
        let longest = if holds { 200 } else { 2500 };
        let span = self.rng.u64(20..longest) * MS;
        self.fault(Fault::Kill(node, span));
    }

    fn check_unmoved(&mut self) {
        for claim in 0..CLAIMS {
            let (was, is) = (
                self.marked[claim],
                self.fences[claim].holder_since(self.now),
            );
            if was.is_none() || was != is {
                let claim = title(claim);
                self.violation(format!("{claim} moved or broke off: {was:?}, now {is:?}"));
            }
        }
    }

    fn stall_stores(&mut self, until: u64) {
        self.stores
            .iter_mut()
            .for_each(|it| it.stalled_until = until);
    }

    fn feel(&mut self, node: usize, health: Health) {
        self.machines[node].health = health;
        for claim in 0..CLAIMS {
            self.at(
                self.now,
                What::Member(node, claim, None, Event::Health(health)),
            );
        }
    }

    fn drain(&mut self, node: usize, drained: bool) {
        for claim in 0..CLAIMS {
            self.configure(claim, |spec| {
                if drained {
                    spec.drained.insert(name(node));
                } else {
                    spec.drained.remove(&name(node));
                }
            });
        }
    }

    fn mend(&mut self) {
        self.network.heal();
        self.network.weather = Weather::CALM;
        for node in 0..NODES {
            self.start_agent(node);
            self.feel(node, Health::Healthy);
            self.drain(node, false);
        }
        for who in 0..COORDINATORS {
            self.coordinators[who].line = Line::Whole;
            self.start_coordinator(who);
        }
        self.stall_stores(self.now);
        self.switch_off_outdated();
        for claim in 0..CLAIMS {
            self.configure(claim, |spec| spec.paused = false);
        }
        self.command(WORKER, &Command::Evict(false));
        self.command(WORKER, &Command::Readmit);
    }
}
