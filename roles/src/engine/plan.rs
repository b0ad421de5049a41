//! The steps from what a node has to what it is to have.
//!
//! First what is owned and no longer desired goes, the newest first; then what is desired is made
//! in its order; last it is proven to work. A step does one thing, and its effect is observed: so
//! a plan that was interrupted is continued by making it anew.

use std::collections::BTreeSet;
use std::fmt;

use super::desired::{Desired, Gate};
use super::difference::{change, difference};
use super::observed::{Observed, Owned, Seen, State};
use super::resource::{Contents, Resource, ResourceId, Unit};

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// None: the node has what it is to have, as far as that is known.
    pub steps: Vec<Step>,
    /// What could not be looked at, and why. It is left alone.
    pub unknown: Vec<(ResourceId, String)>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The change of a file or table, line by line: "+ ...", "- ...", "  ...".
    pub change: Vec<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Makes it be as desired. Never a unit.
    Make(Resource),
    /// Has it start at boot.
    Enable(Unit),
    /// Starts it.
    Start(Unit),
    /// Hands it to the unit that runs with another, and leaves the rest of that as it is.
    Hand(Resource, Unit),
    /// Has it take up what it reads, without a restart.
    Reload(Unit),
    /// Has it take up what it reads.
    Restart(Unit),
    /// Takes away what hamesh made.
    Remove(Resource),
    /// Waits until every gate has been seen to hold, and notes that.
    Prove(Vec<Gate>),
}

/// Why a step is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is not there.
    Missing,
    /// It is there and not as desired, in this.
    Differs(&'static str),
    /// The unit does not run.
    Stopped,
    /// The unit does not start at boot.
    NotEnabled,
    /// The unit runs with what these held before.
    NotLoaded(Vec<ResourceId>),
    /// The unit runs with what it held before.
    NotHanded,
    /// Its certificate is near its end.
    Due,
    /// The guard of the command fails.
    Unsatisfied,
    /// No role of the node wants it any more.
    NotWanted,
    /// Nobody has seen it work.
    NotProven,
}

/// What is left to do.
pub fn plan(desired: &Desired, observed: &Observed, owned: &Owned) -> Plan {
    let mut plan = Plan::default();
    plan.remove(desired, observed, owned);
    plan.make(desired, observed);
    let digest = desired.digest();
    let proven = observed.proven.as_ref() == Some(&digest);
    // What could not be looked at may be missing: then nobody can say that all of it works.
    if plan.unknown.is_empty() && (!plan.steps.is_empty() || !proven) {
        let prove = Action::Prove(desired.gates.clone());
        plan.push(prove, Reason::NotProven);
    }
    plan
}

impl Plan {
    /// What is desired, there already and as desired.
    pub fn as_is<'a>(&self, desired: &'a Desired) -> impl Iterator<Item = &'a Resource> {
        let subjects = self.steps.iter().filter_map(Step::subject);
        let unknown = self.unknown.iter().map(|(id, _)| id.clone());
        let other: BTreeSet<ResourceId> = subjects.chain(unknown).collect();
        let resources = desired.resources.iter();
        resources.filter(move |it| !other.contains(&it.id()))
    }

    fn push(&mut self, action: Action, reason: Reason) {
        self.steps.push(Step {
            action,
            reason,
            change: Vec::new(),
        });
    }

    fn remove(&mut self, desired: &Desired, observed: &Observed, owned: &Owned) {
        let wanted: BTreeSet<ResourceId> = desired.resources.iter().map(Resource::id).collect();
        let surplus = owned.resources.iter().rev();
        for resource in surplus.filter(|it| !wanted.contains(&it.id())) {
            if resource.is_data() && !desired.purge_data {
                continue;
            }
            match seen(observed, &resource.id()) {
                Seen::Absent => {}
                Seen::Present(_) => self.push(Action::Remove(resource.clone()), Reason::NotWanted),
                Seen::Unknown(why) => self.unknown.push((resource.id(), why)),
            }
        }
    }

    fn make(&mut self, desired: &Desired, observed: &Observed) {
        let known = desired.contents();
        let mut contents = known.clone();
        let mut anew = BTreeSet::new();
        for resource in &desired.resources {
            let id = resource.id();
            let seen = seen(observed, &id);
            if let Seen::Unknown(why) = seen {
                self.unknown.push((id, why));
                continue;
            }
            if let Resource::Unit(unit) = resource {
                // What will be in a file is known; what a certificate will be is not.
                let reissued = |id: &ResourceId| anew.contains(id) && !known.contains_key(id);
                let stale = |loaded: &Contents| stale(unit, loaded, &contents, &reissued);
                self.unit(unit, &seen, &desired.resources, stale);
                continue;
            }
            if let Seen::Present(State::Certificate { content, .. }) = &seen {
                contents.insert(id.clone(), content.clone());
            }
            let Some(reason) = difference(resource, &seen) else {
                continue;
            };
            anew.insert(id);
            self.steps.push(Step {
                action: Action::Make(resource.clone()),
                reason,
                change: change(resource, &seen),
            });
        }
    }

    /// What a unit lacks, once all that it reads is there. `stale` tells what of that it has not
    /// loaded.
    fn unit(
        &mut self,
        unit: &Unit,
        seen: &Seen,
        resources: &[Resource],
        stale: impl Fn(&Contents) -> Vec<ResourceId>,
    ) {
        let nothing = Contents::new();
        let (active, enabled, loaded) = match seen {
            Seen::Present(State::Unit {
                active,
                enabled,
                loaded,
            }) => (*active, *enabled, loaded),
            Seen::Present(_) | Seen::Absent | Seen::Unknown(_) => (false, false, &nothing),
        };
        if !enabled {
            self.push(Action::Enable(unit.clone()), Reason::NotEnabled);
        }
        if !active {
            self.push(Action::Start(unit.clone()), Reason::Stopped);
            return;
        }
        let stale = stale(loaded);
        if stale.is_empty() {
            return;
        }
        if let Some(live) = taken_live(unit, &stale, resources) {
            for resource in live {
                let hand = Action::Hand(resource.clone(), unit.clone());
                self.push(hand, Reason::NotHanded);
            }
            return;
        }
        let action = match unit.reloads {
            true => Action::Reload(unit.clone()),
            false => Action::Restart(unit.clone()),
        };
        // Where nothing is known, all of it may have changed.
        let changed = if loaded.is_empty() { Vec::new() } else { stale };
        self.push(action, Reason::NotLoaded(changed));
    }
}

/// What a unit is to load, or has loaded and is not to, and runs without. What could not be looked
/// at is taken for loaded.
fn stale(
    unit: &Unit,
    loaded: &Contents,
    contents: &Contents,
    reissued: &impl Fn(&ResourceId) -> bool,
) -> Vec<ResourceId> {
    let other = |id: &ResourceId| {
        contents
            .get(id)
            .is_some_and(|it| loaded.get(id) != Some(it))
    };
    let read = unit.reads.iter().filter(|id| reissued(id) || other(id));
    let surplus = loaded.keys().filter(|id| !unit.reads.contains(id));
    read.chain(surplus).cloned().collect()
}

/// These, if the unit takes each of them up while it runs.
fn taken_live<'a>(
    unit: &Unit,
    stale: &[ResourceId],
    resources: &'a [Resource],
) -> Option<Vec<&'a Resource>> {
    let live = |resource: &&Resource| resource.live().is_some_and(|it| it.unit == unit.name);
    let find = |id: &ResourceId| resources.iter().find(|it| it.id() == *id).filter(live);
    stale.iter().map(find).collect()
}

fn seen(observed: &Observed, id: &ResourceId) -> Seen {
    let never = || Seen::Unknown("nobody looked at it".to_owned());
    observed.seen.get(id).cloned().unwrap_or_else(never)
}

impl Step {
    /// What it is about; `None`: all of it.
    pub fn subject(&self) -> Option<ResourceId> {
        match &self.action {
            Action::Make(resource) | Action::Remove(resource) | Action::Hand(resource, _) => {
                Some(resource.id())
            }
            Action::Enable(unit)
            | Action::Start(unit)
            | Action::Reload(unit)
            | Action::Restart(unit) => Some(Resource::Unit(unit.clone()).id()),
            Action::Prove(_) => None,
        }
    }
}

impl Action {
    /// In one word, as screens show it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Action::Make(Resource::Package(_)) => "install",
            Action::Make(Resource::File(_) | Resource::Directory(_)) => "write",
            Action::Make(Resource::Module { .. } | Resource::Table(_)) => "load",
            Action::Make(Resource::Sysctl { .. }) => "set",
            Action::Make(Resource::Mount(_)) => "mount",
            Action::Make(Resource::User(_)) => "add",
            Action::Make(Resource::Certificate(_)) => "issue",
            Action::Make(Resource::Command(_)) => "run",
            Action::Make(Resource::Unit(_)) => "make",
            Action::Enable(_) => "enable",
            Action::Start(_) => "start",
            Action::Hand(..) => "hand",
            Action::Reload(_) => "reload",
            Action::Restart(_) => "restart",
            Action::Remove(Resource::Unit(_)) => "stop",
            Action::Remove(_) => "remove",
            Action::Prove(_) => "prove",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.subject(), &self.action) {
            (Some(subject), Action::Hand(_, unit)) => {
                write!(f, "hand {subject} to {}: {}", unit.name, self.reason)
            }
            (Some(subject), action) => write!(f, "{} {subject}: {}", action.verb(), self.reason),
            (None, Action::Prove(gates)) => {
                let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
                write!(f, "prove: {}", names.join("; "))
            }
            (None, action) => f.write_str(action.verb()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Missing => f.write_str("missing"),
            Reason::Differs(part) => write!(f, "differs in {part}"),
            Reason::Stopped => f.write_str("does not run"),
            Reason::NotEnabled => f.write_str("does not start at boot"),
            Reason::NotLoaded(changed) if changed.is_empty() => {
                f.write_str("may run with what its files held before")
            }
            Reason::NotLoaded(changed) => {
                let names: Vec<&str> = changed.iter().map(ResourceId::as_str).collect();
                write!(f, "to read {}", names.join(", "))
            }
            Reason::NotHanded => f.write_str("it runs with what that held before"),
            Reason::Due => f.write_str("its certificate is near its end"),
            Reason::Unsatisfied => f.write_str("its guard says that it is to run"),
            Reason::NotWanted => f.write_str("no role of this node wants it any more"),
            Reason::NotProven => f.write_str("not seen to work yet"),
        }
    }
}
