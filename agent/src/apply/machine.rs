//! The machine: looks at resources and takes steps, each by the driver of its kind.
//!
//! Guarantees: what is made is written down as owned before it is made; a file that hamesh did not
//! make is copied before it is replaced; a look changes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use hamesh_roles::adoption::{Found, Traces};
use hamesh_roles::engine::{
    Action, Contents, Desired, Observed, Owned, Resource, ResourceId, Seen, State, Step, Unit,
};

use super::drivers::certificates::Certificates;
use super::drivers::originals::Originals;
use super::drivers::packages::Installed;
use super::drivers::sysctls::Sysctls;
use super::drivers::tables::{Deadman, Tables};
use super::drivers::{
    commands, directories, files, gates, live, modules, mounts, packages, traces, units, users,
};
use super::store::Store;
use super::systemd::{Job, Systemd};
use super::trouble::Trouble;
use crate::assignment::AssignmentId;
use crate::state::StateError;

/// The machine that this is. Clones share it.
#[derive(Clone, Debug)]
pub struct Machine {
    store: Store,
    systemd: Systemd,
    sysctls: Sysctls,
    originals: Originals,
    certificates: Certificates,
    tables: Tables,
}

impl Machine {
    /// With its notes in `store`; `identity` is where the agent keeps that of the node.
    pub fn new(store: Store, identity: PathBuf) -> Self {
        Self {
            systemd: Systemd::default(),
            sysctls: Sysctls(PathBuf::from("/")),
            originals: Originals::within(store.originals()),
            certificates: Certificates {
                store: store.clone(),
                identity,
            },
            tables: Tables {
                store: store.clone(),
                deadman: Deadman::Timer,
            },
            store,
        }
    }

    /// The same, but for whom it asks of units.
    #[cfg(test)]
    pub fn asking(self, systemd: Systemd) -> Self {
        Self { systemd, ..self }
    }

    /// Looks at all that is desired or owned.
    ///
    /// # Errors
    /// [`StateError`]: the executor's own notes cannot be read.
    pub async fn observe(&self, desired: &Desired, owned: &Owned) -> Result<Observed, StateError> {
        let mut all: BTreeMap<ResourceId, &Resource> = BTreeMap::new();
        for resource in owned.resources.iter().chain(&desired.resources) {
            all.insert(resource.id(), resource);
        }
        let names = all.values().filter_map(|resource| match resource {
            Resource::Package(it) => Some(it.name.as_str()),
            _ => None,
        });
        let names: Vec<&str> = names.collect();
        let installed = Installed::ask(&names).await;
        let mut observed = Observed {
            seen: BTreeMap::new(),
            proven: self.store.proven()?,
        };
        for (id, resource) in all {
            let seen = self.look(resource, &installed).await;
            observed.seen.insert(id, seen);
        }
        Ok(observed)
    }

    /// Looks for what served before hamesh and held the addresses `outside`.
    pub async fn traces(&self, of: &Traces, desired: &Desired, outside: &[IpAddr]) -> Found {
        let files = desired.resources.iter().filter_map(|it| match it {
            Resource::File(file) => Some(file.path.as_str()),
            _ => None,
        });
        traces::look(of, &files.collect(), outside, &self.systemd).await
    }

    async fn look(&self, resource: &Resource, installed: &Installed) -> Seen {
        match resource {
            Resource::Package(it) => installed.look(&it.name),
            Resource::Module { name } => modules::look(name),
            Resource::Sysctl { key, value } => self.sysctls.look(key, value),
            Resource::Mount(it) => mounts::look(it),
            Resource::User(it) => users::look(it),
            Resource::Directory(it) => directories::look(it),
            Resource::File(it) => files::look(it),
            Resource::Certificate(it) => self.certificates.look(it),
            Resource::Table(it) => self.tables.look(it).await,
            Resource::Command(it) => commands::look(it).await,
            Resource::Unit(it) => units::look(it, &self.systemd, &self.store).await,
        }
    }

    /// Takes one step on the way to `desired`, which is of `assignment`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn take(
        &self,
        step: &Step,
        desired: &Desired,
        assignment: AssignmentId,
    ) -> Result<(), Trouble> {
        match &step.action {
            Action::Make(resource) => {
                self.own(resource)?;
                self.make(resource, desired, assignment).await
            }
            Action::Enable(unit) => {
                self.own(&Resource::Unit(unit.clone()))?;
                self.systemd.enable(&unit.name, true).await
            }
            Action::Start(unit) => self.act(Job::Start, unit, desired).await,
            Action::Hand(resource, unit) => self.hand(resource, unit, desired).await,
            Action::Reload(unit) => self.act(Job::Reload, unit, desired).await,
            Action::Restart(unit) => self.act(Job::Restart, unit, desired).await,
            Action::Remove(resource) => {
                self.remove(resource).await?;
                let owned = self.store.owned().map_err(notes)?;
                let left = owned.without(&resource.id());
                self.store.save_owned(&left).map_err(notes)
            }
            Action::Prove(wanted) => {
                let units = desired.resources.iter().filter_map(|it| match it {
                    Resource::Unit(unit) => Some(unit.name.as_str()),
                    _ => None,
                });
                let units: Vec<&str> = units.collect();
                gates::prove(wanted, &units, &self.systemd).await
            }
        }
    }

    fn own(&self, resource: &Resource) -> Result<(), Trouble> {
        let owned = self.store.owned().map_err(notes)?;
        let known = owned.resources.iter().any(|it| it.id() == resource.id());
        if let (Resource::File(file), false) = (resource, known) {
            self.originals.keep(&file.path)?;
        }
        self.store.save_owned(&owned.with(resource)).map_err(notes)
    }

    async fn make(
        &self,
        resource: &Resource,
        desired: &Desired,
        assignment: AssignmentId,
    ) -> Result<(), Trouble> {
        match resource {
            Resource::Package(it) => packages::make(it).await,
            Resource::Module { name } => modules::make(name).await,
            Resource::Sysctl { key, value } => self.sysctls.make(key, value),
            Resource::Mount(it) => mounts::make(it, &self.systemd).await,
            Resource::User(it) => users::make(it).await,
            Resource::Directory(it) => directories::make(it),
            Resource::File(it) => {
                let origin = format!("{} from assignment {assignment}", crate::version());
                files::make(it, &origin).await
            }
            Resource::Certificate(it) => self.certificates.make(it, &desired.lifelines).await,
            Resource::Table(it) => self.tables.make(it, &desired.lifelines).await,
            Resource::Command(it) => commands::make(it).await,
            // A plan has other steps for units.
            Resource::Unit(it) => self.act(Job::Start, it, desired).await,
        }
    }

    async fn remove(&self, resource: &Resource) -> Result<(), Trouble> {
        match resource {
            Resource::Package(it) => packages::remove(it).await,
            Resource::Module { name } => modules::remove(name),
            Resource::Sysctl { key, .. } => self.sysctls.remove(key),
            Resource::Mount(it) => mounts::remove(it, &self.systemd).await,
            Resource::User(it) => users::remove(it).await,
            Resource::Directory(it) => directories::remove(it),
            Resource::File(it) => self.originals.put_back(&it.path),
            Resource::Certificate(it) => self.certificates.remove(it),
            Resource::Table(it) => self.tables.remove(it).await,
            Resource::Command(it) => commands::remove(it).await,
            Resource::Unit(it) => units::remove(it, &self.systemd, &self.store).await,
        }
    }

    /// Hands it to the unit that runs; one that does not take it reads all anew.
    async fn hand(
        &self,
        resource: &Resource,
        unit: &Unit,
        desired: &Desired,
    ) -> Result<(), Trouble> {
        let handed = match resource.live() {
            Some(live) => {
                let (contents, with) = (self.contents(unit, desired), (&self.systemd, &self.store));
                live::hand((resource, live), unit, &contents, with).await
            }
            None => Err(Trouble::plain(format!(
                "{} is read at a start",
                resource.id()
            ))),
        };
        match handed {
            Ok(()) => Ok(()),
            Err(why) => {
                tracing::warn!(unit = unit.name, "a reload instead: {why}");
                self.act(Job::Reload, unit, desired).await
            }
        }
    }

    async fn act(&self, job: Job, unit: &Unit, desired: &Desired) -> Result<(), Trouble> {
        self.own(&Resource::Unit(unit.clone()))?;
        let reads = unit.loads(&self.contents(unit, desired));
        units::act(job, unit, reads, (&self.systemd, &self.store)).await
    }

    /// What a unit is about to read, as it is on disk.
    fn contents(&self, unit: &Unit, desired: &Desired) -> Contents {
        let reads = desired.resources.iter();
        let reads = reads.filter(|it| unit.reads.contains(&it.id()));
        let content = |resource: &Resource| {
            let seen = match resource {
                Resource::File(it) => files::look(it),
                Resource::Certificate(it) => self.certificates.look(it),
                _ => return None,
            };
            match seen {
                Seen::Present(State::File { digest, .. }) => Some((resource.id(), digest)),
                Seen::Present(State::Certificate { content, .. }) => Some((resource.id(), content)),
                Seen::Present(_) | Seen::Absent | Seen::Unknown(_) => None,
            }
        };
        reads.filter_map(content).collect()
    }
}

fn notes(error: StateError) -> Trouble {
    Trouble::of("the executor's notes", &error)
}
