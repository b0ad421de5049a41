//! A machine in a few maps: takes steps and is looked at, as a real one would.

use std::collections::BTreeMap;

use super::*;

/// What stands on it.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    made: BTreeMap<ResourceId, Resource>,
    units: BTreeMap<String, Running>,
    owned: Owned,
    proven: Option<Digest>,
    /// Serial numbers of certificates, of which no two are the same.
    serials: BTreeMap<ResourceId, u64>,
    issued: u64,
}

#[derive(Debug, Clone, Default)]
struct Running {
    active: bool,
    enabled: bool,
    loaded: Contents,
}

impl Machine {
    /// With all of it made.
    pub fn with(mut self, desired: &Desired) -> Self {
        for step in self.plan(desired).steps {
            self.take(&step, desired);
        }
        self
    }

    /// With one resource gone, by no doing of hamesh.
    pub fn without(mut self, id: &ResourceId) -> Self {
        self.made.remove(id);
        self.units.retain(|name, _| unit_id(name) != *id);
        self
    }

    /// A unit was restarted by others: what it read then is not known.
    pub fn forget_loaded(&mut self, unit: &str) {
        self.units.get_mut(unit).expect("a unit").loaded.clear();
    }

    pub fn plan(&self, desired: &Desired) -> Plan {
        plan(desired, &self.observe(desired), &self.owned)
    }

    pub fn observe(&self, desired: &Desired) -> Observed {
        let all = desired.resources.iter().chain(&self.owned.resources);
        Observed {
            seen: all.map(|it| (it.id(), self.look(it))).collect(),
            proven: self.proven.clone(),
        }
    }

    pub fn take(&mut self, step: &Step, desired: &Desired) {
        let mut owned = std::mem::take(&mut self.owned);
        match &step.action {
            Action::Make(resource) => {
                owned = owned.with(resource);
                self.made.insert(resource.id(), resource.clone());
                self.issued += 1;
                self.serials.insert(resource.id(), self.issued);
            }
            Action::Enable(unit) => {
                owned = owned.with(&Resource::Unit(unit.clone()));
                self.running(unit).enabled = true;
            }
            Action::Start(unit) | Action::Reload(unit) | Action::Restart(unit) => {
                owned = owned.with(&Resource::Unit(unit.clone()));
                let loaded = unit.loads(&self.contents());
                let running = self.running(unit);
                (running.active, running.loaded) = (true, loaded);
            }
            Action::Hand(resource, unit) => {
                let id = resource.id();
                let content = self.contents()[&id].clone();
                self.running(unit).loaded.insert(id, content);
            }
            Action::Remove(resource) => {
                owned = owned.without(&resource.id());
                self.made.remove(&resource.id());
                self.units.retain(|name, _| unit_id(name) != resource.id());
            }
            Action::Prove(_) => {}
        }
        self.owned = owned;
        self.proven = match step.action {
            Action::Prove(_) => Some(desired.digest()),
            Action::Make(_)
            | Action::Enable(_)
            | Action::Start(_)
            | Action::Hand(..)
            | Action::Reload(_)
            | Action::Restart(_)
            | Action::Remove(_) => None,
        };
    }

    fn running(&mut self, unit: &Unit) -> &mut Running {
        self.units.entry(unit.name.clone()).or_default()
    }

    fn contents(&self) -> Contents {
        let content = |(id, resource): (&ResourceId, &Resource)| match resource {
            Resource::File(file) => Some((id.clone(), file.content.digest())),
            Resource::Certificate(it) => Some((id.clone(), self.issued(it))),
            _ => None,
        };
        self.made.iter().filter_map(content).collect()
    }

    fn issued(&self, certificate: &Certificate) -> Digest {
        let serial = self
            .serials
            .get(&ResourceId::certificate(&certificate.name));
        Digest::of(format!("{serial:?}"))
    }

    fn look(&self, resource: &Resource) -> Seen {
        if let Resource::Unit(unit) = resource {
            let Some(running) = self.units.get(&unit.name) else {
                return Seen::Absent;
            };
            return Seen::Present(State::Unit {
                active: running.active,
                enabled: running.enabled,
                loaded: running.loaded.clone(),
            });
        }
        match self.made.get(&resource.id()) {
            Some(Resource::Certificate(it)) => Seen::Present(State::Certificate {
                profile: it.profile(),
                content: self.issued(it),
                due: false,
            }),
            Some(made) => Seen::Present(state(made)),
            None => Seen::Absent,
        }
    }
}

/// Stops after each step, looks and plans anew, from this state of a machine to what is desired.
pub fn every_prefix_leaves_the_rest(machine: &Machine, desired: &Desired) {
    let whole = machine.plan(desired);
    for stopped in 0..=whole.steps.len() {
        let mut machine = machine.clone();
        for step in &whole.steps[..stopped] {
            machine.take(step, desired);
        }
        let left = machine.plan(desired);
        let actions = |steps: &[Step]| steps.iter().map(|it| it.action.clone()).collect::<Vec<_>>();
        assert_eq!(
            actions(&left.steps),
            actions(&whole.steps[stopped..]),
            "after {stopped} steps of {}",
            whole.steps.len()
        );
    }
}

fn unit_id(name: &str) -> ResourceId {
    ResourceId::from_text(&format!("unit {name}"))
}

fn state(made: &Resource) -> State {
    match made {
        Resource::Package(it) => State::Package {
            version: it.version.clone().unwrap_or_default(),
            held: it.version.is_some(),
        },
        Resource::Module { .. } => State::Module,
        Resource::Sysctl { value, .. } => State::Sysctl {
            value: value.clone(),
            at_boot: Some(value.clone()),
        },
        Resource::Mount(it) => State::Mount {
            source: it.source.clone(),
            fstype: it.fstype.clone(),
            options: Some(it.options.clone()),
        },
        Resource::User(it) => State::User {
            home: it.home.clone(),
            groups: it.groups.clone(),
        },
        Resource::Directory(it) => State::Directory {
            owner: it.owner.clone(),
            group: it.group.clone(),
            mode: it.mode,
        },
        Resource::File(it) => State::File {
            digest: it.content.digest(),
            text: Some(it.content.text.clone()),
            owner: it.owner.clone(),
            group: it.group.clone(),
            mode: it.mode,
        },
        Resource::Table(it) => State::Table {
            rules: Some(Digest::of(&it.rules)),
            at_boot: Some(Digest::of(&it.rules)),
        },
        Resource::Command(_) => State::Command { satisfied: true },
        Resource::Certificate(_) | Resource::Unit(_) => {
            unreachable!("these are looked at otherwise")
        }
    }
}
